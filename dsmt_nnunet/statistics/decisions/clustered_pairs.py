"""Two sets of decisions on the same cases, which come in clusters: what stands beside McNemar's test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from dsmt_nnunet.statistics.clusters.ratio import clustered_mean
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes, cluster_sums
from dsmt_nnunet.statistics.decisions.mcnemar import newcombe_paired_interval


@dataclass(frozen=True)
class ClusteredPairs:
    """A paired comparison of two proportions, first minus second, clusters taken whole.

    Attributes:
        n, n_clusters: cases and clusters.
        only_first_right, only_second_right: discordant cases.
        difference: (b - c) / n.
        se, df: of the difference; effective degrees of freedom, at most clusters less one.
        ci: t interval; without a discordant case Newcombe's method 10 with clusters for cases.
        p_value: two-sided t test, the one that `ci` inverts; 1 where no case is discordant.
        durkalski_chi2, durkalski_p: Durkalski's statistic, which weighs every cluster alike; NaN and 1 where no cluster
            has a difference.
    """

    n: int
    n_clusters: int
    only_first_right: int
    only_second_right: int
    difference: float
    se: float
    df: float
    ci: tuple[float, float]
    p_value: float
    durkalski_chi2: float
    durkalski_p: float


def clustered_pairs(
    first_right: npt.ArrayLike, second_right: npt.ArrayLike, clusters: Clusters = None, level: float = 0.95
) -> ClusteredPairs:
    """Compares two sets of decisions from "was it right", each of shape (N,).

    With d_k = b_k - c_k and n_k cases of cluster k: D = sum d_k / sum n_k with the jackknife's variance and t;
    Durkalski's chi2 = (sum d_k / n_k)^2 / sum (d_k / n_k)^2. With every case alone the latter is McNemar's chi2.
    Source: Obuchowski, Statistics in Medicine 1998; 17: 1495 (ratio); Durkalski et al., Statistics in Medicine 2003;
    22: 2417; Yang, Sun and Hardin, Statistics in Medicine 2010; 29: 2507 (they are compared).

    Raises:
        ValueError: the two do not have the same cases.
    """
    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"A paired comparison needs the same cases twice, got shapes {first.shape}, {second.shape}.")
    codes = cluster_codes(clusters, len(first))
    change = first.astype(np.float64) - second
    mean = clustered_mean(change, codes, level)
    shares = cluster_sums(change, codes) / cluster_sums(np.ones(len(change)), codes)
    scatter = float((shares**2).sum())
    statistic = float(shares.sum()) ** 2 / scatter if scatter > 0 else math.nan
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    ci = mean.ci
    if only_first + only_second == 0 and len(first):
        right = round(float(first.mean()) * mean.n_clusters)
        ci = newcombe_paired_interval(right, 0, 0, mean.n_clusters - right, level)
    return ClusteredPairs(
        len(first),
        mean.n_clusters,
        only_first,
        only_second,
        mean.estimate,
        mean.se,
        mean.df,
        ci,
        mean.p_value,
        statistic,
        1.0 if math.isnan(statistic) else float(chi2.sf(statistic, 1)),
    )
