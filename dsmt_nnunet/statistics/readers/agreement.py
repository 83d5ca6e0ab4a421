"""How far readers agree beyond chance, with intervals over patients."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from statsmodels.stats.inter_rater import aggregate_raters

from dsmt_nnunet.statistics.checks import FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.jackknife import JackknifeEstimate, jackknife_estimate
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.ordinal.weighted import quadratic_kappa

AlphaMetric = Literal["nominal", "ordinal", "interval"]


def weighted_kappa(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    n_grades: int,
    clusters: Clusters = None,
    level: float = 0.95,
) -> JackknifeEstimate:
    """Cohen's kappa of two readers with quadratic weights, jackknife interval over patients on the z scale.

    Source: Cohen, Psychological Bulletin 1968; 70: 213.

    Args:
        first: grades 0 to K - 1 of one reader, shape (N,).
        second: of the other.
        n_grades: K.
        clusters: patient of each case.
        level: confidence level.
    """
    one, other = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)

    def statistic(weights: IntArray) -> FloatArray:
        return quadratic_kappa(one, other, n_grades, weights)

    return jackknife_estimate(statistic, cluster_codes(clusters, len(one)), level, "fisher-z")


def fleiss(
    ratings: npt.ArrayLike,
    clusters: Clusters = None,
    level: float = 0.95,
) -> JackknifeEstimate:
    """Fleiss' kappa of R readers who all rate every case, jackknife interval over patients on the z scale.

    Source: Fleiss, Psychological Bulletin 1971; 76: 378.

    Args:
        ratings: category of each case by each reader, shape (N, R).
        clusters: patient of each case.
        level: confidence level.
    """
    table = np.asarray(aggregate_raters(np.asarray(ratings))[0], dtype=np.float64)
    n_readers = table[0].sum()
    agreed = ((table**2).sum(axis=1) - n_readers) / (n_readers * (n_readers - 1))

    def statistic(weights: IntArray) -> FloatArray:
        total = weights.sum(axis=1)
        shares = weights @ table / (n_readers * total)[:, None]
        by_chance = (shares**2).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            kappa = (weights @ agreed / total - by_chance) / (1 - by_chance)
        return np.asarray(np.where(by_chance < 1 - 1e-12, kappa, np.nan), dtype=np.float64)

    return jackknife_estimate(statistic, cluster_codes(clusters, len(table)), level, "fisher-z")


def krippendorff_alpha(
    ratings: npt.ArrayLike,
    metric: AlphaMetric = "ordinal",
    clusters: Clusters = None,
    level: float = 0.95,
) -> JackknifeEstimate:
    """Krippendorff's alpha of readers who need not rate every case, jackknife interval over patients on the z scale.

    1 - observed over expected disagreement, from the table of values that meet within a case. Cases with fewer than two
    ratings say nothing and are left out.
    Source: Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011 (University of Pennsylvania).

    Args:
        ratings: of each case by each reader, NaN where there is none, shape (N, R).
        metric: "nominal" (0 or 1), "ordinal" (cases between the two grades, squared) or "interval" (squared distance).
        clusters: patient of each case.
        level: confidence level.

    Raises:
        ValueError: no case has two ratings.
    """
    table = np.asarray(ratings, dtype=np.float64)
    met = np.isfinite(table).sum(axis=1) >= 2
    if not met.any():
        raise ValueError("Agreement needs a case with two ratings or more; there is none.")
    codes = cluster_codes(clusters, len(table))[met]
    values = np.unique(table[met][np.isfinite(table[met])])
    counts = (table[met][:, :, None] == values).sum(axis=1).astype(np.float64)
    rated = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :] - np.eye(len(values)) * counts[:, None, :]
    coincidences = (pairs / (rated - 1)[:, None, None]).reshape(len(counts), -1)

    def statistic(weights: IntArray) -> FloatArray:
        met_values = (weights @ coincidences).reshape(-1, len(values), len(values))
        totals = met_values.sum(axis=2)
        distance = _distances(values, totals, metric)
        everything = totals.sum(axis=1)
        observed = (met_values * distance).sum(axis=(1, 2))
        expected = (totals[:, :, None] * totals[:, None, :] * distance).sum(axis=(1, 2)) / (everything - 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(expected > 1e-12, 1 - observed / expected, np.nan), dtype=np.float64)

    return jackknife_estimate(statistic, cluster_codes(codes, len(counts)), level, "fisher-z")


def _distances(values: FloatArray, totals: FloatArray, metric: AlphaMetric) -> FloatArray:
    """Squared distance of each pair of values; (V,) and (B, V) -> (B or 1, V, V)."""
    if metric == "nominal":
        return 1 - np.eye(len(values))[None]
    if metric == "interval":
        return np.asarray((values[None, :, None] - values[None, None, :]) ** 2)
    middle = np.cumsum(totals, axis=1) - totals / 2
    return np.asarray((middle[:, :, None] - middle[:, None, :]) ** 2)
