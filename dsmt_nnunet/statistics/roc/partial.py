"""Area under the part of the ROC curve where the specificity is high."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.clusters.jackknife import jackknife_estimate
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.resampled_t import Fold, corrected_resampled_t, values_of_folds
from dsmt_nnunet.statistics.resampling import tied_counts
from dsmt_nnunet.statistics.roc.interval import UNDEFINED_METHOD
from dsmt_nnunet.statistics.t_test import bounded_interval

JACKKNIFE_METHOD = "jackknife-logit"
WITHIN_FOLDS_METHOD = "corrected-resampled-t-logit"
_NAN = math.nan


@dataclass(frozen=True)
class PartialAuc:
    """Area over the specificities from `min_specificity` to 1; NaN for one class.

    Attributes:
        min_specificity: lower end.
        area: between 0 and 1 - min_specificity.
        mean_sensitivity: area / (1 - min_specificity), with its interval on the logit scale.
        standardised: McClish's: 0.5 at chance and 1 at best, with the interval carried over.
        se: of mean_sensitivity.
        method: of the interval.
    """

    min_specificity: float
    area: float
    mean_sensitivity: float
    mean_sensitivity_ci: tuple[float, float]
    standardised: float
    standardised_ci: tuple[float, float]
    se: float
    method: str


def partial_auc(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    min_specificity: float,
    clusters: Clusters = None,
    level: float = 0.95,
) -> PartialAuc:
    """Partial AUC with an interval from leaving out one patient at a time.

    Source: McClish, Medical Decision Making 1989; 9: 190 (standardised form); Robin et al., BMC Bioinformatics 2011;
    12: 77 (pROC, straight lines between the points); Efron 1993 (jackknife).

    Args:
        y_true: labels of 0 and 1, shape (N,).
        y_score: higher means positive, shape (N,).
        min_specificity: lower end of the specificities, 0 to below 1.
        clusters: patient of each case.
        level: confidence level.

    Raises:
        ValueError: the specificity does not lie in 0 to 1 (1 excluded).
    """
    labels = binary_labels(y_true)
    scores = finite_scores(y_score, len(labels))
    _check(min_specificity)
    if labels.all() or not labels.any():
        return _of_mean(min_specificity, _NAN, _NAN, (_NAN, _NAN), UNDEFINED_METHOD)
    codes = cluster_codes(clusters, len(labels))
    found = jackknife_estimate(
        lambda weights: mean_sensitivities(labels, scores, weights, min_specificity), codes, level, "logit"
    )
    method = UNDEFINED_METHOD if math.isnan(found.ci[0]) else JACKKNIFE_METHOD
    return _of_mean(min_specificity, found.estimate, found.se, found.ci, method)


def partial_fold_auc(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    folds: npt.ArrayLike,
    min_specificity: float,
    level: float = 0.95,
) -> PartialAuc:
    """Mean over the folds that hold both classes, with the corrected resampled t on the logit scale."""
    labels = binary_labels(y_true)
    scores = finite_scores(y_score, len(labels))
    _check(min_specificity)

    def mean_sensitivity(fold: Fold) -> list[float]:
        once = np.ones((1, int(fold.inside.sum())), dtype=np.int64)
        return [float(mean_sensitivities(labels[fold.inside], scores[fold.inside], once, min_specificity)[0])]

    values = values_of_folds(mean_sensitivity, folds)
    if not values.values.shape[1]:
        return _of_mean(min_specificity, _NAN, _NAN, (_NAN, _NAN), UNDEFINED_METHOD)
    found = corrected_resampled_t(values.values[0], values.test_to_train, level)
    limits = bounded_interval(found.mean, found.se, found.df, level)
    method = UNDEFINED_METHOD if math.isnan(limits[0]) else WITHIN_FOLDS_METHOD
    return _of_mean(min_specificity, found.mean, found.se, limits, method)


def mean_sensitivities(labels: BoolArray, scores: FloatArray, weights: IntArray, min_specificity: float) -> FloatArray:
    """Mean sensitivity over the specificities from `min_specificity` to 1, weights (B, N) -> (B,).

    The area under straight lines between the points of the curve, over the width.
    """
    width = 1 - min_specificity
    positives, negatives = (counts[:, ::-1] for counts in tied_counts(labels, scores, weights))
    with np.errstate(invalid="ignore", divide="ignore"):
        rises = positives / positives.sum(axis=1, keepdims=True)
        steps = negatives / negatives.sum(axis=1, keepdims=True)
        before, start = np.cumsum(rises, axis=1) - rises, np.cumsum(steps, axis=1) - steps
        inside = np.clip(width - start, 0.0, steps)
        share = np.divide(inside, steps, out=np.zeros_like(steps), where=steps > 0)
        area = (inside * (before + 0.5 * share * rises)).sum(axis=1)
    area[(positives.sum(axis=1) == 0) | (negatives.sum(axis=1) == 0)] = np.nan
    return np.asarray(area / width, dtype=np.float64)


def _of_mean(min_specificity: float, mean: float, se: float, limits: tuple[float, float], method: str) -> PartialAuc:
    width = 1 - min_specificity

    def standardised(value: float) -> float:
        by_chance = width / 2
        return (1 + (value - by_chance) / (1 - by_chance)) / 2

    carried = (standardised(limits[0]), standardised(limits[1]))
    return PartialAuc(min_specificity, mean * width, mean, limits, standardised(mean), carried, se, method)


def _check(min_specificity: float) -> None:
    if not 0 <= min_specificity < 1:
        raise ValueError(f"The lowest specificity lies in 0 to 1 (1 excluded), got {min_specificity:g}.")
