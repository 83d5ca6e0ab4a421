"""A task of predictions or of a cross-validation.

Each kind of task has its record, which `type` names in the file. A kind that is measured in another way (grades, by
ordinal metrics) gets a record here and a place in `PredictedTask` and `CrossvalTask`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dsmt_nnunet.evaluation.records.class_comparisons import ClassComparisons
from dsmt_nnunet.evaluation.records.class_readers import ClassReader
from dsmt_nnunet.evaluation.records.comparisons import Comparisons
from dsmt_nnunet.evaluation.records.curves import DecisionCurve
from dsmt_nnunet.evaluation.records.grades import GradedScores
from dsmt_nnunet.evaluation.records.score import Calibration, DecisionValues, Interval, QuotedAuc, Score


@dataclass(frozen=True, kw_only=True)
class BinaryTask(Score, DecisionValues, Comparisons):
    """A score named after its task; the metrics of its first operating point stand beside the AUC too.

    Of an ordinal task it is the question that the grades answer, and `grades` tells of the grades themselves.
    """

    positive_class: str
    decision_curve: DecisionCurve | None
    grades: GradedScores | None = None


@dataclass(frozen=True, kw_only=True)
class IntentionToDiagnose(QuotedAuc, DecisionValues):
    """All true nodules of known label that were to be diagnosed, by `rule`.

    Attributes:
        n, n_positive: nodules.
        n_missed, n_missed_positive: not found.
        n_crashed, n_crashed_positive: of cases without a prediction.
    """

    n: int
    n_positive: int
    n_missed: int
    n_missed_positive: int
    n_crashed: int
    n_crashed_positive: int
    rule: str

    @property
    def n_lost(self) -> int:
        """Nodules without an answer."""
        return self.n_missed + self.n_crashed


@dataclass(frozen=True, kw_only=True)
class PredictedBinaryTask(BinaryTask):
    """A binary task of predictions: of the nodules that were found, and of all that were to be diagnosed.

    Readers are compared with the model on all of them.
    """

    intention_to_diagnose: IntentionToDiagnose


@dataclass(frozen=True, kw_only=True)
class FoldScore:
    """One fold; temperature and threshold are undefined where there are no other folds to choose them on."""

    fold: int
    n: int
    n_positive: int
    auc: float
    auc_ci: Interval
    auc_method: str
    temperature_from_other_folds: float
    threshold_from_other_folds: float
    sensitivity: float
    specificity: float


@dataclass(frozen=True, kw_only=True)
class FoldSummary:
    """What stands behind the mean AUC over folds.

    Attributes:
        folds: one a fold.
        n_folds_with_auc: folds that hold both classes.
        auc_ci_these_models: interval of the mean for these very models on other cases; `auc_ci` is for the training
            procedure on other training sets.
        auc_sd_over_folds: no standard error of the mean: training sets overlap.
        auc_pooled: of all folds' scores in one order; not to be quoted.
    """

    folds: tuple[FoldScore, ...]
    n_folds_with_auc: int
    auc_ci_these_models: Interval
    auc_sd_over_folds: float
    auc_pooled: float


@dataclass(frozen=True, kw_only=True)
class ChosenPoint:
    """What operating_point.json holds of the task; a task of several classes has no threshold.

    `sensitivity_to_expect` is what the threshold will give on other cases, less than it gave on those it was chosen on.
    """

    temperature: float
    threshold: float | None
    method: str
    sensitivity_to_expect: float | None = None
    sensitivity_to_expect_ci: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class CrossvalBinaryTask(BinaryTask, FoldSummary):
    """A binary task of a cross-validation: AUC uncalibrated, calibration and decisions by the other folds' choice."""

    uncalibrated: Calibration
    chosen_operating_point: ChosenPoint


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """A class against the rest; `sensitivity` is the share of its cases that were found."""

    n: int
    auc: float
    auc_ci: Interval
    auc_method: str
    sensitivity: float
    sensitivity_ci: Interval


@dataclass(frozen=True, kw_only=True)
class MulticlassTask(ClassComparisons):
    """A task with several classes, the most probable one decided.

    Of a cross-validation all AUCs are means over folds, and `brier` and `log_loss` are of temperatures chosen on the
    other folds. `brier` is the sum over classes of squared differences, 0 to 2; `kappa` is Cohen's, unweighted.
    """

    type: Literal["multiclass"] = "multiclass"
    n: int
    classes: tuple[str, ...]
    auc_one_vs_rest: dict[str, ClassScore]
    auc_macro: float
    auc_macro_ci: Interval
    accuracy: float
    accuracy_ci: Interval
    balanced_accuracy: float
    kappa: float
    kappa_ci: Interval
    brier: float
    brier_ci: Interval
    log_loss: float
    confusion_matrix: tuple[tuple[int, ...], ...]
    confusion_matrix_axes: str
    readers: dict[str, ClassReader] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CrossvalMulticlassTask(MulticlassTask):
    """The same of a cross-validation."""

    chosen_operating_point: ChosenPoint


PredictedTask = PredictedBinaryTask | MulticlassTask
CrossvalTask = CrossvalBinaryTask | CrossvalMulticlassTask
