"""Models that decide among grades or classes: compared with each other, and within the levels of groups."""

from __future__ import annotations

from dataclasses import dataclass, field

from dsmt_nnunet.evaluation.records.comparisons import LevelTest
from dsmt_nnunet.evaluation.records.score import Interval


@dataclass(frozen=True, kw_only=True)
class MeasureValue:
    """A measure of one model; of several folds, what ranks the cases is the mean over folds."""

    measure: str
    value: float
    ci: Interval


@dataclass(frozen=True, kw_only=True)
class MeasureDifference:
    """A measure twice; of the mean absolute error less is better.

    Attributes:
        measure: what is compared.
        values: of the first and of the second.
        difference: first less second.
        test: name of the test; `ci` and `p_value` are both of it, so that they never contradict each other.
        p_value: two-sided, of no difference.
        p_value_holm: adjusted over the family that `multiplicity` names.
    """

    measure: str
    values: tuple[float, float]
    difference: float
    ci: Interval
    test: str
    p_value: float
    p_value_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """Two models on the same `n` cases."""

    models: tuple[str, str]
    n: int
    differences: tuple[MeasureDifference, ...]


@dataclass(frozen=True, kw_only=True)
class LevelComparison:
    """One model at two levels of a group column, which hold `n` cases each."""

    model: str
    group: str
    levels: tuple[str, str]
    n: tuple[int, int]
    differences: tuple[MeasureDifference, ...]


@dataclass(frozen=True, kw_only=True)
class MeasureInteraction(LevelTest):
    """Of a measure of a model, or of its difference to that of `against`."""

    model: str
    against: str | None = None
    measure: str

    @property
    def subject(self) -> str:
        """What is tested, in words."""
        return self.model if self.against is None else f"{self.model} - {self.against}"


@dataclass(frozen=True, kw_only=True)
class ClassLevel:
    """One level of a group column.

    Attributes:
        n: its cases.
        n_by_class: of each class.
        models: model -> its measures there.
    """

    n: int
    n_by_class: tuple[int, ...]
    models: dict[str, tuple[MeasureValue, ...]]


@dataclass(frozen=True, kw_only=True)
class ClassComparisons:
    """What is compared among cases of several classes.

    Attributes:
        comparisons: of each pair of models.
        level_comparisons: of each pair of levels.
        interactions: over all levels of a column at once; none of several folds.
        subgroups: column -> level -> its measures.
    """

    comparisons: tuple[ModelComparison, ...] = ()
    level_comparisons: tuple[LevelComparison, ...] = ()
    interactions: tuple[MeasureInteraction, ...] = ()
    subgroups: dict[str, dict[str, ClassLevel]] = field(default_factory=dict)
