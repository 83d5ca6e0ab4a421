"""Fitting a temperature to out-of-fold probabilities."""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from dsmt_nnunet.statistics.calibration.scaling import DEFAULT_TEMPERATURE, apply_temperature
from dsmt_nnunet.statistics.checks import SMALL_SAMPLE, finite_scores
from dsmt_nnunet.statistics.named_warnings import CalibrationWarning

TEMPERATURE_RANGE = (0.05, 20.0)
_SMALLEST_PROBABILITY = 1e-12


def negative_log_likelihood(y_true: npt.ArrayLike, probs: npt.ArrayLike) -> float:
    """Mean of -log of the probability given to the true class; probs (N, K), labels class indices (N,)."""
    table = np.asarray(probs, dtype=np.float64)
    chosen = table[np.arange(len(table)), np.asarray(y_true, dtype=np.int64)]
    return float(-np.log(np.clip(chosen, _SMALLEST_PROBABILITY, None)).mean())


def fit_temperature(y_true: npt.ArrayLike, probs: npt.ArrayLike) -> float:
    """The temperature T that makes the likelihood of softmax(log p / T) largest.

    Fewer than ten cases or a single class leave T at 1; a T at the edge of `TEMPERATURE_RANGE` (the classes are
    separated, or the probabilities say nothing) is kept there; each with a `CalibrationWarning`.
    Source: Guo et al., ICML 2017, section 4.

    Args:
        y_true: class indices, shape (N,).
        probs: uncalibrated probabilities, shape (N, K).
    """
    labels = np.asarray(y_true, dtype=np.int64)
    table = finite_scores(np.asarray(probs, dtype=np.float64).T, len(labels)).T
    if len(labels) < SMALL_SAMPLE or len(np.unique(labels)) < 2:
        warnings.warn(
            f"{len(labels)} cases of {len(np.unique(labels))} classes do not allow a temperature; it stays 1.",
            CalibrationWarning,
            stacklevel=2,
        )
        return DEFAULT_TEMPERATURE

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(labels, apply_temperature(table, math.exp(log_temperature)))

    low, high = (math.log(edge) for edge in TEMPERATURE_RANGE)
    best = float(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x)
    if min(best - low, high - best) < 1e-3:
        warnings.warn(
            f"The temperature {math.exp(best):.3g} lies at the edge of the range {TEMPERATURE_RANGE}: the classes are "
            f"separated, or the probabilities say nothing.",
            CalibrationWarning,
            stacklevel=2,
        )
    return math.exp(best)
