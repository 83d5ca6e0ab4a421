"""How likely a comparison of two AUCs is to show a difference, and how many patients it needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri
from scipy.stats import multivariate_normal, nct, norm, t

MOST_PATIENTS = 1_000_000


@dataclass(frozen=True)
class ComparisonDesign:
    """Two scores of the same nodules.

    Attributes:
        first, second: AUCs expected.
        n_patients: patients.
        per_patient: nodules a patient.
        prevalence: share of positive nodules.
        correlation: of the two scores within a class.
        patient_correlation: of one score between two nodules of a patient of the same class.
        label_correlation: of the labels of two nodules of a patient: 1 where patients are wholly positive or negative.
        n_seeds: trainings of each procedure whose AUCs are averaged; 1 where the scores are given.
        seed_sd: standard deviation of the AUC over the seeds of a procedure, on the same cases.
        margin: accepted loss of the first against the second, where non-inferiority is asked; None for a difference.
        alpha: two-sided; half of it in the one-sided test of non-inferiority.
    """

    first: float
    second: float
    n_patients: int
    per_patient: float = 1.0
    prevalence: float = 0.5
    correlation: float = 0.5
    patient_correlation: float = 0.5
    label_correlation: float = 0.5
    n_seeds: int = 1
    seed_sd: float = 0.0
    margin: float | None = None
    alpha: float = 0.05

    def __post_init__(self) -> None:
        for name in ("first", "second", "prevalence"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} lies strictly between 0 and 1, got {getattr(self, name):g}.")
        for name in ("correlation", "patient_correlation", "label_correlation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} lies in 0 to 1, got {getattr(self, name):g}.")
        if self.per_patient < 1 or self.n_patients < 2 or self.n_seeds < 1 or self.seed_sd < 0:
            raise ValueError(
                "A design has two patients or more, a nodule and a seed or more, and a seed_sd of 0 or more."
            )
        if self.seed_sd > 0 and self.n_seeds < 2:
            raise ValueError("One seed says nothing about seeds: with a seed_sd there must be two seeds or more.")
        if not 0 < self.alpha < 1 or (self.margin is not None and not 0 < self.margin < 1):
            raise ValueError("alpha and margin lie strictly between 0 and 1.")


@dataclass(frozen=True)
class Power:
    """What a design gives.

    Attributes:
        power: probability that the test shows the difference (or the non-inferiority).
        se: standard error of the difference of the AUCs.
        df: degrees of freedom of its t.
        n_positive, n_negative: nodules expected.
    """

    power: float
    se: float
    df: float
    n_positive: float
    n_negative: float


def power_of(design: ComparisonDesign) -> Power:
    """Power of the t test of `clustered_paired_comparison`, with seeds of `compare_over_seeds`.

    The variance of the cases is that of binormal scores with equal variances: exact for nodules that stand alone, and
    to first order for nodules of a patient. To it comes 2 seed_sd^2 / n_seeds; the degrees of freedom are
    Satterthwaite's of both. In simulations it lies within 0.04 of the share of tests that reject
    (tests/unit/statistics/test_power.py).
    Source: Obuchowski and McClish, Statistics in Medicine 1997; 16: 1529 (binormal variances); Obuchowski, Biometrics
    1997; 53: 567 (clusters); Hillis, Obuchowski and Berbaum, Academic Radiology 2011; 18: 129 (readers, here seeds).

    Raises:
        ValueError: fewer than one nodule of a class is expected.
    """
    n_positive, n_negative = (
        design.n_patients * design.per_patient * share for share in (design.prevalence, 1 - design.prevalence)
    )
    if (fewer := min(n_positive, n_negative)) < 1:
        raise ValueError(
            f"An AUC needs a nodule of each class, and {design.n_patients} patients are expected to have {fewer:.2g} "
            f"of one. Take more patients, or a prevalence nearer to 0.5."
        )
    own = [_covariance(design, auc, auc, 1.0) for auc in (design.first, design.second)]
    both = _covariance(design, design.first, design.second, design.correlation)
    of_cases = max(sum(own) - 2 * both, 0.0)
    of_seeds = 2 * design.seed_sd**2 / design.n_seeds
    # Patients of the class that fewer hold bound what is known of the variance of the cases.
    holders = design.n_patients * min(_held_by(design, design.prevalence), _held_by(design, 1 - design.prevalence))
    case_df = math.inf if design.per_patient == 1 else max(holders - 1, 1.0)
    parts = of_cases**2 / case_df + (of_seeds**2 / (design.n_seeds - 1) if of_seeds else 0.0)
    df = (of_cases + of_seeds) ** 2 / parts if parts > 0 else math.inf
    se = math.sqrt(of_cases + of_seeds)
    shift = (design.first - design.second + (design.margin or 0.0)) / se if se > 0 else math.inf
    return Power(_power(shift, df, design), se, df, n_positive, n_negative)


def patients_needed(design: ComparisonDesign, power: float = 0.8) -> int:
    """Smallest number of patients that reaches a power, whatever `n_patients` says.

    Raises:
        ValueError: a power outside 0 to 1, or one that no number of patients reaches (too few seeds, no difference).
    """
    if not 0 < power < 1:
        raise ValueError(f"A power lies strictly between 0 and 1, got {power:g}.")
    fewest = max(2, math.ceil(1 / (design.per_patient * min(design.prevalence, 1 - design.prevalence))))
    upper = max(4, fewest)
    while power_of(replace(design, n_patients=upper)).power < power:
        upper *= 2
        if upper > MOST_PATIENTS:
            raise ValueError(
                f"No number of patients up to {MOST_PATIENTS:,} reaches a power of {power:g}: the difference is too "
                f"small, or there are too few seeds."
            )
    lower = max(upper // 2, fewest - 1)
    while upper - lower > 1:
        middle = (lower + upper) // 2
        if power_of(replace(design, n_patients=middle)).power < power:
            lower = middle
        else:
            upper = middle
    return upper


def binormal_covariance(
    first: float, second: float, n_positive: float, n_negative: float, correlation: float = 1.0
) -> float:
    """Covariance of two AUCs of the same independent cases, scores normal in either class with equal variances.

    With P(r) the probability that two standard normal differences with correlation r are both on the right side, it is
    (P(rho) + (n - 1 + m - 1) P(rho / 2) - (m + n - 1) A1 A2) / (m n). With `first` equal to `second` and a correlation
    of 1 it is the variance of an AUC.
    Source: Bamber, Journal of Mathematical Psychology 1975; 12: 387 (variance of the area from such probabilities).
    """
    same, shared = _both_right(first, second, correlation), _both_right(first, second, correlation / 2)
    others = n_positive + n_negative - 2
    return (same + others * shared - (others + 1) * first * second) / (n_positive * n_negative)


def _covariance(design: ComparisonDesign, first: float, second: float, correlation: float) -> float:
    """With the covariances between nodules of a patient, to first order."""
    share, product = design.prevalence, first * second
    n_positive = design.n_patients * design.per_patient * share
    n_negative = design.n_patients * design.per_patient * (1 - share)
    alone = binormal_covariance(first, second, n_positive, n_negative, correlation)
    others, alike = design.per_patient - 1, design.label_correlation
    if not others:
        return alone
    between = correlation * design.patient_correlation / 2
    same_class = _both_right(first, second, between) - product
    across = _both_right(first, second, -between) - product
    of_positives = others * (share + alike * (1 - share)) * same_class / n_positive
    of_negatives = others * (1 - share + alike * share) * same_class / n_negative
    mixed = 2 * others * (1 - share) * (1 - alike) * across / n_negative
    return alone + of_positives + of_negatives + mixed


def _both_right(first: float, second: float, correlation: float) -> float:
    ends = np.array([ndtri(first), ndtri(second)])
    if correlation >= 1:
        return float(min(first, second))
    return float(multivariate_normal.cdf(ends, mean=np.zeros(2), cov=[[1.0, correlation], [correlation, 1.0]]))


def _held_by(design: ComparisonDesign, share: float) -> float:
    """Share of the patients with a nodule of a class: between all alike (share) and independent labels."""
    apart = 1 - (1 - share) ** design.per_patient
    return float(design.label_correlation * share + (1 - design.label_correlation) * apart)


def _power(shift: float, df: float, design: ComparisonDesign) -> float:
    tail = 1 - design.alpha / 2
    if math.isinf(df):
        cut = float(norm.ppf(tail))
        above, below = float(norm.sf(cut - shift)), float(norm.cdf(-cut - shift))
    else:
        cut = float(t.ppf(tail, df))
        above, below = float(nct.sf(cut, df, shift)), float(nct.cdf(-cut, df, shift))
    return above if design.margin is not None else above + below
