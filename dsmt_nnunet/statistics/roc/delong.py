"""The AUC and its covariance after DeLong, in the fast form with mid-ranks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from dsmt_nnunet.statistics.checks import FloatArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.named_warnings import OneCaseInClassWarning, OneClassWarning


@dataclass(frozen=True)
class StructuralComponents:
    """How far each case is on the right side of the other class, for M scores of the same cases.

    With psi(x, y) = 1, 1/2, 0 for x >, =, < y:

    Attributes:
        positive: V10, shape (M, m): of each positive case, its mean psi over the negatives.
        negative: V01, shape (M, n): of each negative case, its mean psi over the positives.
    """

    positive: FloatArray
    negative: FloatArray

    @property
    def auc(self) -> FloatArray:
        """AUC of each score, shape (M,); ties count half. NaN with an `OneClassWarning` where a class is empty."""
        if not self.positive.shape[1] or not self.negative.shape[1]:
            warnings.warn("All cases belong to one class; the AUC is not defined.", OneClassWarning, stacklevel=2)
            return np.full(len(self.positive), np.nan)
        return np.asarray(self.positive.mean(axis=1), dtype=np.float64)

    @property
    def covariance(self) -> FloatArray:
        """Covariance of the M AUCs, shape (M, M): S10 / m + S01 / n (DeLong 1988).

        S10 and S01 are sample covariances (divided by m - 1, n - 1), so a class with a single case gives NaN
        with an `OneCaseInClassWarning`.
        """
        return _scatter(self.positive) + _scatter(self.negative)

    def contrast(self, weights: npt.ArrayLike) -> StructuralComponents:
        """Components of linear combinations of the scores' AUCs; `weights` has shape (K, M)."""
        matrix = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        return StructuralComponents(matrix @ self.positive, matrix @ self.negative)


def structural_components(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> StructuralComponents:
    """DeLong's structural components in O(N log N).

    V10_i = (rank of i among all - rank of i among the positives) / n, and correspondingly for V01, with mid-ranks
    for ties.
    Source: Sun and Xu, IEEE Signal Processing Letters 2014; 21: 1389.

    Args:
        y_true: labels of 0 and 1, shape (N,).
        y_score: scores, shape (N,) or (M, N); higher means positive. The direction is never changed.

    Raises:
        ValueError: labels or scores break the rules of `checks`.
    """
    labels = binary_labels(y_true)
    scores = np.atleast_2d(finite_scores(y_score, len(labels)))
    positives, negatives = scores[:, labels], scores[:, ~labels]
    n_positive, n_negative = positives.shape[1], negatives.shape[1]
    if not n_positive or not n_negative:
        return StructuralComponents(np.full(positives.shape, np.nan), np.full(negatives.shape, np.nan))
    ranks = rankdata(scores, axis=1)
    above_negatives = ranks[:, labels] - rankdata(positives, axis=1)
    above_positives = ranks[:, ~labels] - rankdata(negatives, axis=1)
    return StructuralComponents(above_negatives / n_negative, 1.0 - above_positives / n_positive)


def auc_score(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> float:
    """Area under the empirical ROC curve, ties counting half; NaN with an `OneClassWarning` for one class."""
    return float(structural_components(y_true, y_score).auc[0])


def _scatter(components: FloatArray) -> FloatArray:
    n_scores, n_cases = components.shape
    if n_cases < 2:
        if n_cases == 1:
            message = "A class has a single case; the DeLong variance is not defined."
            warnings.warn(message, OneCaseInClassWarning, stacklevel=3)
        return np.full((n_scores, n_scores), np.nan)
    centred = components - components.mean(axis=1, keepdims=True)
    centred[np.ptp(components, axis=1) == 0] = 0.0
    return np.asarray(centred @ centred.T / (n_cases - 1) / n_cases, dtype=np.float64)
