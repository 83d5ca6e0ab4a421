"""Which cluster (patient) each case belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dsmt_nnunet.statistics.checks import FloatArray, IntArray

Clusters = Sequence[str] | Sequence[int] | IntArray | None
"""Name of the cluster of each case, or None where every case stands alone."""


def cluster_codes(clusters: Clusters, n_cases: int) -> IntArray:
    """Index of the cluster of each case, 0 to K - 1, shape (N,).

    Raises:
        ValueError: another number of names than cases.
    """
    if clusters is None:
        return np.arange(n_cases, dtype=np.int64)
    names = np.asarray(clusters).astype(str)
    if names.shape != (n_cases,):
        raise ValueError(f"There must be one cluster a case, {n_cases} in all; got shape {names.shape}.")
    return np.unique(names, return_inverse=True)[1].reshape(-1).astype(np.int64)


def are_clustered(clusters: Clusters, n_cases: int) -> bool:
    """Whether any cluster holds more than one of the cases."""
    return bool(n_cases) and int(cluster_codes(clusters, n_cases).max()) + 1 < n_cases


def cluster_sums(values: FloatArray, codes: IntArray) -> FloatArray:
    """Sum of the values in each cluster; (..., N) -> (..., K)."""
    if not len(codes):
        return np.zeros((*np.shape(values)[:-1], 0))
    n_clusters = int(codes.max()) + 1
    flat = np.reshape(values, (-1, len(codes))).astype(np.float64)
    sums = np.stack([np.bincount(codes, weights=row, minlength=n_clusters).astype(np.float64) for row in flat])
    return sums.reshape(*np.shape(values)[:-1], n_clusters)
