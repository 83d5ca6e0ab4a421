"""Predictive values and net benefit at a stated prevalence, from samples whose own prevalence was chosen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray, binary_labels
from dsmt_nnunet.statistics.clusters.spread import effective_df, left_out
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes, cluster_sums
from dsmt_nnunet.statistics.t_test import t_quantile


@dataclass(frozen=True)
class AtPrevalence:
    """What decisions are worth where `prevalence` of the cases are positive.

    Attributes:
        prevalence: the one stated.
        ppv, npv: predictive values; NaN without a denominator.
        ppv_ci, npv_ci: intervals on the logit scale.
        net_benefit: prevalence * sensitivity - (1 - prevalence) * (1 - specificity) * t / (1 - t) at the threshold
            probability t.
        net_benefit_ci: normal or t interval.
        net_benefit_all: of acting on every case.
    """

    prevalence: float
    ppv: float
    ppv_ci: tuple[float, float]
    npv: float
    npv_ci: tuple[float, float]
    net_benefit: float
    net_benefit_ci: tuple[float, float]
    net_benefit_all: float


def at_prevalence(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    prevalence: float,
    threshold_probability: float = 0.5,
    clusters: Clusters = None,
    level: float = 0.95,
) -> AtPrevalence:
    """Carries sensitivity and specificity of the sample over to a prevalence.

    logit PPV = log(sensitivity / (1 - specificity)) + logit prevalence, and likewise the NPV, with delta-method
    variances; half a case is added to each cell for the intervals, so that none is empty (z^2 / 2 cases, as Mercaldo
    adds, pull too far: at a sensitivity of 0.95 with 30 + 30 cases the interval then covers 0.80). That of the net
    benefit, a weighted difference of two proportions, lies about what one more patient on either side would make of
    each. Patients are taken whole. They cover 0.93 to 0.98 (docs/results/coverage.csv).
    Source: Mercaldo, Lau and Zhou, Statistics in Medicine 2007; 26: 2170 (predictive values); Haldane, Annals of Human
    Genetics 1956; 20: 309 (half a case); Agresti and Caffo, American Statistician 2000; 54: 280 (one more); Vickers and
    Elkin, Medical Decision Making 2006; 26: 565, and Marsh, Janes and Pepe, Biometrics 2020; 76: 843 (net benefit).

    Args:
        y_true: labels of 0 and 1, shape (N,).
        y_pred: decisions of 0 and 1, shape (N,).
        prevalence: share of positives where the decisions are to be used.
        threshold_probability: t of the net benefit.
        clusters: patient of each case.
        level: confidence level.

    Raises:
        ValueError: a class is missing, or a share that does not lie strictly between 0 and 1.
    """
    labels, called = binary_labels(y_true), binary_labels(y_pred)
    for name, value in (("prevalence", prevalence), ("threshold probability", threshold_probability)):
        if not 0 < value < 1:
            raise ValueError(f"A {name} lies strictly between 0 and 1, got {value:g}.")
    if labels.all() or not labels.any():
        raise ValueError(f"Predictive values need both classes, got {int(labels.sum())} positive of {len(labels)}.")
    rates = _Rates.create(labels, called, cluster_codes(clusters, len(labels)))
    sensitivity, false_positive = rates.values
    odds = float(logit(prevalence))
    pulled, half_width = rates.with_half_a_case(level)
    ppv = _logit_interval(math.log(pulled[0] / pulled[1]) + odds, half_width(1 / pulled[0], -1 / pulled[1]))
    missed = 1 - pulled
    npv = _logit_interval(math.log(missed[1] / missed[0]) - odds, half_width(1 / missed[0], -1 / missed[1]))
    cost = (1 - prevalence) * threshold_probability / (1 - threshold_probability)
    pulled, half_width = rates.with_one_more_patient(level)
    centre, half = float(prevalence * pulled[0] - cost * pulled[1]), half_width(prevalence, -cost)
    return AtPrevalence(
        prevalence,
        _ratio(prevalence * sensitivity, (1 - prevalence) * false_positive),
        ppv,
        _ratio((1 - prevalence) * (1 - false_positive), prevalence * (1 - sensitivity)),
        npv,
        float(prevalence * sensitivity - cost * false_positive),
        (centre - half, centre + half),
        prevalence - cost,
    )


_HalfWidth = Callable[[float, float], float]
"""Of the interval of a linear combination, from the weights of sensitivity and false positive rate."""


@dataclass(frozen=True)
class _Rates:
    """Sensitivity and false positive rate, and what their variance follows from.

    Attributes:
        values: the two.
        sizes, holders: cases of either class, and patients who have them.
        changes: of the two when each patient is left out, shape (2, K).
        is_clustered: whether a patient has several cases.
    """

    values: FloatArray
    sizes: FloatArray
    holders: FloatArray
    changes: FloatArray
    is_clustered: bool

    @classmethod
    def create(cls, labels: BoolArray, called: BoolArray, codes: IntArray) -> _Rates:
        parts = np.stack([labels, ~labels]).astype(np.float64)
        sizes = parts.sum(axis=1)
        values = parts @ called / sizes
        shares = cluster_sums(parts / sizes[:, None], codes)
        changes = cluster_sums(parts * (called - values[:, None]) / sizes[:, None], codes)
        left = np.stack([left_out(change, share) for change, share in zip(changes, shares, strict=True)])
        return cls(values, sizes, (shares > 0).sum(axis=1) * 1.0, left, shares.shape[1] < len(labels))

    def with_half_a_case(self, level: float) -> tuple[FloatArray, _HalfWidth]:
        pulled = (self.values * self.sizes + 0.5) / (self.sizes + 1)
        return pulled, self._half_width(pulled * (1 - pulled) / (self.sizes + 1), level)

    def with_one_more_patient(self, level: float) -> tuple[FloatArray, _HalfWidth]:
        """On either side: one more who is called positive, and one who is not."""
        pulled = (self.values * self.holders + 1) / (self.holders + 2)
        return pulled, self._half_width(pulled * (1 - pulled) / (self.sizes + 2), level)

    def _half_width(self, binomial: FloatArray, level: float) -> _HalfWidth:
        """Normal with binomial variances; over clusters t with the jackknife's, never below those."""
        covariance, n_clusters = np.diag(binomial), self.changes.shape[1]
        if self.is_clustered:
            covariance = (n_clusters - 1) / n_clusters * self.changes @ self.changes.T
            covariance[[0, 1], [0, 1]] = np.maximum(np.diag(covariance), binomial)

        def half_width(of_sensitivity: float, of_false_positive: float) -> float:
            weights = np.array([of_sensitivity, of_false_positive])
            df = effective_df(weights @ self.changes) if self.is_clustered else math.inf
            return t_quantile(df, level) * math.sqrt(max(float(weights @ covariance @ weights), 0.0))

        return half_width


def _logit_interval(centre: float, half: float) -> tuple[float, float]:
    return float(expit(centre - half)), float(expit(centre + half))


def _ratio(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest > 0 else math.nan
