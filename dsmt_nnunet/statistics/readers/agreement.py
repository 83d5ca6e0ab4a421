"""How far readers agree beyond chance, with intervals over patients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from dsmt_nnunet.statistics.checks import FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.bootstrap import BootstrapEstimate, bootstrap_estimate
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.ordinal.weighted import quadratic_kappa
from dsmt_nnunet.statistics.resampling import Resampler


def weighted_kappa(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    n_grades: int,
    clusters: Clusters = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> BootstrapEstimate:
    """Cohen's kappa of two readers with quadratic weights, BCa interval over patients.

    Source: Cohen, Psychological Bulletin 1968; 70: 213.

    Args:
        first: grades 0 to K - 1 of one reader, shape (N,).
        second: of the other.
        n_grades: K.
        clusters: patient of each case.
        level: confidence level.
        n_resamples: bootstrap resamples.
        seed: of the bootstrap.
    """
    one, other = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)

    def statistic(weights: IntArray) -> FloatArray:
        return quadratic_kappa(one, other, n_grades, weights)

    return bootstrap_estimate(statistic, _resampler(len(one), clusters, n_resamples, seed), level)


def fleiss(
    ratings: npt.ArrayLike,
    clusters: Clusters = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> BootstrapEstimate:
    """Fleiss' kappa of R readers who all rate every case (statsmodels), BCa interval over patients.

    Source: Fleiss, Psychological Bulletin 1971; 76: 378.

    Args:
        ratings: category of each case by each reader, shape (N, R).
        clusters: patient of each case.
        level: confidence level.
        n_resamples: bootstrap resamples.
        seed: of the bootstrap.
    """
    table, _ = aggregate_raters(np.asarray(ratings))

    def statistic(weights: IntArray) -> FloatArray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.array([fleiss_kappa(np.repeat(table, row, axis=0)) for row in weights], dtype=np.float64)

    return bootstrap_estimate(statistic, _resampler(len(table), clusters, n_resamples, seed), level)


def _resampler(n_cases: int, clusters: Clusters, n_resamples: int, seed: int) -> Resampler:
    codes = [str(code) for code in cluster_codes(clusters, n_cases)]
    return Resampler.create(np.zeros(n_cases), codes, n_resamples, seed, stratified=False)
