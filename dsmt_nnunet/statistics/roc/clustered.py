"""AUCs of cases that come in clusters (nodules of a patient), and their differences, after Obuchowski."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.clusters.spread import effective_df, left_out
from dsmt_nnunet.statistics.clusters.units import Clusters, are_clustered, cluster_codes, cluster_sums
from dsmt_nnunet.statistics.named_warnings import (
    OneCaseInClassWarning,
    ZeroVarianceDifferenceWarning,
    ZeroVarianceWarning,
)
from dsmt_nnunet.statistics.roc.comparison import AucComparison
from dsmt_nnunet.statistics.roc.delong import StructuralComponents, structural_components
from dsmt_nnunet.statistics.roc.interval import (
    NEWCOMBE_METHOD,
    UNDEFINED_METHOD,
    AucInterval,
    newcombe_limits,
)
from dsmt_nnunet.statistics.t_test import NO_SPREAD, bounded_interval, t_test

LOGIT_METHOD = "obuchowski-logit-t"
ALONE_METHOD = "delong-logit-t"
PAIRED_TEST = "paired Obuchowski"
UNPAIRED_TEST = "unpaired Obuchowski (Welch t)"
_NAN = math.nan


@dataclass(frozen=True)
class ClusteredAucs:
    """AUCs of M scores of the same cases with their covariance over clusters.

    Attributes:
        auc: shape (M,).
        covariance: shape (M, M).
        df: degrees of freedom of each variance, shape (M,): the fewer of Satterthwaite's, from the clusters of either
            class, and the effective ones of what the clusters contribute.
        n_positive: clusters with a positive case.
        n_negative: clusters with a negative case.
    """

    auc: FloatArray
    covariance: FloatArray
    df: FloatArray
    n_positive: int
    n_negative: int


def clustered_aucs(labels: BoolArray, components: StructuralComponents, codes: IntArray) -> ClusteredAucs:
    """Covariance of AUCs from the structural components of single cases, summed within clusters.

    With p_i = (sum V10 - m_i A) / (m - m_i) and q_i = (sum V01 - n_i A) / (n - n_i) of cluster i, which holds m_i of m
    positive and n_i of n negative cases: var A = (I10 - 1) / I10 sum p_i^2 + (I01 - 1) / I01 sum q_i^2
    + 2 (I - 1) / I sum p_i q_i, I10 and I01 the clusters with a case of the class, I all. It is Obuchowski's variance
    where all clusters hold equally many of each class, and larger where a few hold most; DeLong's where every case
    stands alone. Less than two clusters of a class give NaN with an `OneCaseInClassWarning`.
    Source: Obuchowski, Biometrics 1997; 53: 567; `clusters.spread.left_out` (clusters of different size).

    Args:
        labels: shape (N,).
        components: of M scores, or of their contrasts.
        codes: cluster of each case, shape (N,).
    """
    auc = components.auc
    n_positive, n_negative = int(labels.sum()), int((~labels).sum())
    values = np.zeros((2, len(auc), len(labels)))
    values[0][:, labels] = components.positive - auc[:, None]
    values[1][:, ~labels] = components.negative - auc[:, None]
    positive, negative = cluster_sums(values, codes)
    with_positive, with_negative = len(np.unique(codes[labels])), len(np.unique(codes[~labels]))
    if min(with_positive, with_negative) < 2:
        if min(with_positive, with_negative) == 1:
            message = "A class lies in a single cluster; the variance of the AUC is not defined."
            warnings.warn(message, OneCaseInClassWarning, stacklevel=3)
        empty = np.full((len(auc), len(auc)), _NAN)
        return ClusteredAucs(auc, empty, np.full(len(auc), _NAN), with_positive, with_negative)
    n_clusters = positive.shape[1]
    shares = cluster_sums(np.stack([labels / n_positive, ~labels / n_negative]), codes)
    positive, negative = left_out(positive / n_positive, shares[0]), left_out(negative / n_negative, shares[1])
    from_positive = (with_positive - 1) / with_positive * positive @ positive.T
    from_negative = (with_negative - 1) / with_negative * negative @ negative.T
    shared = (n_clusters - 1) / n_clusters * positive @ negative.T
    covariance = from_positive + from_negative + shared + shared.T
    parts = np.diag(from_positive) ** 2 / (with_positive - 1) + np.diag(from_negative) ** 2 / (with_negative - 1)
    total = (np.diag(from_positive) + np.diag(from_negative)) ** 2
    df = np.divide(total, parts, out=np.full(len(auc), float(n_clusters - 1)), where=parts > 0)
    df = np.minimum(df, [effective_df(row) for row in positive + negative])
    return ClusteredAucs(auc, covariance, df, with_positive, with_negative)


def clustered_auc_interval(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, clusters: Clusters = None, level: float = 0.95
) -> AucInterval:
    """AUC with its interval on the logit scale, clusters taken whole.

    logit AUC +- t SE / (AUC (1 - AUC)), t with the degrees of freedom of `ClusteredAucs`. It covers 0.93 to 0.97 in
    simulations (docs/results/coverage.csv), with 15 cases 0.99, near 0.95 with 20 positive and 200 negative cases 0.92:
    there DeLong's variance itself is too small too often. A variance of 0 gets Newcombe's method 5 with clusters for
    cases, with a `ZeroVarianceWarning`.
    Source: Obuchowski, Biometrics 1997; 53: 567; Pepe, The Statistical Evaluation of Medical Tests, 2003, section 5.2
    (logit scale).

    Args:
        y_true: labels of 0 and 1, shape (N,).
        y_score: scores, shape (N,); higher means positive.
        clusters: cluster of each case; None where every case stands alone.
        level: confidence level.
    """
    labels = binary_labels(y_true)
    components = structural_components(labels, y_score)
    auc = float(components.auc[0])
    if math.isnan(auc):
        return AucInterval(auc, _NAN, _NAN, _NAN, UNDEFINED_METHOD)
    method = LOGIT_METHOD if are_clustered(clusters, len(labels)) else ALONE_METHOD
    found = clustered_aucs(labels, components, cluster_codes(clusters, len(labels)))
    variance = float(found.covariance[0, 0])
    if math.isnan(variance):
        return AucInterval(auc, _NAN, _NAN, _NAN, UNDEFINED_METHOD)
    se = math.sqrt(max(variance, 0.0))
    if se < NO_SPREAD:
        message = f"AUC {auc:g} with a variance of 0: the interval is Newcombe's method 5, clusters counted as cases."
        warnings.warn(message, ZeroVarianceWarning, stacklevel=2)
        limits = newcombe_limits(auc, found.n_positive, found.n_negative, level)
        return AucInterval(auc, 0.0, *limits, NEWCOMBE_METHOD)
    return AucInterval(auc, se, *bounded_interval(auc, se, float(found.df[0]), level), method)


def clustered_paired_comparison(
    y_true: npt.ArrayLike,
    first_score: npt.ArrayLike,
    second_score: npt.ArrayLike,
    clusters: Clusters = None,
    level: float = 0.95,
) -> AucComparison:
    """Test of two correlated AUCs of the same clustered cases; t interval and t test, which agree.

    It rejects a true null in 0.03 to 0.06 (docs/results/coverage.csv).
    Source: Obuchowski, Biometrics 1997; 53: 567.
    """
    labels = binary_labels(y_true)
    scores = np.stack([finite_scores(first_score, len(labels)), finite_scores(second_score, len(labels))])
    components = structural_components(labels, scores)
    first, second = (float(value) for value in components.auc)
    if math.isnan(first):
        return AucComparison(first, second, _NAN, _NAN, (_NAN, _NAN), _NAN, _NAN, PAIRED_TEST)
    contrast = components.contrast([[1.0, -1.0]])
    found = clustered_aucs(labels, contrast, cluster_codes(clusters, len(labels)))
    return _compared((first, second), float(found.covariance[0, 0]), float(found.df[0]), PAIRED_TEST, level)


def clustered_unpaired_comparison(
    first: ClusteredAucs, second: ClusteredAucs, level: float = 0.95, shared: float = 0.0
) -> AucComparison:
    """Test of the AUC of one score in two cohorts that share no case (sites, groups of patients), Welch's t.

    Args:
        first: of one cohort, M = 1.
        second: of the other.
        level: confidence level.
        shared: covariance of the two AUCs, where patients have cases in both.
    """
    variances = [float(item.covariance[0, 0]) for item in (first, second)]
    spread = sum(v**2 / float(item.df[0]) for v, item in zip(variances, (first, second), strict=True))
    df = sum(variances) ** 2 / spread if spread > 0 else _NAN
    return _compared((float(first.auc[0]), float(second.auc[0])), sum(variances) - 2 * shared, df, UNPAIRED_TEST, level)


def _compared(aucs: tuple[float, float], variance: float, df: float, test: str, level: float) -> AucComparison:
    difference = aucs[0] - aucs[1]
    if math.isnan(variance):
        return AucComparison(*aucs, difference, _NAN, (_NAN, _NAN), _NAN, _NAN, test)
    se = math.sqrt(max(variance, 0.0))
    if se > NO_SPREAD:
        found = t_test(difference, se, df, level)
        return AucComparison(*aucs, difference, se, found.ci, found.statistic, found.p_value, test, df)
    if abs(difference) <= NO_SPREAD:
        return AucComparison(*aucs, 0.0, 0.0, (0.0, 0.0), 0.0, 1.0, test, df)
    message = f"AUC {aucs[0]:g} and {aucs[1]:g} differ with an estimated variance of 0; there is no test."
    warnings.warn(message, ZeroVarianceDifferenceWarning, stacklevel=3)
    return AucComparison(*aucs, difference, 0.0, (_NAN, _NAN), _NAN, _NAN, test)
