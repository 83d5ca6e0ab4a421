"""Calibration slope and intercept by logistic recalibration."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import statsmodels.api as sm
from scipy.special import logit

from dsmt_nnunet.statistics.calibration.clipping import clipped
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.named_warnings import SeparationWarning

_UNDEFINED = (math.nan, math.nan)


@dataclass(frozen=True)
class LogisticCalibration:
    """Logistic recalibration of probabilities p.

    Attributes:
        slope: b of logit P(y) = a + b logit p; 1 is right, below 1 the probabilities are too extreme.
        slope_ci: Wald interval; with clusters t, from the sandwich variance.
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

    With clusters (patients) the variance is the cluster-robust sandwich and the intervals are t with K - 1 degrees of
    freedom; the estimates stay. The slope's covers 0.95 to 0.96, 0.93 with 40 patients of six nodules
    (docs/results/coverage.csv).

    Both are NaN for one class; the slope is NaN where no finite solution exists (the probability separates the
    classes, or is constant); a `SeparationWarning` says which.
    Source: Van Calster et al., Journal of Clinical Epidemiology 2016; 74: 167; Liang and Zeger, Biometrika 1986;
    73: 13 (sandwich).
    """
    labels = binary_labels(y_true)
    log_odds = logit(clipped(finite_scores(y_prob, len(labels))))
    if labels.all() or not labels.any():
        warnings.warn("One class only; there is no logistic recalibration.", SeparationWarning, stacklevel=2)
        return LogisticCalibration(math.nan, _UNDEFINED, math.nan, _UNDEFINED, math.nan)
    covariance = _covariance(clusters, len(labels))
    large = sm.GLM(labels.astype(float), np.ones((len(labels), 1)), sm.families.Binomial(), offset=log_odds)
    large = large.fit(**covariance)
    intercept, intercept_ci = float(large.params[0]), _limits(large.conf_int(1 - level)[0])
    if is_separated(labels, log_odds):
        warnings.warn(
            "The probabilities separate the classes or are constant; the calibration slope has no finite value.",
            SeparationWarning,
            stacklevel=2,
        )
        return LogisticCalibration(math.nan, _UNDEFINED, intercept, intercept_ci, math.nan)
    both = sm.GLM(labels.astype(float), sm.add_constant(log_odds), sm.families.Binomial()).fit(**covariance)
    return LogisticCalibration(
        float(both.params[1]), _limits(both.conf_int(1 - level)[1]), intercept, intercept_ci, float(both.params[0])
    )


def _covariance(clusters: Clusters, n_cases: int) -> dict[str, object]:
    """Arguments of statsmodels' fit."""
    codes = cluster_codes(clusters, n_cases)
    if clusters is None or codes.max() + 1 == n_cases or codes.max() == 0:
        return {}
    return {"cov_type": "cluster", "cov_kwds": {"groups": codes}, "use_t": True}


def is_separated(labels: BoolArray, scores: FloatArray) -> bool:
    """Whether one cut divides the classes, the cut itself shared at most: a logistic slope is then infinite."""
    positives, negatives = scores[labels], scores[~labels]
    return bool(negatives.max() <= positives.min() or positives.max() <= negatives.min())


def _limits(interval: FloatArray) -> tuple[float, float]:
    return float(interval[0]), float(interval[1])
