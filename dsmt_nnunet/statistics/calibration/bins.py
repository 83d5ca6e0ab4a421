"""Calibration by bins: predicted against observed frequency, and the expected calibration error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import FloatArray, IntArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.clusters.ratio import clustered_proportion
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes

N_BINS = 10
ECE_DEFINITION = (
    "10 bins of equal width on the probability of the positive class, closed at the left, the last also at the right; "
    "mean of |observed frequency - mean probability| weighted by the cases of a bin"
)


@dataclass(frozen=True)
class CalibrationBin:
    """Cases whose probability lies in [lower, upper), the last bin [lower, upper].

    Attributes:
        lower, upper: edges.
        n, n_positive: cases and positive cases.
        mean_probability: NaN in an empty bin.
        observed: share of positive cases; NaN in an empty bin.
        observed_ci: Wilson interval of it, at the effective number of cases where patients have several.
    """

    lower: float
    upper: float
    n: int
    n_positive: int
    mean_probability: float
    observed: float
    observed_ci: tuple[float, float]


def calibration_bins(
    y_true: npt.ArrayLike,
    y_prob: npt.ArrayLike,
    n_bins: int = N_BINS,
    level: float = 0.95,
    clusters: Clusters = None,
) -> tuple[CalibrationBin, ...]:
    """Bins of equal width on the probability of the positive class; with clusters the intervals count patients.

    Raises:
        ValueError: a probability outside 0 to 1.
    """
    labels = binary_labels(y_true)
    probs = finite_scores(y_prob, len(labels))
    if len(probs) and (probs.min() < 0 or probs.max() > 1):
        raise ValueError(f"Probabilities lie in 0 to 1, got {probs.min():g} to {probs.max():g}.")
    codes = cluster_codes(clusters, len(labels))
    edges = np.arange(n_bins + 1) / n_bins
    index = _bin_of(probs, edges)
    bins = []
    for number in range(n_bins):
        inside = index == number
        observed = clustered_proportion(labels[inside], codes[inside], level)
        mean = float(probs[inside].mean()) if inside.any() else math.nan
        bins.append(
            CalibrationBin(
                float(edges[number]),
                float(edges[number + 1]),
                observed.total,
                observed.count,
                mean,
                observed.value,
                observed.ci,
            )
        )
    return tuple(bins)


def expected_calibration_error(y_true: npt.ArrayLike, y_prob: npt.ArrayLike, n_bins: int = N_BINS) -> float:
    """Expected calibration error; see `ECE_DEFINITION`. NaN without cases."""
    bins = [item for item in calibration_bins(y_true, y_prob, n_bins) if item.n]
    total = sum(item.n for item in bins)
    return sum(item.n * abs(item.observed - item.mean_probability) for item in bins) / total if total else math.nan


def ece_if_calibrated(y_prob: npt.ArrayLike, n_bins: int = N_BINS, n_draws: int = 1000, seed: int = 0) -> float:
    """Expected calibration error that these probabilities would show if they were right; NaN without cases.

    It is never 0: with 30 cases perfect probabilities show about 0.18. The mean of `n_draws` draws of the outcomes from
    the probabilities, one draw a case.
    Source: Roelofs et al., AISTATS 2022, PMLR 151: 4036 (the bias); Bröcker and Smith, Weather and Forecasting 2007;
    22: 651 (drawing outcomes from the forecasts).
    """
    probs = finite_scores(y_prob, len(np.asarray(y_prob)))
    if not len(probs):
        return math.nan
    index = _bin_of(probs, np.arange(n_bins + 1) / n_bins)
    member = (index[:, None] == np.arange(n_bins)).astype(np.float64)
    drawn = np.random.default_rng(seed).random((n_draws, len(probs))) < probs
    gaps = np.abs(drawn @ member - probs @ member)
    return float(gaps.sum(axis=1).mean() / len(probs))


def _bin_of(probs: FloatArray, edges: FloatArray) -> IntArray:
    return np.clip(np.searchsorted(edges, probs, side="right") - 1, 0, len(edges) - 2).astype(np.int64)
