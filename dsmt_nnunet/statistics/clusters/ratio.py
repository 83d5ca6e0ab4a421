"""Means, proportions and rates of cases that come in clusters: linearised variance, t intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from dsmt_nnunet.statistics.checks import FloatArray, finite_scores
from dsmt_nnunet.statistics.clusters.units import Clusters, are_clustered, cluster_codes, cluster_sums
from dsmt_nnunet.statistics.proportions import IntervalMethod, Proportion, proportion
from dsmt_nnunet.statistics.t_test import t_quantile, t_test

_NAN = math.nan


@dataclass(frozen=True)
class MeanEstimate:
    """A mean over cases with its cluster-robust t interval and the test that it is 0.

    Attributes:
        estimate: mean over all cases; NaN without cases.
        se: standard error; NaN for fewer than two clusters.
        df: clusters less one.
        ci: t interval.
        p_value: two-sided; the interval excludes 0 exactly where it lies below 1 - level.
        n_clusters: number of clusters.
    """

    estimate: float
    se: float
    df: float
    ci: tuple[float, float]
    p_value: float
    n_clusters: int


def ratio_variance(numerators: FloatArray, denominators: FloatArray) -> float:
    """Variance of sum(numerators) / sum(denominators) over K clusters; NaN for fewer than two.

    K / (K - 1) * sum (a_k - r b_k)^2 / (sum b_k)^2.
    Source: Cochran, Sampling Techniques, 3rd ed. 1977, equation 2.46; Rao and Scott, Biometrics 1992; 48: 577.
    """
    n_clusters, total = len(numerators), float(denominators.sum())
    if n_clusters < 2 or total == 0:
        return _NAN
    residual = numerators - numerators.sum() / total * denominators
    return float(n_clusters / (n_clusters - 1) * (residual**2).sum() / total**2)


def clustered_mean(values: npt.ArrayLike, clusters: Clusters = None, level: float = 0.95) -> MeanEstimate:
    """Mean of one value a case (a loss, a difference, a squared error), clusters taken whole.

    With every case alone it is the one-sample t interval and test.

    Args:
        values: shape (N,).
        clusters: cluster of each case.
        level: confidence level.
    """
    numbers = finite_scores(values, np.asarray(values).shape[-1])
    codes = cluster_codes(clusters, len(numbers))
    sums, sizes = cluster_sums(numbers, codes), cluster_sums(np.ones(len(numbers)), codes)
    mean = float(numbers.mean()) if len(numbers) else _NAN
    variance, df = ratio_variance(sums, sizes), len(sizes) - 1
    if math.isnan(variance):
        return MeanEstimate(mean, _NAN, float(df), (_NAN, _NAN), _NAN, len(sizes))
    se = math.sqrt(variance)
    found = t_test(mean, se, df, level)
    return MeanEstimate(mean, se, float(df), found.ci, found.p_value, len(sizes))


def clustered_proportion(
    hits: npt.ArrayLike, clusters: Clusters = None, level: float = 0.95, method: IntervalMethod = "wilson"
) -> Proportion:
    """Share of cases that are hits, with a Wilson or Clopper-Pearson interval at the effective number of cases.

    The design effect d is the cluster variance over p (1 - p) / n, held at or above 1; n / d replaces n, and
    (z / t)^2 of it where clusters are few (t with K - 1 degrees of freedom). Where all or no cases are hits d is not
    known: each cluster counts once. Without clusters it is the binomial interval itself. In simulations Wilson's covers
    0.94 to 0.97, Clopper and Pearson's 0.95 to 0.99 (docs/results/coverage.csv).
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
    effective = float(n_clusters)
    if 0 < count < total:
        variance = ratio_variance(cluster_sums(values.astype(np.float64), codes), cluster_sums(np.ones(total), codes))
        effective = min(share * (1 - share) / variance if variance > 0 else math.inf, float(total))
    effective *= (t_quantile(math.inf, level) / t_quantile(n_clusters - 1, level)) ** 2
    limits = wilson_limits if method == "wilson" else clopper_pearson_limits
    return Proportion(count, total, share, limits(share, effective, level))


def wilson_limits(share: float, n_cases: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's limits of a proportion at a number of cases that need not be whole."""
    z = t_quantile(math.inf, level)
    centre = (share + z**2 / (2 * n_cases)) / (1 + z**2 / n_cases)
    half = z / (1 + z**2 / n_cases) * math.sqrt(share * (1 - share) / n_cases + z**2 / (4 * n_cases**2))
    return (0.0 if share == 0 else max(centre - half, 0.0)), (1.0 if share == 1 else min(centre + half, 1.0))


def clopper_pearson_limits(share: float, n_cases: float, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's limits of a proportion at a number of cases that need not be whole."""
    hits, tail = share * n_cases, (1 - level) / 2
    lower = 0.0 if share == 0 else float(beta.ppf(tail, hits, n_cases - hits + 1))
    return lower, 1.0 if share == 1 else float(beta.ppf(1 - tail, hits + 1, n_cases - hits))
