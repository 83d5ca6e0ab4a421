"""Bootstrap of whole clusters: an interval and a p value from one distribution, so that they never disagree."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from dsmt_nnunet.statistics.checks import FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.jackknife import each_left_out
from dsmt_nnunet.statistics.resampling import Resampler

BootstrapMethod = Literal["bca", "percentile"]
Statistic = Callable[[IntArray], FloatArray]
"""Value of a statistic for cases counted several times: weights (B, N) -> (B,), NaN where it is not defined."""


@dataclass(frozen=True)
class BootstrapEstimate:
    """A statistic with a bootstrap interval and the p value that inverts it.

    Attributes:
        estimate: value on the cases as they are.
        ci: interval; NaN where every resample gives the same value.
        p_value: two-sided, of the null value: the smallest alpha at which the interval of level 1 - alpha excludes it,
            at least 1 / (resamples + 1). NaN without a null value.
        null: the value tested; NaN where none is.
        method: "bca" or "percentile".
        n_resamples: resamples on which the statistic is defined.
    """

    estimate: float
    ci: tuple[float, float]
    p_value: float
    null: float
    method: BootstrapMethod
    n_resamples: int


def bootstrap_estimate(
    statistic: Statistic,
    resampler: Resampler,
    level: float = 0.95,
    null: float = math.nan,
    method: BootstrapMethod = "bca",
) -> BootstrapEstimate:
    """Bootstraps a statistic over the resampler's units (patients where it has clusters).

    "bca" corrects for bias and for skewness (acceleration by leaving out one unit at a time); `scipy.stats.bootstrap`
    gives the same limits from the same resamples, but knows neither clusters nor p values. With few patients
    intervals are short: that of average precision held 0.92 with 40 patients of six nodules, where the jackknife
    (`clusters/jackknife.py`), which all reported figures have, holds 0.95.
    Source: Efron, JASA 1987; 82: 171; Field and Welsh, JRSS B 2007; 69: 369 (clusters); Hall, The Bootstrap and
    Edgeworth Expansion, 1992, section 3.12 (tests by inversion).

    Args:
        statistic: of weights (B, N).
        resampler: draws the weights.
        level: confidence level.
        null: value to test.
        method: "bca" or "percentile".

    Raises:
        ValueError: too few resamples for the level.
    """
    if resampler.n_resamples < 2 / (1 - level):
        raise ValueError(
            f"An interval of level {level:g} needs at least {math.ceil(2 / (1 - level))} resamples, "
            f"got {resampler.n_resamples}; raise their number."
        )
    n_cases = len(resampler.labels)
    estimate = float(statistic(np.ones((1, n_cases), dtype=np.int64))[0])
    samples = np.concatenate([statistic(weights) for weights in resampler.weights()])
    known = np.sort(samples[np.isfinite(samples)])
    if math.isnan(estimate) or len(known) < 2 / (1 - level) or np.ptp(known) < 1e-12:
        same = bool(len(known)) and not math.isnan(estimate) and bool(np.abs(known - null).max() < 1e-12)
        return BootstrapEstimate(estimate, (math.nan, math.nan), 1.0 if same else math.nan, null, method, len(known))
    bias, acceleration = _bca_constants(estimate, known, statistic, resampler) if method == "bca" else (0.0, 0.0)
    tail = (1 - level) / 2
    limits = np.quantile(known, [_level(tail, bias, acceleration), _level(1 - tail, bias, acceleration)])
    p_value = math.nan if math.isnan(null) else _inverted(known, null, bias, acceleration)
    return BootstrapEstimate(estimate, (float(limits[0]), float(limits[1])), p_value, null, method, len(known))


def _bca_constants(
    estimate: float, known: FloatArray, statistic: Statistic, resampler: Resampler
) -> tuple[float, float]:
    below, at = float((known < estimate).mean()), float((known == estimate).mean())
    edge = 0.5 / len(known)
    bias = float(norm.ppf(min(max(below + at / 2, edge), 1 - edge)))
    left_out = np.concatenate([statistic(weights) for weights in each_left_out(resampler.unit_of_case)])
    left_out = left_out[np.isfinite(left_out)]
    spread = left_out.mean() - left_out if len(left_out) else np.zeros(1)
    scale = float((spread**2).sum()) ** 1.5
    return bias, float((spread**3).sum()) / (6 * scale) if scale > 1e-30 else 0.0


def _level(share: float, bias: float, acceleration: float) -> float:
    """Share of the bootstrap distribution that stands for a nominal share (Efron 1987, equation 2.3)."""
    shifted = bias + float(norm.ppf(share))
    return float(norm.cdf(bias + shifted / (1 - acceleration * shifted)))


def _nominal(share: float, bias: float, acceleration: float) -> float:
    """Inverse of `_level`."""
    if share in (0.0, 1.0):
        return share
    shifted = float(norm.ppf(share)) - bias
    return float(norm.cdf(shifted / (1 + acceleration * shifted) - bias))


def _inverted(known: FloatArray, null: float, bias: float, acceleration: float) -> float:
    """Largest alpha at which the closed interval still holds the null value."""
    steps = np.arange(len(known)) / (len(known) - 1)
    # np.quantile joins the order statistics by straight lines; at ties the line stands upright.
    last, first = np.searchsorted(known, null, side="right") - 1, np.searchsorted(known, null, side="left")
    if last < 0 or first >= len(known):
        return 1 / (len(known) + 1)
    if known[last] == null:
        lowest, highest = float(steps[first]), float(steps[last])
    else:
        lowest = highest = float(np.interp(null, known[[last, first]], steps[[last, first]]))
    from_below, from_above = _nominal(highest, bias, acceleration), 1 - _nominal(lowest, bias, acceleration)
    return min(1.0, max(2 * min(from_below, from_above), 1 / (len(known) + 1)))
