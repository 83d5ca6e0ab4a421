"""Comparisons of scores, of levels of a group, and of readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dsmt_nnunet.evaluation.records.score import Interval, OperatingPoint, SubgroupLevel
from dsmt_nnunet.statistics.readers.against_model import ModelAgainstReaders


@dataclass(frozen=True, kw_only=True)
class AucDifference:
    """Two AUCs and their difference, first minus second; `df` is undefined for a normal test."""

    test: str
    aucs: tuple[float, float]
    auc_difference: float
    ci: Interval
    se: float
    z: float
    df: float
    p_value: float
    p_value_normal: float


@dataclass(frozen=True, kw_only=True)
class McNemarTest:
    """McNemar's test; `p_value` is the exact one, `p_uncorrected` that of `chi2`."""

    both_right: int
    only_first_right: int
    only_second_right: int
    both_wrong: int
    n: int
    difference: float
    ci: Interval
    p_exact: float
    p_mid: float
    chi2: float
    p_value: float
    chi2_corrected: float
    p_corrected: float
    discordant: tuple[int, int]
    p_uncorrected: float
    test: str


@dataclass(frozen=True, kw_only=True)
class DecisionDifference:
    """McNemar on all cases, on the positive and on the negative ones."""

    accuracy: McNemarTest
    sensitivity: McNemarTest
    specificity: McNemarTest

    @property
    def tests(self) -> tuple[tuple[str, McNemarTest], ...]:
        """Each with its name."""
        return ("accuracy", self.accuracy), ("sensitivity", self.sensitivity), ("specificity", self.specificity)


@dataclass(frozen=True, kw_only=True)
class PairedComparison(AucDifference):
    """Two scores of the same cases; decisions are compared where both have an operating point.

    `p_value_holm` is adjusted over all pairs; there is none where the p value is not defined.
    """

    kind: Literal["paired"] = "paired"
    scores: tuple[str, str]
    n: int
    ci_bootstrap: Interval | None = None
    thresholds: tuple[float, float] | None = None
    mcnemar: DecisionDifference | None = None
    p_value_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class UnpairedComparison(AucDifference):
    """One score at two levels of a group column."""

    kind: Literal["unpaired"] = "unpaired"
    score: str
    group: str
    levels: tuple[str, str]
    n: tuple[int, int]
    p_value_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class JointTest:
    """Test that all scores have the same AUC."""

    scores: tuple[str, ...]
    test: str
    chi2: float
    df: int
    p_value: float


@dataclass(frozen=True, kw_only=True)
class PointAtSpecificity:
    """The most sensitive threshold of a score whose specificity is not below a reader's."""

    sensitivity: float
    sensitivity_ci: Interval
    specificity: float
    specificity_ci: Interval
    threshold: float
    threshold_chosen_on_reported_data: bool
    note: str


@dataclass(frozen=True, kw_only=True)
class ReaderPoint(OperatingPoint):
    """An operating point of a reader; score -> its point at the reader's specificity, where that is defined."""

    model_at_reader_specificity: dict[str, PointAtSpecificity]


@dataclass(frozen=True, kw_only=True)
class ReaderDifference:
    """A score minus a reader: AUCs of ordinal ratings, decisions of binary ones or of a stated cut."""

    auc: AucDifference | None = None
    threshold: float | None = None
    mcnemar: DecisionDifference | None = None


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One reader; the AUC is of ordinal ratings alone."""

    kind: Literal["binary", "ordinal"]
    n: int
    n_positive: int
    operating_points: tuple[ReaderPoint, ...]
    against: dict[str, ReaderDifference]
    auc: float | None = None
    auc_ci_delong: Interval | None = None
    auc_ci_method: str | None = None


@dataclass(frozen=True, kw_only=True)
class MultiReader:
    """The mean of several ordinal readers on the cases that all of them rated, and each score against it."""

    method: str
    readers: tuple[str, ...]
    n: int
    n_positive: int
    reader_aucs: dict[str, float]
    mean_auc: float
    mean_auc_ci: Interval
    se: float
    df: float
    model_minus_readers: dict[str, ModelAgainstReaders]


@dataclass(frozen=True, kw_only=True)
class Comparisons:
    """What is compared among the cases of a table or of a binary task.

    Attributes:
        clustered: whether any patient has several cases.
        n_clusters: patients; None where no column names them.
        comparisons: of scores, and of the levels of each group column.
        comparison_joint: None for fewer than three scores.
        readers: name -> reader.
        multi_reader: None for fewer than two ordinal readers.
        subgroups: column -> level -> its scores.
    """

    clustered: bool
    n_clusters: int | None
    comparisons: tuple[PairedComparison | UnpairedComparison, ...]
    comparison_joint: JointTest | None
    readers: dict[str, Reader]
    multi_reader: MultiReader | None
    subgroups: dict[str, dict[str, SubgroupLevel]]
