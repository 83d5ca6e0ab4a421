"""Covariance of statistics from leaving out one patient at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from dsmt_nnunet.statistics.checks import FloatArray, IntArray

_COUNTS_AT_ONCE = 2_000_000


def each_left_out(unit_of_case: IntArray) -> Iterator[IntArray]:
    """Weights (b, N) of all cases but those of one unit, unit after unit."""
    units = np.arange(int(unit_of_case.max()) + 1)
    rows = max(1, _COUNTS_AT_ONCE // len(unit_of_case))
    for start in range(0, len(units), rows):
        yield (units[start : start + rows, None] != unit_of_case[None, :]).astype(np.int64)


def jackknife_covariance(statistics: Callable[[IntArray], FloatArray], codes: IntArray) -> FloatArray:
    """(K - 1) / K sum (theta_k - mean)(theta_k - mean)' over the K clusters left out in turn.

    NaN where leaving a cluster out leaves a statistic undefined, and for fewer than two clusters.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, equation 11.5.

    Args:
        statistics: of weights (B, N), values of shape (B, M).
        codes: cluster of each case, 0 to K - 1, shape (N,).

    Returns:
        Shape (M, M).
    """
    values = np.concatenate([statistics(weights) for weights in each_left_out(codes)])
    n_clusters = len(values)
    if n_clusters < 2:
        return np.full((values.shape[1], values.shape[1]), np.nan)
    centred = values - values.mean(axis=0)
    return np.asarray((n_clusters - 1) / n_clusters * centred.T @ centred, dtype=np.float64)
