"""Comparisons of scores, of levels of a group, and of readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dsmt_nnunet.evaluation.records.agreement import Agreement
from dsmt_nnunet.evaluation.records.score import Interval, OperatingPoint, SubgroupLevel
from dsmt_nnunet.statistics.non_inferiority import NonInferiority


@dataclass(frozen=True, kw_only=True)
class AucDifference:
    """Two AUCs and their difference, first minus second.

    Attributes:
        test: name of the test.
        ci: of the same distribution as `p_value`, so that they never contradict each other.
        z: difference / se, whatever the distribution.
        df: degrees of freedom of t; undefined for a normal test.
        p_value: two-sided.
        p_value_holm: adjusted over the family that `multiplicity` names; none where there is no p value.
        non_inferiority: of the first to the second, where a margin was stated.
    """

    test: str
    aucs: tuple[float, float]
    auc_difference: float
    ci: Interval
    se: float
    z: float
    df: float
    p_value: float
    p_value_holm: float | None = None
    non_inferiority: NonInferiority | None = None


@dataclass(frozen=True, kw_only=True)
class McNemarDetails:
    """Tests beside the one quoted, where every case stands alone."""

    chi2: float
    p_exact: float
    p_mid: float
    chi2_corrected: float
    p_corrected: float


@dataclass(frozen=True, kw_only=True)
class Durkalski:
    """The test beside the one quoted, where patients have several cases."""

    chi2: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class ProportionDifference:
    """Two proportions of the same cases, first minus second; patients are taken whole where they have several cases.

    `ci` and `p_value` are of one test: McNemar's with Tango's interval, or the ratio over patients with t.
    """

    test: str
    n: int
    n_clusters: int
    both_right: int
    only_first_right: int
    only_second_right: int
    both_wrong: int
    difference: float
    ci: Interval
    p_value: float
    p_value_holm: float | None = None
    mcnemar: McNemarDetails | None = None
    durkalski: Durkalski | None = None


@dataclass(frozen=True, kw_only=True)
class DecisionDifference:
    """Decisions compared on all cases, on the positive and on the negative ones."""

    accuracy: ProportionDifference
    sensitivity: ProportionDifference
    specificity: ProportionDifference

    @property
    def tests(self) -> tuple[tuple[str, ProportionDifference], ...]:
        """Each with its name."""
        return ("accuracy", self.accuracy), ("sensitivity", self.sensitivity), ("specificity", self.specificity)


@dataclass(frozen=True, kw_only=True)
class PairedComparison(AucDifference):
    """Two scores of the same cases; decisions are compared where both have an operating point."""

    kind: Literal["paired"] = "paired"
    scores: tuple[str, str]
    n: int
    thresholds: tuple[float, float] | None = None
    decisions: DecisionDifference | None = None


@dataclass(frozen=True, kw_only=True)
class UnpairedComparison(AucDifference):
    """One score at two levels of a group column."""

    kind: Literal["unpaired"] = "unpaired"
    score: str
    group: str
    levels: tuple[str, str]
    n: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class LevelTest:
    """Test over all levels of a group column at once that a figure is equal at all of them.

    Attributes:
        levels: those with enough patients.
        estimates: the figure at each.
        test: name of the test.
        f, df: its statistic and degrees of freedom.
        p_value_holm: adjusted over the family that `multiplicity` names.
    """

    group: str
    levels: tuple[str, ...]
    estimates: tuple[float, ...]
    test: str
    f: float
    df: tuple[int, int]
    p_value: float
    p_value_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class LevelInteraction(LevelTest):
    """Of an AUC, or of the difference of two.

    Attributes:
        score: whose AUC it is.
        against: whose AUC is subtracted; none where the AUC itself is tested.
    """

    score: str
    against: str | None = None

    @property
    def subject(self) -> str:
        """`A` or `A - B`."""
        return self.score if self.against is None else f"{self.score} - {self.against}"


@dataclass(frozen=True, kw_only=True)
class AdjustedFamily:
    """Tests whose p values were adjusted together after Holm."""

    name: str
    over: str
    n_tests: int
    sentence: str


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
    """The most sensitive threshold of a score whose specificity is not below a reader's.

    `sensitivity_ci` is the BTII interval, which counts that the threshold came from these very cases; undefined without
    a bootstrap.
    """

    sensitivity: float
    sensitivity_ci: Interval
    specificity: float
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
    decisions: DecisionDifference | None = None


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One reader; the AUC is of ordinal ratings alone."""

    kind: Literal["binary", "ordinal"]
    n: int
    n_positive: int
    operating_points: tuple[ReaderPoint, ...]
    against: dict[str, ReaderDifference]
    auc: float | None = None
    auc_ci: Interval | None = None
    auc_method: str | None = None


@dataclass(frozen=True, kw_only=True)
class AgainstReaders:
    """AUC of a score less the mean AUC of the readers, readers and cases random."""

    model_auc: float
    mean_reader_auc: float
    difference: float
    se: float
    df: float
    ci: Interval
    t: float
    p_value: float
    p_value_holm: float | None = None
    non_inferiority: NonInferiority | None = None


@dataclass(frozen=True, kw_only=True)
class MultiReader:
    """The mean of several ordinal readers on the cases that all of them rated, and each score against it.

    Scores of several folds are not put in one order and so not compared with readers together.
    """

    method: str
    readers: tuple[str, ...]
    n: int
    n_positive: int
    reader_aucs: dict[str, float]
    mean_auc: float
    mean_auc_ci: Interval
    se: float
    df: float
    model_minus_readers: dict[str, AgainstReaders]


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
        interactions: of the levels of each column; none of several folds, which compare levels in pairs.
        agreement: of the readers with each other.
    """

    clustered: bool
    n_clusters: int | None
    comparisons: tuple[PairedComparison | UnpairedComparison, ...]
    comparison_joint: JointTest | None
    readers: dict[str, Reader]
    multi_reader: MultiReader | None
    subgroups: dict[str, dict[str, SubgroupLevel]]
    interactions: tuple[LevelInteraction, ...] = ()
    agreement: Agreement | None = None
