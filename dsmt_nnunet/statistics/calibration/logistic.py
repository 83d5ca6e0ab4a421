"""Calibration slope and intercept by logistic recalibration."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logit
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from dsmt_nnunet.statistics.calibration.clipping import clipped
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.clusters.spread import effective_df
from dsmt_nnunet.statistics.clusters.units import Clusters, are_clustered, cluster_codes
from dsmt_nnunet.statistics.named_warnings import SeparationWarning
from dsmt_nnunet.statistics.sandwich import coefficient_changes
from dsmt_nnunet.statistics.t_test import t_test

_UNDEFINED = (math.nan, math.nan)


@dataclass(frozen=True)
class LogisticCalibration:
    """Logistic recalibration of probabilities p.

    Attributes:
        slope: b of logit P(y) = a + b logit p; 1 is right, below 1 the probabilities are too extreme.
        slope_ci: Wald interval; with clusters t, from the corrected sandwich variance.
        intercept: a of logit P(y) = a + logit p (slope held at 1, calibration in the large); 0 is right.
        intercept_ci: the same of the intercept.
        intercept_with_slope: a of the two-parameter fit.
    """

    slope: float
    slope_ci: tuple[float, float]
    intercept: float
    intercept_ci: tuple[float, float]
    intercept_with_slope: float


def logistic_calibration(
    y_true: npt.ArrayLike, y_prob: npt.ArrayLike, level: float = 0.95, clusters: Clusters = None
) -> LogisticCalibration:
    """Fits slope and intercept (statsmodels GLM, binomial).

    With clusters (patients) the variance is the sandwich with Mancl and DeRouen's correction for clusters that draw the
    fit towards themselves, and the intervals are t with the effective degrees of freedom of what the clusters
    contribute; the estimates stay. The slope's covers 0.93 to 0.97 with 20 patients or more, equal or not
    (docs/results/coverage.csv); of 15 single cases 0.97 to 0.98.

    Both are NaN for one class; the slope is NaN where no finite solution exists (the probability separates the
    classes, or is constant); a `SeparationWarning` says which.
    Source: Van Calster et al., Journal of Clinical Epidemiology 2016; 74: 167; Liang and Zeger, Biometrika 1986;
    73: 13 (sandwich); Mancl and DeRouen, Biometrics 2001; 57: 126, equation 4 (correction).
    """
    labels = binary_labels(y_true)
    log_odds = logit(clipped(finite_scores(y_prob, len(labels))))
    if labels.all() or not labels.any():
        warnings.warn("One class only; there is no logistic recalibration.", SeparationWarning, stacklevel=2)
        return LogisticCalibration(math.nan, _UNDEFINED, math.nan, _UNDEFINED, math.nan)
    codes = cluster_codes(clusters, len(labels)) if are_clustered(clusters, len(labels)) else None
    large = _fitted(labels, np.ones((len(labels), 1)), log_odds, codes, level)
    if is_separated(labels, log_odds):
        warnings.warn(
            "The probabilities separate the classes or are constant; the calibration slope has no finite value.",
            SeparationWarning,
            stacklevel=2,
        )
        return LogisticCalibration(math.nan, _UNDEFINED, *large[0], math.nan)
    design = np.column_stack([np.ones(len(labels)), log_odds])
    intercept, slope = _fitted(labels, design, np.zeros(len(labels)), codes, level)
    return LogisticCalibration(*slope, *large[0], intercept[0])


_Coefficient = tuple[float, tuple[float, float]]


def _fitted(
    labels: BoolArray, design: FloatArray, offset: FloatArray, codes: IntArray | None, level: float
) -> list[_Coefficient]:
    """Each coefficient of a logistic regression (design (N, P)) with its interval."""
    fit = GLM(labels.astype(float), design, Binomial(), offset=offset).fit()
    if codes is None:
        return [(float(value), _limits(ci)) for value, ci in zip(fit.params, fit.conf_int(1 - level), strict=True)]
    changes = coefficient_changes(labels, design, fit.fittedvalues, codes)
    found = []
    for value, change in zip(fit.params, changes, strict=True):
        se = math.sqrt(float(change @ change))
        found.append((float(value), t_test(float(value), se, effective_df(change), level).ci))
    return found


def is_separated(labels: BoolArray, scores: FloatArray) -> bool:
    """Whether one cut divides the classes, the cut itself shared at most: a logistic slope is then infinite."""
    positives, negatives = scores[labels], scores[~labels]
    return bool(negatives.max() <= positives.min() or positives.max() <= negatives.min())


def _limits(interval: FloatArray) -> tuple[float, float]:
    return float(interval[0]), float(interval[1])
