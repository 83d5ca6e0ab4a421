"""The grades of an ordinal task."""

from __future__ import annotations

from dataclasses import dataclass, field

from dsmt_nnunet.evaluation.records.class_comparisons import ClassComparisons
from dsmt_nnunet.evaluation.records.class_readers import ClassReader
from dsmt_nnunet.evaluation.records.score import Interval


@dataclass(frozen=True, kw_only=True)
class CutScore:
    """AUC of "this grade or above" against below; of several folds the mean over folds."""

    at_or_above: str
    n_at_or_above: int
    auc: float
    auc_ci: Interval
    auc_method: str


@dataclass(frozen=True, kw_only=True)
class GradedScores(ClassComparisons):
    """How well grades are told, undecided ones included; intervals are over patients.

    Attributes:
        n: nodules that were found and whose grade is known.
        grades: the lowest first.
        rule: which grade is decided, and what grades are ranked by.
        quadratic_kappa: agreement of decided and true grade, weighted by the squared distance.
        c_index: of two nodules of different grade, how often the higher has the higher score; of folds their mean.
        mean_absolute_error: in grades.
        accuracy: share of the very grade.
        auc_at_cuts: one a grade but the lowest.
        confusion_matrix: rows truth, columns decision.
        readers: those whose ratings are grades.
    """

    n: int
    grades: tuple[str, ...]
    rule: str
    quadratic_kappa: float
    quadratic_kappa_ci: Interval
    c_index: float
    c_index_ci: Interval
    mean_absolute_error: float
    mean_absolute_error_ci: Interval
    accuracy: float
    accuracy_ci: Interval
    auc_at_cuts: tuple[CutScore, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    readers: dict[str, ClassReader] = field(default_factory=dict)
