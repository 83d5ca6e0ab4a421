"""The whole of `metrics.json`, a record for each kind of evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dsmt_nnunet.evaluation.records.class_comparisons import ClassComparisons, MeasureValue
from dsmt_nnunet.evaluation.records.class_readers import ClassReader
from dsmt_nnunet.evaluation.records.comparisons import AdjustedFamily, Comparisons
from dsmt_nnunet.evaluation.records.curves import DecisionCurve
from dsmt_nnunet.evaluation.records.free_response import FreeResponse
from dsmt_nnunet.evaluation.records.reader_study import MeritResult
from dsmt_nnunet.evaluation.records.score import Interval, Score
from dsmt_nnunet.evaluation.records.tasks import CrossvalTask, PredictedTask
from dsmt_nnunet.statistics.named_warnings import NamedWarning
from dsmt_nnunet.statistics.proportions import IntervalMethod

SCHEMA_VERSION = 7
"""Rises with every change of a key; `dsmt report` reads this one alone."""


@dataclass(frozen=True, kw_only=True)
class SettingsUsed:
    """How intervals were made."""

    confidence_level: float
    proportion_interval: IntervalMethod
    bootstrap_resamples: int
    seed: int
    prevalence: float | None
    margin: float | None
    partial_specificity: float | None


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """What holds of every number, in words."""

    positive_when: str = "score >= threshold"
    unit: str = "the patient, wherever a column names patients"
    undefined: str = "null, with an entry in warnings"
    auc_direction: str = "higher scores mean positive; never flipped"


@dataclass(frozen=True, kw_only=True)
class Head:
    """What every kind has."""

    schema_version: int
    created_by: str
    notice: str
    settings: SettingsUsed
    conventions: Conventions
    multiplicity: tuple[AdjustedFamily, ...]
    warnings: tuple[NamedWarning, ...]

    @property
    def confidence(self) -> str:
        """`95%`."""
        return f"{100 * self.settings.confidence_level:g}%"


@dataclass(frozen=True, kw_only=True)
class PredictionSources:
    """Names of folders and files, and of the column of patients.

    Attributes:
        weights: digests of the networks that were evaluated; none where the predictions do not tell.
    """

    predictions: str
    truth: str
    labels: str | None
    cluster: str | None
    weights: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How many nodules were found; `sensitivity` is that of finding one, also in scans without a prediction.

    Attributes:
        n_scans: that were to be searched.
        n_scans_crashed: of them without a prediction.
        n_crashed: true nodules in those.
        free_response: with every candidate; none where positions were given.
    """

    n_scans: int
    n_scans_crashed: int
    n_truth: int
    n_predicted: int
    n_matched: int
    n_missed: int
    n_crashed: int
    n_extra: int
    sensitivity: float
    sensitivity_ci: Interval
    missed_per_scan: float
    extra_per_scan: float
    median_distance_mm: float
    distance_limit: str
    note: str | None
    free_response: FreeResponse | None = None


@dataclass(frozen=True, kw_only=True)
class Dice:
    """Dice over cases."""

    n: int
    n_undefined: int
    mean: float
    sd: float
    median: float
    min: float
    max: float
    mean_ci: Interval


@dataclass(frozen=True, kw_only=True)
class PredictionMetrics(Head):
    """Predictions against a table of nodules; Dice where there are reference masks."""

    kind: Literal["predictions"] = "predictions"
    inputs: PredictionSources
    primary_task: str
    tasks: dict[str, PredictedTask]
    detection: Detection
    dice: Dice | None


@dataclass(frozen=True, kw_only=True)
class CrossvalSources:
    """Names of the model folder, the data set, the table, and the column of patients.

    Attributes:
        weights: digests of the networks that were evaluated; none where the predictions do not tell.
    """

    model: str
    dataset: str
    truth: str
    cluster: str | None
    weights: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class OperatingPointFile:
    """Where the model's operating point is, and that the metrics are not of it."""

    file: str
    note: str


@dataclass(frozen=True, kw_only=True)
class CrossvalMetrics(Head):
    """All folds' validation; nodules are classified at their true positions, so that nothing is detected."""

    kind: Literal["crossval"] = "crossval"
    inputs: CrossvalSources
    primary_task: str
    folds: tuple[int, ...]
    operating_point: OperatingPointFile
    tasks: dict[str, CrossvalTask]
    detection: None
    dice: None


@dataclass(frozen=True, kw_only=True)
class TableSources:
    """Name of the table, its truth and the class that means positive, and the column of patients."""

    table: str
    truth: str
    positive: str | None
    cluster: str | None
    fold: str | None


@dataclass(frozen=True, kw_only=True)
class AddedValueTest:
    """What a score adds to columns that are known without it, on data that neither was learnt from.

    Attributes:
        score: its log odds where it is a probability.
        beside: the columns.
        weight: of the score in a logistic regression of both, log odds a standard deviation.
        beside_weights: of the columns.
        test: "likelihood ratio", or where patients have several cases "sandwich over patients, t".
        p_value: two-sided, that the weight is 0.
    """

    score: str
    beside: tuple[str, ...]
    n: int
    weight: float
    beside_weights: tuple[float, ...]
    test: str
    p_value: float
    p_value_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class TableMetrics(Head, Comparisons):
    """Scores and readers of a table; a score that is no probability has no decision curve."""

    kind: Literal["table"] = "table"
    inputs: TableSources
    n: int
    n_positive: int
    scores: dict[str, Score]
    decision_curve: dict[str, DecisionCurve | None]
    added_value: tuple[AddedValueTest, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ClassTableMetrics(Head, ClassComparisons):
    """Models that give each of several classes, or grades, a probability.

    Attributes:
        is_ordinal: whether the classes are grades.
        rule: which class is decided.
        n_clusters: patients; None where no column names them.
        models: name -> its measures.
        confusion_matrices: name -> rows truth, columns decision.
        readers: name -> model -> the model beside the reader.
    """

    kind: Literal["classes"] = "classes"
    inputs: TableSources
    n: int
    n_clusters: int | None
    classes: tuple[str, ...]
    is_ordinal: bool
    rule: str
    models: dict[str, tuple[MeasureValue, ...]]
    confusion_matrices: dict[str, tuple[tuple[int, ...], ...]]
    readers: dict[str, dict[str, ClassReader]]


@dataclass(frozen=True, kw_only=True)
class ReaderStudySources:
    """Name of the table, its truth and the column of patients."""

    table: str
    truth: str
    cluster: str | None


@dataclass(frozen=True, kw_only=True)
class ReaderStudyMetrics(Head):
    """A multi-reader multi-case study; sensitivity and specificity where a cut was stated."""

    kind: Literal["readers"] = "readers"
    inputs: ReaderStudySources
    method: str
    n_cases: int
    n_positive: int
    readers: tuple[str, ...]
    modalities: tuple[str, ...]
    cut: float | None
    merits: dict[str, MeritResult]


Metrics = PredictionMetrics | CrossvalMetrics | TableMetrics | ClassTableMetrics | ReaderStudyMetrics
KINDS: dict[str, type[Metrics]] = {
    "predictions": PredictionMetrics,
    "crossval": CrossvalMetrics,
    "table": TableMetrics,
    "classes": ClassTableMetrics,
    "readers": ReaderStudyMetrics,
}
