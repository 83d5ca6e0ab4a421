"""The empirical ROC curve with a pointwise confidence band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_curve as sklearn_roc_curve

from dsmt_nnunet.statistics.checks import FloatArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.resampling import Resampler, tied_counts

_GRID_POINTS = 101
_MAX_BAND_RESAMPLES = 1000


@dataclass(frozen=True)
class RocCurve:
    """Every point of the curve (none dropped), thresholds falling; the first threshold is infinite (none positive)."""

    fpr: FloatArray
    tpr: FloatArray
    thresholds: FloatArray


@dataclass(frozen=True)
class RocBand:
    """Pointwise bootstrap band of the true positive rate at fixed false positive rates."""

    fpr: FloatArray
    lower: FloatArray
    upper: FloatArray


def roc_curve(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> RocCurve:
    """The empirical curve (scikit-learn, with `drop_intermediate=False`); empty for one class."""
    labels = binary_labels(y_true)
    scores = finite_scores(y_score, len(labels))
    if labels.all() or not labels.any():
        return RocCurve(np.empty(0), np.empty(0), np.empty(0))
    return RocCurve(*sklearn_roc_curve(labels, scores, drop_intermediate=False))


def roc_band(y_true: npt.ArrayLike, y_score: npt.ArrayLike, resampler: Resampler, level: float = 0.95) -> RocBand:
    """Percentiles of the resampled curves at 101 false positive rates, straight lines between points."""
    labels = binary_labels(y_true)
    scores = finite_scores(y_score, len(labels))
    grid = np.linspace(0, 1, _GRID_POINTS)
    curves: list[FloatArray] = []
    for weights in resampler.weights():
        positives, negatives = (counts[:, ::-1] for counts in tied_counts(labels, scores, weights))
        tpr = np.cumsum(positives, axis=1) / positives.sum(axis=1, keepdims=True)
        fpr = np.cumsum(negatives, axis=1) / negatives.sum(axis=1, keepdims=True)
        rows = min(len(weights), _MAX_BAND_RESAMPLES - len(curves))
        curves += [np.interp(grid, np.r_[0.0, fpr[row]], np.r_[0.0, tpr[row]]) for row in range(rows)]
        if len(curves) >= _MAX_BAND_RESAMPLES:
            break
    lower, upper = np.quantile(np.stack(curves), [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return RocBand(grid, lower, upper)
