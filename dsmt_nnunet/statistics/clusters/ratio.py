"""Means, proportions and rates of cases that come in clusters: linearised variance, t intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import FloatArray, finite_scores
from dsmt_nnunet.statistics.clusters.spread import effective_df, left_out
from dsmt_nnunet.statistics.clusters.units import Clusters, are_clustered, cluster_codes, cluster_sums
from dsmt_nnunet.statistics.proportions import LIMITS, IntervalMethod, Proportion, proportion
from dsmt_nnunet.statistics.t_test import bounded_interval, t_quantile, t_test

_NAN = math.nan


@dataclass(frozen=True)
class MeanEstimate:
    """A mean over cases with its cluster-robust t interval and the test that it is 0.

    Attributes:
        estimate: mean over all cases; NaN without cases.
        se: standard error; NaN for fewer than two clusters.
        df: clusters less one, or effective ones.
        ci: t interval.
        p_value: two-sided; an interval on the scale of the values excludes 0 exactly where it lies below 1 - level.
        n_clusters: number of clusters.
    """

    estimate: float
    se: float
    df: float
    ci: tuple[float, float]
    p_value: float
    n_clusters: int


def ratio_changes(numerators: FloatArray, denominators: FloatArray) -> FloatArray:
    """Change of sum(numerators) / sum(denominators) when each of K clusters is left out, shape (K,).

    (a_k - r b_k) / (sum b - b_k); (K - 1) / K times the sum of the squares is the jackknife's variance.
    Source: Cochran, Sampling Techniques, 3rd ed. 1977, section 6.17; Rao and Scott, Biometrics 1992; 48: 577.
    """
    total = float(denominators.sum())
    residual = numerators - numerators.sum() / total * denominators
    return left_out(residual / total, denominators / total)


def clustered_mean(
    values: npt.ArrayLike, clusters: Clusters = None, level: float = 0.95, upper: float = math.inf
) -> MeanEstimate:
    """Mean of one value a case (a loss, a difference, a squared error), clusters taken whole.

    With every case alone it is the one-sample t interval and test; else the variance is the jackknife's over clusters,
    and t has the effective degrees of freedom of what they contribute. In simulations it covers 0.93 to 0.97 on the
    logit scale, with 40 patients of one to thirty nodules too.

    Args:
        values: shape (N,).
        clusters: cluster of each case.
        level: confidence level.
        upper: of values within 0 to `upper`, whose interval is then on the logit scale and stays within (a mean at an
            end has no such interval); by default the scale of the values.
    """
    numbers = finite_scores(values, np.asarray(values).shape[-1])
    codes = cluster_codes(clusters, len(numbers))
    sums, sizes = cluster_sums(numbers, codes), cluster_sums(np.ones(len(numbers)), codes)
    mean, n_clusters = float(numbers.mean()) if len(numbers) else _NAN, len(sizes)
    if n_clusters < 2:
        return MeanEstimate(mean, _NAN, n_clusters - 1.0, (_NAN, _NAN), _NAN, n_clusters)
    changes = ratio_changes(sums, sizes)
    df = effective_df(changes) if n_clusters < len(numbers) or math.isfinite(upper) else n_clusters - 1.0
    se = math.sqrt((n_clusters - 1) / n_clusters * float((changes**2).sum()))
    found = t_test(mean, se, df, level)
    ci = found.ci
    if math.isfinite(upper):
        lower, higher = bounded_interval(mean / upper, se / upper, df, level)
        ci = (upper * lower, upper * higher)
    return MeanEstimate(mean, se, df, ci, found.p_value, n_clusters)


def clustered_proportion(
    hits: npt.ArrayLike, clusters: Clusters = None, level: float = 0.95, method: IntervalMethod = "wilson"
) -> Proportion:
    """Share of cases that are hits, with a Wilson or Clopper-Pearson interval at the effective number of cases.

    The design effect d is the jackknife's variance over clusters over p (1 - p) / n, held at or above 1; n / d replaces
    n, and (z / t)^2 of it where clusters are few or unequal (t with the effective degrees of freedom of what they
    contribute). Where all or no cases are hits d is not known: each cluster counts once. Without clusters it is the
    binomial interval itself. In simulations Wilson's covers 0.94 to 0.97 (0.99 with 15 cases), Clopper and Pearson's
    0.95 to 0.99 (docs/results/coverage.csv).
    Source: Rao and Scott, Biometrics 1992; 48: 577; Korn and Graubard, Survey Methodology 1998; 24: 193 (degrees of
    freedom); Wilson, JASA 1927; 22: 209.

    Args:
        hits: 0 or 1 of each case, shape (N,).
        clusters: cluster of each case.
        level: confidence level.
        method: "wilson" or "clopper-pearson".
    """
    values = np.asarray(hits).astype(bool)
    count, total = int(values.sum()), len(values)
    if not are_clustered(clusters, total):
        return proportion(count, total, method, level)
    codes = cluster_codes(clusters, total)
    n_clusters = int(codes.max()) + 1
    share = count / total
    if n_clusters < 2:
        return Proportion(count, total, share, (_NAN, _NAN))
    effective, df = float(n_clusters), n_clusters - 1.0
    if 0 < count < total:
        changes = ratio_changes(cluster_sums(values.astype(np.float64), codes), cluster_sums(np.ones(total), codes))
        variance = (n_clusters - 1) / n_clusters * float((changes**2).sum())
        effective = min(share * (1 - share) / variance if variance > 0 else math.inf, float(total))
        df = effective_df(changes)
    effective *= (t_quantile(math.inf, level) / t_quantile(df, level)) ** 2
    return Proportion(count, total, share, LIMITS[method](share, effective, level))
