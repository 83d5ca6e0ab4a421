"""Sensitivity, specificity and their kin of a set of binary decisions, each with an interval."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray, binary_labels
from dsmt_nnunet.statistics.clusters.ratio import clustered_proportion
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.named_warnings import NoPositiveDecisionWarning
from dsmt_nnunet.statistics.proportions import IntervalMethod, Proportion

METRIC_NAMES = ("sensitivity", "specificity", "ppv", "npv", "f1", "accuracy")


@dataclass(frozen=True)
class DecisionMetrics:
    """Counts of decisions and what follows from them.

    Attributes:
        tp, fp, tn, fn: counts.
        sensitivity, specificity, ppv, npv, accuracy: proportions; NaN without a denominator.
        f1: 2 TP / (2 TP + FP + FN), interval as in `f1_of_overlap`; NaN where nothing is positive.
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
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    method: IntervalMethod = "wilson",
    level: float = 0.95,
    clusters: Clusters = None,
) -> DecisionMetrics:
    """Metrics of decisions (0/1, shape (N,)) against labels of 0 and 1.

    A predictive value without a case called that way is NaN, not 0, with a `NoPositiveDecisionWarning`. With clusters
    (patients) every interval is that of `clustered_proportion` among the cases of its denominator.
    """
    labels, decisions = binary_labels(y_true), binary_labels(y_pred)
    codes = cluster_codes(clusters, len(labels))
    right, everyone = labels == decisions, np.ones(len(labels), dtype=bool)
    for name, called in (("positive", decisions), ("negative", ~decisions)):
        if not called.any():
            warnings.warn(
                f"No case was called {name}; the {name} predictive value is not defined.",
                NoPositiveDecisionWarning,
                stacklevel=2,
            )

    def share(hits: BoolArray, among: BoolArray) -> Proportion:
        return clustered_proportion(hits[among], codes[among], level, method)

    return DecisionMetrics(
        int((labels & decisions).sum()),
        int((~labels & decisions).sum()),
        int((~labels & ~decisions).sum()),
        int((labels & ~decisions).sum()),
        sensitivity=share(decisions, labels),
        specificity=share(~decisions, ~labels),
        ppv=share(labels, decisions),
        npv=share(~labels, ~decisions),
        f1=f1_of_overlap(share(labels & decisions, labels | decisions)),
        accuracy=share(right, everyone),
    )


def f1_of_overlap(overlap: Proportion) -> Proportion:
    """F1 with an interval, from J = TP / (TP + FP + FN).

    F1 is no binomial proportion, but J is one given its denominator, and F1 = 2 J / (1 + J) rises with it: the limits
    of J are carried over.
    Source: Lam, Gopal and Qian, arXiv 2309.14621 (2023), the indirect intervals.
    """
    if math.isnan(overlap.value):
        return overlap
    lower, upper = (2 * limit / (1 + limit) for limit in overlap.ci)
    total = overlap.total + overlap.count
    return Proportion(2 * overlap.count, total, 2 * overlap.value / (1 + overlap.value), (lower, upper))


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
