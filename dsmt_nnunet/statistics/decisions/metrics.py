"""Sensitivity, specificity and their kin of a set of binary decisions, each with an interval."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import FloatArray, IntArray, binary_labels
from dsmt_nnunet.statistics.named_warnings import NoPositiveDecisionWarning
from dsmt_nnunet.statistics.proportions import IntervalMethod, Proportion, proportion

METRIC_NAMES = ("sensitivity", "specificity", "ppv", "npv", "f1", "accuracy")


@dataclass(frozen=True)
class DecisionMetrics:
    """Counts of decisions and what follows from them.

    Attributes:
        tp, fp, tn, fn: counts.
        sensitivity, specificity, ppv, npv, accuracy: proportions; NaN without a denominator.
        f1: 2 TP / (2 TP + FP + FN), interval as in `f1_proportion`; NaN where nothing is positive.
    """

    tp: int
    fp: int
    tn: int
    fn: int
    sensitivity: Proportion
    specificity: Proportion
    ppv: Proportion
    npv: Proportion
    f1: Proportion
    accuracy: Proportion


def decision_metrics(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, method: IntervalMethod = "wilson", level: float = 0.95
) -> DecisionMetrics:
    """Metrics of decisions (0/1, shape (N,)) against labels of 0 and 1.

    A predictive value without a case called that way is NaN, not 0, with a `NoPositiveDecisionWarning`.
    """
    labels, decisions = binary_labels(y_true), binary_labels(y_pred)
    tp, fp = int((labels & decisions).sum()), int((~labels & decisions).sum())
    tn, fn = int((~labels & ~decisions).sum()), int((labels & ~decisions).sum())
    for name, count in (("positive", tp + fp), ("negative", tn + fn)):
        if count == 0:
            warnings.warn(
                f"No case was called {name}; the {name} predictive value is not defined.",
                NoPositiveDecisionWarning,
                stacklevel=2,
            )
    return DecisionMetrics(
        tp,
        fp,
        tn,
        fn,
        sensitivity=proportion(tp, tp + fn, method, level),
        specificity=proportion(tn, tn + fp, method, level),
        ppv=proportion(tp, tp + fp, method, level),
        npv=proportion(tn, tn + fn, method, level),
        f1=f1_proportion(tp, fp, fn, method, level),
        accuracy=proportion(tp + tn, len(labels), method, level),
    )


def f1_proportion(tp: int, fp: int, fn: int, method: IntervalMethod = "wilson", level: float = 0.95) -> Proportion:
    """F1 with an interval.

    F1 is no binomial proportion, but J = TP / (TP + FP + FN) is one given its denominator, and F1 = 2 J / (1 + J)
    rises with it: the limits of J are carried over.
    Source: Lam, Gopal and Qian, arXiv 2309.14621 (2023), the indirect intervals.
    """
    overlap = proportion(tp, tp + fp + fn, method, level)
    if math.isnan(overlap.value):
        return overlap
    lower, upper = (2 * limit / (1 + limit) for limit in overlap.ci)
    return Proportion(2 * tp, 2 * tp + fp + fn, 2 * overlap.value / (1 + overlap.value), (lower, upper))


def weighted_decision_metrics(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, weights: IntArray) -> dict[str, FloatArray]:
    """The metrics of `METRIC_NAMES` for cases counted several times; weights (B, N) -> arrays of shape (B,)."""
    labels, decisions = np.asarray(y_true).astype(bool), np.asarray(y_pred).astype(bool)
    tp, fp = weights[:, labels & decisions].sum(axis=1), weights[:, ~labels & decisions].sum(axis=1)
    tn, fn = weights[:, ~labels & ~decisions].sum(axis=1), weights[:, labels & ~decisions].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "ppv": tp / (tp + fp),
            "npv": tn / (tn + fn),
            "f1": 2 * tp / (2 * tp + fp + fn),
            "accuracy": (tp + tn) / (tp + fp + tn + fn),
        }
