"""Confidence intervals of an AUC."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy.typing as npt
from scipy.optimize import brentq

from dsmt_nnunet.statistics.named_warnings import ZeroVarianceWarning
from dsmt_nnunet.statistics.roc.delong import structural_components
from dsmt_nnunet.statistics.t_test import logit_limits, t_quantile

NEWCOMBE_METHOD = "newcombe-method-5"
UNDEFINED_METHOD = "undefined"


@dataclass(frozen=True)
class AucInterval:
    """An AUC with its interval.

    Attributes:
        auc: area under the empirical ROC curve; NaN for one class.
        se: DeLong standard error; NaN where it is not defined.
        lower: lower limit.
        upper: upper limit.
        method: how the limits were made: "delong-logit-t" or "obuchowski-logit-t" (`roc/clustered.py`, those that are
            reported), "delong-wald-clipped", "delong-logit", "newcombe-method-5" (where the variance is 0) or
            "undefined".
    """

    auc: float
    se: float
    lower: float
    upper: float
    method: str


def delong_interval(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    level: float = 0.95,
    scale: Literal["clipped", "logit"] = "logit",
) -> AucInterval:
    """AUC with its DeLong interval from the normal distribution, as pROC and R have it.

    Reported is that of t (`roc/by_patient.py`): with 20 positive of 220 cases this one holds 0.89 to 0.92.

    Args:
        y_true: labels of 0 and 1, shape (N,).
        y_score: scores, shape (N,); higher means positive.
        level: confidence level.
        scale: "logit": logit AUC +- z SE / (AUC (1 - AUC)), which stays within 0 to 1; "clipped":
            AUC +- z SE, cut to 0 to 1 (as pROC does).

    Returns:
        The interval. A DeLong variance of 0 (perfect separation either way, or a constant score) says nothing about
        the uncertainty: then the limits are Newcombe's method 5, named in `method`, with a `ZeroVarianceWarning`.
    """
    components = structural_components(y_true, y_score)
    auc = float(components.auc[0])
    if math.isnan(auc):
        return AucInterval(auc, math.nan, math.nan, math.nan, UNDEFINED_METHOD)
    se = math.sqrt(components.covariance[0, 0])
    if math.isnan(se):
        return AucInterval(auc, math.nan, math.nan, math.nan, UNDEFINED_METHOD)
    if se == 0:
        warnings.warn(
            f"AUC {auc:g} with a DeLong variance of 0 (perfect separation or a constant score): "
            f"the interval is Newcombe's method 5.",
            ZeroVarianceWarning,
            stacklevel=2,
        )
        limits = newcombe_limits(auc, components.positive.shape[1], components.negative.shape[1], level)
        return AucInterval(auc, se, *limits, NEWCOMBE_METHOD)
    z = t_quantile(math.inf, level)
    if scale == "logit":
        return AucInterval(auc, se, *logit_limits(auc, se, z), "delong-logit")
    return AucInterval(auc, se, max(auc - z * se, 0.0), min(auc + z * se, 1.0), "delong-wald-clipped")


def newcombe_limits(auc: float, n_positive: int, n_negative: int, level: float = 0.95) -> tuple[float, float]:
    """Score-type limits that keep their width at AUC 0 and 1.

    They solve |AUC - theta| = z sqrt(V(theta)) with
    V(theta) = theta (1 - theta) [1 + (N - 1) (1 - theta) / (2 - theta) + (N - 1) theta / (1 + theta)] / (m n),
    N = (m + n) / 2.
    Source: Newcombe, Statistics in Medicine 2006; 25: 559, method 5.
    """
    z = t_quantile(math.inf, level)
    size = (n_positive + n_negative) / 2 - 1

    def excess(theta: float) -> float:
        spread = 1 + size * (1 - theta) / (2 - theta) + size * theta / (1 + theta)
        return abs(auc - theta) - z * math.sqrt(theta * (1 - theta) * spread / (n_positive * n_negative))

    step = 1e-9
    lower = 0.0 if auc <= step else float(brentq(excess, 0.0, auc - step, xtol=1e-12))
    upper = 1.0 if auc >= 1 - step else float(brentq(excess, auc + step, 1.0, xtol=1e-12))
    return lower, upper
