"""Decision curve analysis: what acting on a probability is worth, against acting on all or on none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import FloatArray, binary_labels, finite_scores

DEFAULT_THRESHOLDS = tuple(round(step / 100, 2) for step in range(1, 100))


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit at each threshold probability.

    Attributes:
        thresholds: threshold probabilities, in 0 to 1 (both excluded), shape (T,).
        model: acting where the probability is at or above the threshold.
        treat_all: acting on every case.
        treat_none: 0.
    """

    thresholds: FloatArray
    model: FloatArray
    treat_all: FloatArray
    treat_none: FloatArray


def decision_curve(
    y_true: npt.ArrayLike, y_prob: npt.ArrayLike, thresholds: npt.ArrayLike = DEFAULT_THRESHOLDS
) -> DecisionCurve:
    """Net benefit TP / n - FP / n * t / (1 - t); NaN without cases.

    Source: Vickers and Elkin, Medical Decision Making 2006; 26: 565.

    Raises:
        ValueError: probabilities outside 0 to 1, or thresholds not strictly between.
    """
    labels = binary_labels(y_true)
    probs = finite_scores(y_prob, len(labels))
    cuts = np.asarray(thresholds, dtype=np.float64)
    if len(probs) and (probs.min() < 0 or probs.max() > 1):
        raise ValueError(f"A decision curve needs probabilities in 0 to 1, got {probs.min():g} to {probs.max():g}.")
    if not ((cuts > 0) & (cuts < 1)).all():
        raise ValueError(f"Threshold probabilities lie strictly between 0 and 1, got {cuts.min():g} to {cuts.max():g}.")
    called = probs[None, :] >= cuts[:, None]
    n_cases = len(labels) or math.nan
    odds = cuts / (1 - cuts)
    model = (called & labels).sum(axis=1) / n_cases - (called & ~labels).sum(axis=1) / n_cases * odds
    treat_all = labels.sum() / n_cases - (~labels).sum() / n_cases * odds
    return DecisionCurve(cuts, model, treat_all, np.zeros_like(cuts))
