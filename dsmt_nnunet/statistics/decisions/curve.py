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
        prevalence: share of positives that it is of: that of the cases, unless another was stated.
    """

    thresholds: FloatArray
    model: FloatArray
    treat_all: FloatArray
    treat_none: FloatArray
    prevalence: float


def decision_curve(
    y_true: npt.ArrayLike,
    y_prob: npt.ArrayLike,
    thresholds: npt.ArrayLike = DEFAULT_THRESHOLDS,
    prevalence: float | None = None,
) -> DecisionCurve:
    """Net benefit p sensitivity - (1 - p) (1 - specificity) t / (1 - t), which is TP / n - FP / n t / (1 - t) at the
    prevalence p of the cases; NaN without cases, and at a stated prevalence for one class.

    A sample whose share of positives was chosen (case-control) needs the prevalence of where the model is to be used.
    Source: Vickers and Elkin, Medical Decision Making 2006; 26: 565.

    Args:
        y_true: labels of 0 and 1, shape (N,).
        y_prob: probabilities of the positive class, shape (N,).
        thresholds: threshold probabilities, shape (T,).
        prevalence: stated; None for that of the cases.

    Raises:
        ValueError: probabilities outside 0 to 1, thresholds or prevalence not strictly between.
    """
    labels = binary_labels(y_true)
    probs = finite_scores(y_prob, len(labels))
    cuts = np.asarray(thresholds, dtype=np.float64)
    if len(probs) and (probs.min() < 0 or probs.max() > 1):
        raise ValueError(f"A decision curve needs probabilities in 0 to 1, got {probs.min():g} to {probs.max():g}.")
    if not ((cuts > 0) & (cuts < 1)).all():
        raise ValueError(f"Threshold probabilities lie strictly between 0 and 1, got {cuts.min():g} to {cuts.max():g}.")
    if prevalence is not None and not 0 < prevalence < 1:
        raise ValueError(f"A prevalence lies strictly between 0 and 1, got {prevalence:g}.")
    called = probs[None, :] >= cuts[:, None]
    odds, share = cuts / (1 - cuts), float(labels.mean()) if len(labels) else math.nan
    used = share if prevalence is None else prevalence
    with np.errstate(invalid="ignore", divide="ignore"):
        # Weights of a positive and of a negative case; at the cases' own prevalence both are 1.
        weights = (used / share if share else 0.0, (1 - used) / (1 - share) if share < 1 else 0.0)
    if prevalence is not None and share in (0.0, 1.0):
        weights = (math.nan, math.nan)
    n_cases = len(labels) or math.nan
    true_share = weights[0] * (called & labels).sum(axis=1) / n_cases
    model = true_share - weights[1] * (called & ~labels).sum(axis=1) / n_cases * odds
    return DecisionCurve(cuts, model, used - (1 - used) * odds, np.zeros_like(cuts), used)
