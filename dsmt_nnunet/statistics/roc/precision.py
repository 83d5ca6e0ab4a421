"""Average precision: the area under the curve of precision over recall."""

from __future__ import annotations

import numpy as np

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.resampling import tied_counts


def average_precision(labels: BoolArray, scores: FloatArray, weights: IntArray) -> FloatArray:
    """Step-wise sum of the precision over the rises of recall, no interpolation, as scikit-learn's.

    NaN without a positive or without a negative case.

    Args:
        labels: shape (N,).
        scores: higher means positive, shape (N,).
        weights: how often each case counts, shape (B, N).

    Returns:
        Shape (B,).
    """
    positives, negatives = (counts[:, ::-1] for counts in tied_counts(labels, scores, weights))
    found, called = np.cumsum(positives, axis=1), np.cumsum(positives + negatives, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = (positives * (found / np.maximum(called, 1))).sum(axis=1) / positives.sum(axis=1)
    return np.where(negatives.sum(axis=1) > 0, sums, np.nan)
