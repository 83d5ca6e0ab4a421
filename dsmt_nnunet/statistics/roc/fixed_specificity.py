"""Sensitivity at a specificity that is fixed in advance, where the cut itself comes from the cases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.decisions.threshold import specificity_threshold
from dsmt_nnunet.statistics.resampling import Resampler, tied_counts
from dsmt_nnunet.statistics.t_test import t_quantile

BTII_METHOD = "zhou-qin-btii"


@dataclass(frozen=True)
class FixedSpecificity:
    """Highest sensitivity at a specificity not below the one asked for.

    Attributes:
        target: the specificity asked for.
        threshold: the cut on these cases.
        sensitivity, specificity: what it gives on them.
        ci: BTII interval of the sensitivity, which counts that the cut was chosen on these cases.
        method: of the interval.
    """

    target: float
    threshold: float
    sensitivity: float
    specificity: float
    ci: tuple[float, float]
    method: str = BTII_METHOD


def sensitivity_at_specificity(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    target: float,
    clusters: Clusters = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> FixedSpecificity:
    """Sensitivity at a fixed specificity with Zhou and Qin's second bootstrap interval.

    In each resample the cut is taken anew from the negatives, and R* = (m R + z^2 / 2) / (m + z^2) of the positives
    above it; the interval is mean(R*) +- z sd(R*), cut to 0 to 1. With clusters, patients are resampled and m counts
    those with a positive case. It covers 0.94 to 0.97 in simulations (docs/results/coverage.csv).
    Source: Zhou and Qin, Statistics in Medicine 2005; 24: 465 (BTII).

    Raises:
        ValueError: a class is missing, or `target` is not in 0 to 1.
    """
    labels = binary_labels(y_true)
    scores = finite_scores(y_score, len(labels))
    choice = specificity_threshold(labels, scores, target)
    codes = cluster_codes(clusters, len(labels))
    z = t_quantile(math.inf, level)
    n_positive = len(np.unique(codes[labels]))
    resampler = Resampler.create(labels, [str(code) for code in codes], n_resamples, seed)
    shares = np.concatenate([sensitivity_above(labels, scores, weights, target) for weights in resampler.weights()])
    pulled = (n_positive * shares + z**2 / 2) / (n_positive + z**2)
    half = z * float(pulled.std(ddof=1))
    ci = (max(float(pulled.mean()) - half, 0.0), min(float(pulled.mean()) + half, 1.0))
    return FixedSpecificity(target, choice.threshold, choice.sensitivity, choice.specificity, ci)


def sensitivity_above(labels: BoolArray, scores: FloatArray, weights: IntArray, target: float) -> FloatArray:
    """Share of the positives at or above the lowest cut that reaches the specificity; weights (B, N) -> (B,)."""
    positives, negatives = tied_counts(labels, scores, weights)
    n_rows = len(positives)
    below = np.hstack([np.zeros((n_rows, 1)), np.cumsum(negatives, axis=1)])
    above = np.hstack([np.cumsum(positives[:, ::-1], axis=1)[:, ::-1], np.zeros((n_rows, 1))])
    reached = below >= math.nextafter(target, 0) * below[:, -1:] - 1e-9
    first = reached.argmax(axis=1)
    return np.asarray(above[np.arange(n_rows), first] / positives.sum(axis=1), dtype=np.float64)
