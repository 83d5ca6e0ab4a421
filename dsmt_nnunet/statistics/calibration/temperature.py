"""Fitting a temperature to out-of-fold probabilities, shrunk towards 1 where cases are few."""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from dsmt_nnunet.statistics.calibration.clipping import LOWEST_PROBABILITY, clipped
from dsmt_nnunet.statistics.calibration.scaling import DEFAULT_TEMPERATURE, apply_temperature
from dsmt_nnunet.statistics.checks import SMALL_SAMPLE, FloatArray, IntArray, finite_scores
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.named_warnings import CalibrationWarning

TEMPERATURE_RANGE = (0.05, 20.0)
SHRINKAGE = tuple(step / 10 for step in range(11))
"""Shares of log T that are tried, 0 for T = 1."""
_FOLDS, _REPEATS = 5, 4


def negative_log_likelihood(y_true: npt.ArrayLike, probs: npt.ArrayLike) -> float:
    """Mean of -log of the probability given to the true class; probs (N, K), labels class indices (N,)."""
    table = np.asarray(probs, dtype=np.float64)
    chosen = table[np.arange(len(table)), np.asarray(y_true, dtype=np.int64)]
    return float(-np.log(np.clip(chosen, LOWEST_PROBABILITY, None)).mean())


def fit_temperature(y_true: npt.ArrayLike, probs: npt.ArrayLike, clusters: Clusters = None) -> float:
    """The temperature T^s: T makes the likelihood of softmax(log p / T) largest, s in 0 to 1 shrinks it towards 1.

    s is the share of `SHRINKAGE` whose temperatures, fitted to four fifths of the patients, give the others the largest
    likelihood (four divisions into five); of equal ones the smallest. With 70 cases the error of log T falls from 0.27
    to 0.18 where T is 1, and grows to 0.32 where it is 2; with 300 it is 0.07 and 0.13 instead of 0.12 (60 draws each).
    Fewer than ten cases or a single class leave T at 1; a T at the edge of `TEMPERATURE_RANGE` (the classes are
    separated, or the probabilities say nothing) is kept there; each with a `CalibrationWarning`.
    Source: Guo et al., ICML 2017, section 4; Copas, JRSS B 1983; 45: 311 (shrinkage by cross-validation).

    Args:
        y_true: class indices, shape (N,).
        probs: uncalibrated probabilities, shape (N, K).
        clusters: patient of each case, whom a division does not part.
    """
    labels = np.asarray(y_true, dtype=np.int64)
    table = clipped(finite_scores(np.asarray(probs, dtype=np.float64).T, len(labels)).T)
    if len(labels) < SMALL_SAMPLE or len(np.unique(labels)) < 2:
        warnings.warn(
            f"{len(labels)} cases of {len(np.unique(labels))} classes do not allow a temperature; it stays 1.",
            CalibrationWarning,
            stacklevel=2,
        )
        return DEFAULT_TEMPERATURE
    best = _log_temperature(labels, table)
    low, high = (math.log(edge) for edge in TEMPERATURE_RANGE)
    if min(best - low, high - best) < 1e-3:
        warnings.warn(
            f"The temperature {math.exp(best):.3g} lies at the edge of the range {TEMPERATURE_RANGE}: the classes are "
            f"separated, or the probabilities say nothing.",
            CalibrationWarning,
            stacklevel=2,
        )
        return math.exp(best)
    return math.exp(_share(labels, table, cluster_codes(clusters, len(labels))) * best)


def _log_temperature(labels: IntArray, table: FloatArray) -> float:
    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(labels, apply_temperature(table, math.exp(log_temperature)))

    low, high = (math.log(edge) for edge in TEMPERATURE_RANGE)
    return float(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x)


def _share(labels: IntArray, table: FloatArray, codes: IntArray) -> float:
    """Share of log T that serves patients best on whom T was not fitted."""
    n_patients = int(codes.max()) + 1
    losses = np.zeros(len(SHRINKAGE))
    for repeat in range(_REPEATS):
        part = np.random.default_rng(repeat).permutation(n_patients)[codes] % _FOLDS
        for fold in range(_FOLDS):
            inside = part == fold
            if not inside.any() or len(np.unique(labels[~inside])) < 2:
                continue
            log_t = _log_temperature(labels[~inside], table[~inside])
            losses += [
                inside.sum()
                * negative_log_likelihood(labels[inside], apply_temperature(table[inside], math.exp(share * log_t)))
                for share in SHRINKAGE
            ]
    return SHRINKAGE[int(np.flatnonzero(losses <= losses.min() + 1e-12)[0])]
