"""AUCs with the patient as the unit: Obuchowski's analysis where a patient has several cases, DeLong's elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import f as f_distribution

from dsmt_nnunet.statistics.checks import binary_labels, finite_scores
from dsmt_nnunet.statistics.clusters.spread import effective_df
from dsmt_nnunet.statistics.clusters.units import Clusters, are_clustered, cluster_codes
from dsmt_nnunet.statistics.roc.clustered import (
    ClusteredAucs,
    clustered_auc_interval,
    clustered_aucs,
    clustered_paired_comparison,
    clustered_unpaired_comparison,
)
from dsmt_nnunet.statistics.roc.comparison import (
    AucComparison,
    JointComparison,
    paired_comparison,
    unpaired_comparison,
    wald_test,
)
from dsmt_nnunet.statistics.roc.delong import structural_components
from dsmt_nnunet.statistics.roc.influence import auc_influence
from dsmt_nnunet.statistics.roc.interval import UNDEFINED_METHOD, AucInterval
from dsmt_nnunet.statistics.t_test import bounded_interval

MACRO_METHOD = "mean over classes, logit t"


def auc_interval(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, clusters: Clusters = None, level: float = 0.95
) -> AucInterval:
    """AUC with its interval on the logit scale, patients taken whole.

    Args:
        y_true: labels of 0 and 1, shape (N,).
        y_score: higher means positive, shape (N,).
        clusters: patient of each case; None where every case stands alone.
        level: confidence level.
    """
    return clustered_auc_interval(y_true, y_score, clusters, level)


def paired_auc_difference(
    y_true: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike, clusters: Clusters = None, level: float = 0.95
) -> AucComparison:
    """Two scores of the same cases; the arguments are those of `auc_interval`."""
    if are_clustered(clusters, len(np.asarray(y_true))):
        return clustered_paired_comparison(y_true, first, second, clusters, level)
    return paired_comparison(y_true, first, second, level)


def level_difference(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    levels: tuple[npt.ArrayLike, npt.ArrayLike],
    clusters: Clusters = None,
    level: float = 0.95,
) -> AucComparison:
    """One score at two levels of a group, first minus second: the test of their interaction.

    Patients with cases at both levels (two sizes of nodule) are counted: the covariance of the two AUCs is that of the
    patients' contributions to either. It rejects a true null in 0.03 to 0.07, with 15 cases in 0.02
    (docs/results/coverage.csv).

    Args:
        y_true: labels of 0 and 1, shape (N,).
        y_score: shape (N,).
        levels: which cases are at the first and at the second, two of shape (N,), without a case in common.
        clusters: patient of each case.
        level: confidence level.
    """
    labels = binary_labels(y_true)
    scores, codes = finite_scores(y_score, len(labels)), cluster_codes(clusters, len(labels))
    chosen = [np.asarray(item, dtype=bool) for item in levels]
    parts = [structural_components(labels[inside], scores[inside]) for inside in chosen]
    if not are_clustered(codes[chosen[0] | chosen[1]], int((chosen[0] | chosen[1]).sum())):
        return unpaired_comparison(parts[0], parts[1], level)
    if any(math.isnan(float(part.auc[0])) for part in parts):
        return unpaired_comparison(parts[0], parts[1], level)
    found = [
        clustered_aucs(labels[inside], part, cluster_codes(codes[inside], int(inside.sum())))
        for inside, part in zip(chosen, parts, strict=True)
    ]
    sums = [
        auc_influence(labels[inside], part, codes[inside], int(codes.max()) + 1)
        for inside, part in zip(chosen, parts, strict=True)
    ]
    n_clusters = len(np.unique(codes[chosen[0] | chosen[1]]))
    shared = (n_clusters - 1) / n_clusters * float(sums[0] @ sums[1])
    return clustered_unpaired_comparison(found[0], found[1], level, shared)


def joint_auc_comparison(y_true: npt.ArrayLike, scores: npt.ArrayLike, clusters: Clusters = None) -> JointComparison:
    """Test that all AUCs of `scores` (shape (M, N)) are equal, patients taken whole.

    chi2 is DeLong's Wald statistic, over patients with Obuchowski's covariance. It is tested by Hotelling's F: with v
    degrees of freedom (the mean over the contrasts of those of `ClusteredAucs`) and rank r, chi2 (v + 1 - r) / (r v) is
    F on r and v + 1 - r. A singular covariance (two scores in the same order) lowers r. In 1000 draws it rejects a true
    null in 0.03 to 0.05, near AUCs of 0.95 in 0.02, with 15 cases in 0.01; chi-square in 0.07 to 0.09 where 5 % are
    positive, or patients are few or unequal.
    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988; 44: 837, section 3; Obuchowski, Biometrics 1997; 53:
    567; Hotelling, Annals of Mathematical Statistics 1931; 2: 360.
    """
    labels = binary_labels(y_true)
    components = structural_components(labels, scores)
    n_scores = len(components.positive)
    contrasts = components.contrast(np.hstack([np.ones((n_scores - 1, 1)), -np.eye(n_scores - 1)]))
    found: ClusteredAucs = clustered_aucs(labels, contrasts, cluster_codes(clusters, len(labels)))
    wald, known = wald_test(found.auc, found.covariance), float(found.df.mean())
    if wald.df == 0 or math.isnan(wald.chi2):
        return wald
    freedom = known + 1 - wald.df
    ratio = wald.chi2 * freedom / (wald.df * known)
    return replace(wald, p_value=float(f_distribution.sf(ratio, wald.df, freedom)) if freedom > 0 else math.nan)


@dataclass(frozen=True)
class MacroAuc:
    """One-against-rest AUC of each class, and their plain mean, each with its interval."""

    classes: tuple[AucInterval, ...]
    mean: AucInterval


def macro_auc(y_true: npt.ArrayLike, scores: npt.ArrayLike, clusters: Clusters = None, level: float = 0.95) -> MacroAuc:
    """AUC of each class against the rest and their mean, NaN where a class has no case or no counterpart.

    The variance of the mean is that of the patients' summed contributions to all K AUCs, and its interval is t with
    their effective degrees of freedom on the logit scale; it covers 0.93 to 0.97 in simulations
    (docs/results/coverage.csv).
    Source: Obuchowski, Biometrics 1997; 53: 567 (contributions of clusters); Hand and Till, Machine Learning 2001;
    45: 171 (means of AUCs over classes).

    Args:
        y_true: class indices, shape (N,).
        scores: one column a class, shape (N, K).
        clusters: patient of each case.
        level: confidence level.
    """
    truth, table = np.asarray(y_true, dtype=np.int64), np.asarray(scores, dtype=np.float64)
    codes, n_classes = cluster_codes(clusters, len(truth)), table.shape[1]
    each = tuple(auc_interval(truth == index, table[:, index], clusters, level) for index in range(n_classes))
    mean = float(np.mean([item.auc for item in each]))
    n_clusters = int(codes.max()) + 1 if len(codes) else 0
    if math.isnan(mean) or n_clusters < 2:
        return MacroAuc(each, AucInterval(mean, math.nan, math.nan, math.nan, UNDEFINED_METHOD))
    total = np.zeros(n_clusters)
    for index in range(n_classes):
        labels = truth == index
        total += auc_influence(labels, structural_components(labels, table[:, index]), codes, n_clusters)
    se = math.sqrt((n_clusters - 1) / n_clusters * float(total @ total)) / n_classes
    limits = bounded_interval(mean, se, effective_df(total), level)
    return MacroAuc(each, AucInterval(mean, se, *limits, UNDEFINED_METHOD if math.isnan(limits[0]) else MACRO_METHOD))
