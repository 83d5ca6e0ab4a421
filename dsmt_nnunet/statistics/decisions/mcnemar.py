"""McNemar's test: two sets of decisions on the same cases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binom, chi2

from dsmt_nnunet.statistics.proportions import proportion
from dsmt_nnunet.statistics.t_test import t_quantile


@dataclass(frozen=True)
class McNemarResult:
    """A paired comparison of two proportions (first minus second) by the cases on which only one is right.

    Attributes:
        both_right, only_first_right, only_second_right, both_wrong: counts a, b, c, d.
        n: their sum; without cases every p value is NaN.
        difference: (b - c) / n; NaN for n = 0.
        ci: Tango's score interval of the difference, which excludes 0 exactly where `p_value` < 1 - level.
        p_exact: two-sided binomial test of b against b + c; 1 where no case is discordant.
        p_mid: the same with half of the probability of the observed count (mid-p).
        chi2, p_value: without correction, the test to quote; NaN and 1 where no case is discordant.
        chi2_corrected, p_corrected: with Edwards' correction, which is 0 for b = c.
    """

    both_right: int
    only_first_right: int
    only_second_right: int
    both_wrong: int
    n: int
    difference: float
    ci: tuple[float, float]
    p_exact: float
    p_mid: float
    chi2: float
    p_value: float
    chi2_corrected: float
    p_corrected: float


def mcnemar(first_right: npt.ArrayLike, second_right: npt.ArrayLike, level: float = 0.95) -> McNemarResult:
    """McNemar's test from two arrays of "was it right", shape (N,)."""
    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"McNemar's test needs the same cases twice, got shapes {first.shape} and {second.shape}.")
    return mcnemar_from_counts(
        int((first & second).sum()),
        int((first & ~second).sum()),
        int((~first & second).sum()),
        int((~first & ~second).sum()),
        level,
    )


def mcnemar_from_counts(
    both_right: int, only_first: int, only_second: int, both_wrong: int, level: float = 0.95
) -> McNemarResult:
    """McNemar's test from the four counts.

    Source: Fagerland, Lydersen and Laake, BMC Medical Research Methodology 2013; 13: 91 (the tests compared: the exact
    and the corrected one are too cautious).
    """
    n_cases = both_right + only_first + only_second + both_wrong
    discordant, least = only_first + only_second, min(only_first, only_second)
    below = 2 * float(binom.cdf(least, discordant, 0.5))
    statistic = corrected = math.nan
    p_value = p_corrected = 1.0 if n_cases else math.nan
    if discordant:
        statistic = (only_first - only_second) ** 2 / discordant
        corrected = max(abs(only_first - only_second) - 1, 0) ** 2 / discordant
        p_value, p_corrected = float(chi2.sf(statistic, 1)), float(chi2.sf(corrected, 1))
    return McNemarResult(
        both_right,
        only_first,
        only_second,
        both_wrong,
        n_cases,
        (only_first - only_second) / n_cases if n_cases else math.nan,
        tango_interval(both_right, only_first, only_second, both_wrong, level),
        min(1.0, below) if n_cases else math.nan,
        min(1.0, below - float(binom.pmf(least, discordant, 0.5))) if n_cases else math.nan,
        statistic,
        p_value,
        corrected,
        p_corrected,
    )


def tango_interval(
    both_right: int, only_first: int, only_second: int, both_wrong: int, level: float = 0.95
) -> tuple[float, float]:
    """Score interval of the difference between two paired proportions; at 0 its test is McNemar's.

    It holds every D with |b - c - n D| <= z sqrt(n (2 q + D (1 - D))), q the likelihood's probability of c given D.
    Source: Tango, Statistics in Medicine 1998; 17: 891.
    """
    n_cases = both_right + only_first + only_second + both_wrong
    if n_cases == 0:
        return math.nan, math.nan
    z = t_quantile(math.inf, level)

    def excess(difference: float) -> float:
        linear = (2 * n_cases - only_first + only_second) * difference - only_first - only_second
        constant = -only_second * difference * (1 - difference)
        given = (math.sqrt(max(linear**2 - 8 * n_cases * constant, 0.0)) - linear) / (4 * n_cases)
        variance = max(n_cases * (2 * given + difference * (1 - difference)), 0.0)
        return abs(only_first - only_second - n_cases * difference) - z * math.sqrt(variance)

    # At the observed difference itself the variance is 0 where no case is discordant.
    observed, step = (only_first - only_second) / n_cases, 1e-7
    lower = -1.0 if excess(-1.0) <= 0 else float(brentq(excess, -1.0, observed - step, xtol=1e-12))
    return lower, 1.0 if excess(1.0) <= 0 else float(brentq(excess, observed + step, 1.0, xtol=1e-12))


def newcombe_paired_interval(
    both_right: int, only_first: int, only_second: int, both_wrong: int, level: float = 0.95
) -> tuple[float, float]:
    """Score interval of the difference between two paired proportions.

    Wilson limits of the two proportions, combined with their correlation phi (corrected for continuity).
    Source: Newcombe, Statistics in Medicine 1998; 17: 2635, method 10.
    """
    n_cases = both_right + only_first + only_second + both_wrong
    if n_cases == 0:
        return math.nan, math.nan
    first = proportion(both_right + only_first, n_cases, "wilson", level)
    second = proportion(both_right + only_second, n_cases, "wilson", level)
    margins = first.count * (n_cases - first.count) * second.count * (n_cases - second.count)
    excess = float(both_right * both_wrong - only_first * only_second)
    if excess > 0:
        excess = max(excess - n_cases / 2, 0.0)
    phi = excess / math.sqrt(margins) if margins else 0.0
    difference = first.value - second.value

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))

    below = reach(first.value - first.ci[0], second.ci[1] - second.value)
    above = reach(first.ci[1] - first.value, second.value - second.ci[0])
    return difference - below, difference + above
