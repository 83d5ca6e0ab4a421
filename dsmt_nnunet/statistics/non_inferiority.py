"""Whether a difference is at most a margin below 0, a margin that was stated before."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import norm, t

from dsmt_nnunet.statistics.t_test import t_quantile


@dataclass(frozen=True)
class NonInferiority:
    """The first is not worse than the second by more than the margin.

    Attributes:
        margin: the largest loss that is accepted, positive.
        lower: lower limit of the difference, one-sided at (1 - level) / 2: that of the two-sided interval.
        p_value: one-sided, of a difference of -margin or less; below (1 - level) / 2 exactly where `lower` > -margin.
        is_shown: whether it is.
    """

    margin: float
    lower: float
    p_value: float
    is_shown: bool


def non_inferiority(difference: float, se: float, df: float, margin: float, level: float = 0.95) -> NonInferiority:
    """One-sided t (or normal) test of difference <= -margin.

    Source: Piaggio et al. (CONSORT), JAMA 2012; 308: 2594.

    Args:
        difference: first minus second.
        se: its standard error.
        df: degrees of freedom; NaN or infinite for a normal test.
        margin: positive.
        level: of the two-sided interval beside it.

    Raises:
        ValueError: the margin is not positive.
    """
    if not margin > 0:
        raise ValueError(f"A margin of non-inferiority is positive, got {margin:g}.")
    if math.isnan(difference) or not se > 0:
        return NonInferiority(margin, math.nan, math.nan, False)
    lower = difference - t_quantile(df, level) * se
    beyond = (difference + margin) / se
    p_value = float(t.sf(beyond, df) if math.isfinite(df) else norm.sf(beyond))
    return NonInferiority(margin, lower, p_value, lower > -margin)
