"""How far readers agree; intervals are t with a jackknife of patients."""

from __future__ import annotations

from dataclasses import dataclass

from dsmt_nnunet.evaluation.records.score import Interval


@dataclass(frozen=True, kw_only=True)
class AgreementOfPair:
    """Two readers on the cases that both rated; `equal` is the share of equal ratings."""

    readers: tuple[str, str]
    n: int
    equal: float
    quadratic_kappa: float
    quadratic_kappa_ci: Interval


@dataclass(frozen=True, kw_only=True)
class AgreementOfAll:
    """All readers: Krippendorff's ordinal alpha on cases with two ratings or more, Fleiss' kappa on complete ones."""

    n: int
    alpha: float
    alpha_ci: Interval
    n_complete: int
    fleiss_kappa: float | None = None
    fleiss_kappa_ci: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of readers, whatever the truth.

    Attributes:
        categories: the ratings that occur, rising.
        pairs: those with enough cases in common.
        all: None where too few cases have two ratings.
    """

    categories: tuple[float, ...]
    pairs: tuple[AgreementOfPair, ...]
    all: AgreementOfAll | None
