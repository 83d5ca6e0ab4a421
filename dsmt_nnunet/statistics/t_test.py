"""The t (or normal) interval and the two-sided test that inverts it: one place, so that they never contradict."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import expit, logit
from scipy.stats import norm, t

NO_SPREAD = 1e-12
"""Standard errors up to this are 0: rounding, not chance."""


@dataclass(frozen=True)
class TTest:
    """An interval and a p value of one distribution.

    Attributes:
        ci: value +- quantile * se.
        statistic: (value - null) / se; 0 where nothing differs and nothing varies, NaN where only nothing varies.
        p_value: two-sided; the interval excludes the null exactly where p < 1 - level. 1 and NaN as for the statistic.
    """

    ci: tuple[float, float]
    statistic: float
    p_value: float


def t_test(value: float, se: float, df: float, level: float = 0.95, null: float = 0.0) -> TTest:
    """Interval of a value, and the test that it is `null`.

    Args:
        value: estimate.
        se: its standard error.
        df: degrees of freedom; infinite or NaN for the normal distribution.
        level: confidence level.
        null: the value tested.
    """
    half = t_quantile(df, level) * se
    ci = (value - half, value + half)
    if not se <= NO_SPREAD:
        statistic = (value - null) / se
        return TTest(ci, statistic, t_p_value(statistic, df))
    same = abs(value - null) <= NO_SPREAD
    return TTest(ci, 0.0 if same else math.nan, 1.0 if same else math.nan)


def t_quantile(df: float, level: float = 0.95) -> float:
    """Of the two-sided interval."""
    share = 0.5 + level / 2
    return float(t.ppf(share, df) if math.isfinite(df) else norm.ppf(share))


def t_p_value(statistic: float, df: float) -> float:
    """Two-sided."""
    return float(2 * (t.sf(abs(statistic), df) if math.isfinite(df) else norm.sf(abs(statistic))))


def logit_limits(value: float, se: float, quantile: float) -> tuple[float, float]:
    """Limits that stay within 0 to 1, of a value strictly inside: logit value +- q SE / (value (1 - value)).

    Source: Pepe, The Statistical Evaluation of Medical Tests, 2003, section 5.2.
    """
    half = quantile * se / (value * (1 - value))
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))


def bounded_interval(value: float, se: float, df: float = math.inf, level: float = 0.95) -> tuple[float, float]:
    """Logit t (or normal) interval of a value in 0 to 1; NaN at 0 and 1, or without a positive standard error."""
    if not (0 < value < 1 and se > 0):
        return math.nan, math.nan
    return logit_limits(value, se, t_quantile(df, level))
