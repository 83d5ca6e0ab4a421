"""Variance from what clusters contribute to a figure, right also where one holds far more cases than another."""

from __future__ import annotations

import numpy as np

from dsmt_nnunet.statistics.checks import FloatArray


def left_out(contributions: FloatArray, shares: FloatArray) -> FloatArray:
    """By how much a mean changes when each cluster is left out: contributions / (1 - share).

    A cluster draws the mean towards itself, and so looks nearer to it than it is. (K - 1) / K times the sum of the
    squares is the jackknife's variance, that of K / (K - 1) times the plain squares where all clusters are of a size.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, equation 11.5; Bell and McCaffrey, Survey
    Methodology 2002; 28: 169.

    Args:
        contributions: of each cluster to the mean, shape (..., K).
        shares: of the cases, shape (K,).

    Returns:
        Shape (..., K); NaN for a cluster that holds all.
    """
    return np.asarray(contributions / np.where(shares < 1, 1 - shares, np.nan), dtype=np.float64)


def effective_df(contributions: FloatArray) -> float:
    """Degrees of freedom of a variance that is the sum of K squares: 3 (sum u^2)^2 / sum u^4, in 1 to K - 1.

    Satterthwaite's 2 V^2 / var V, with var u^2 = 2 / 3 E u^4, as of a normal u, estimated by each square itself. It is
    K - 1 for many alike, and less where a few of them, or rare large ones, make up the variance.
    Source: Satterthwaite, Biometrics Bulletin 1946; 2: 110.

    Args:
        contributions: shape (K,).
    """
    fourth = float((contributions**4).sum())
    most = max(len(contributions) - 1.0, 1.0)
    if not fourth > 0:
        return most
    return float(min(max(3 * float((contributions**2).sum()) ** 2 / fourth, 1.0), most))
