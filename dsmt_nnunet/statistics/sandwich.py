"""Variance of a logistic regression over patients."""

from __future__ import annotations

import numpy as np

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.units import cluster_sums


def coefficient_changes(labels: BoolArray, design: FloatArray, fitted: FloatArray, codes: IntArray) -> FloatArray:
    """What each cluster contributes to each coefficient: B (I - H_k)^-1 X_k' (y_k - p_k).

    B is the inverse of the information X'WX, of which the cluster holds X_k' W_k X_k, and H_k = X_k' W_k X_k B. The sum
    of the squares over the clusters is the variance of a coefficient. Without (I - H_k)^-1 it is Liang and Zeger's,
    which is too small where clusters are few or unequal: they draw the fit towards themselves.
    Source: Mancl and DeRouen, Biometrics 2001; 57: 126, equation 4; Liang and Zeger, Biometrika 1986; 73: 13.

    Args:
        labels: shape (N,).
        design: shape (N, P).
        fitted: probabilities, shape (N,).
        codes: cluster of each case, 0 to K - 1, shape (N,).

    Returns:
        Shape (P, K); NaN where a cluster holds all that is known of a coefficient.
    """
    weighted = design * (fitted * (1 - fitted))[:, None]
    products = np.einsum("np,nq->pqn", weighted, design)
    bread = np.linalg.inv(products.sum(axis=2))
    held = np.moveaxis(cluster_sums(products, codes), 2, 0)
    scores = cluster_sums((design * (labels - fitted)[:, None]).T, codes).T
    kept = np.eye(design.shape[1]) - held @ bread
    if len(kept) < 2 or not np.linalg.cond(kept).max() < 1e12:
        return np.full(scores.T.shape, np.nan)
    return np.asarray(bread @ np.linalg.solve(kept, scores[:, :, None])[:, :, 0].T, dtype=np.float64)
