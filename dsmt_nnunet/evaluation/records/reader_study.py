"""Figures of merit of a multi-reader multi-case study."""

from __future__ import annotations

from dataclasses import dataclass, field

from dsmt_nnunet.evaluation.records.score import Interval
from dsmt_nnunet.statistics.readers.obuchowski_rockette import EqualityTest, VarianceComponents


@dataclass(frozen=True, kw_only=True)
class ReaderEstimate:
    """A reader in a modality."""

    reader: str
    modality: str
    estimate: float
    se: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate with its interval; the p value is undefined where nothing is tested.

    `p_value_holm` is adjusted over the differences of all merits in one design.
    """

    estimate: float
    se: float
    df: float
    ci: Interval
    statistic: float
    p_value: float
    p_value_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModalityMean(Estimate):
    """Mean of the readers in a modality; the interval is on the logit scale."""

    modality: str


@dataclass(frozen=True, kw_only=True)
class ModalityDifference(Estimate):
    """First modality minus second."""

    first: str
    second: str


@dataclass(frozen=True, kw_only=True)
class ReaderModalityDifference(ModalityDifference):
    """The same of one reader."""

    reader: str


@dataclass(frozen=True, kw_only=True)
class DesignResult:
    """The analysis with one choice of what is random."""

    variance_components: VarianceComponents
    ms_modality: float
    ms_modality_reader: float
    equality: EqualityTest | None
    means: tuple[ModalityMean, ...]
    differences: tuple[ModalityDifference, ...]
    reader_differences: tuple[ReaderModalityDifference, ...]


@dataclass(frozen=True, kw_only=True)
class MeritResult:
    """One figure of merit; with a single reader, readers are fixed."""

    covariance_method: str
    by_reader: tuple[ReaderEstimate, ...]
    random_readers_and_cases: DesignResult | None = field(metadata={"key": "random readers and cases"})
    fixed_readers: DesignResult = field(metadata={"key": "fixed readers"})
    fixed_cases: DesignResult | None = field(metadata={"key": "fixed cases"})

    @property
    def designs(self) -> tuple[tuple[str, DesignResult | None], ...]:
        """Each with its name."""
        return (
            ("random readers and cases", self.random_readers_and_cases),
            ("fixed readers", self.fixed_readers),
            ("fixed cases", self.fixed_cases),
        )

    @property
    def quoted(self) -> DesignResult:
        """Random readers and cases, or fixed readers where there is one."""
        return self.random_readers_and_cases or self.fixed_readers
