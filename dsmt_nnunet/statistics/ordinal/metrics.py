"""How good graded predictions are, and whether one is better than another; patients are resampled whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import FloatArray, IntArray, finite_scores, named_rows
from dsmt_nnunet.statistics.clusters.bootstrap import BootstrapEstimate, Statistic, bootstrap_estimate
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.ordinal.weighted import c_index, mean_absolute_error, quadratic_kappa
from dsmt_nnunet.statistics.resampling import Resampler
from dsmt_nnunet.statistics.roc.clustered import clustered_auc_interval
from dsmt_nnunet.statistics.roc.interval import AucInterval


@dataclass(frozen=True)
class CutAuc:
    """AUC of "grade `cut` or above" against below, logit interval by `clustered_auc_interval`."""

    cut: int
    n_at_or_above: int
    interval: AucInterval


@dataclass(frozen=True)
class OrdinalMetrics:
    """Measures of one graded prediction.

    Attributes:
        n: cases.
        n_grades: grades of the task.
        quadratic_kappa: Cohen's kappa with quadratic weights; 1 is agreement, 0 chance.
        c_index: probability that of two cases of different grade the higher has the higher score, ties half.
        mean_absolute_error: mean distance of predicted and true grade, in grades.
        cuts: AUC at every cut, 1 to K - 1.
    """

    n: int
    n_grades: int
    quadratic_kappa: BootstrapEstimate
    c_index: BootstrapEstimate
    mean_absolute_error: BootstrapEstimate
    cuts: tuple[CutAuc, ...]


@dataclass(frozen=True)
class OrdinalComparison:
    """Differences of two graded predictions of the same cases, first minus second; each tested against 0."""

    quadratic_kappa: BootstrapEstimate
    c_index: BootstrapEstimate
    mean_absolute_error: BootstrapEstimate


@dataclass(frozen=True)
class GradedPrediction:
    """A grade and a score of each case.

    Attributes:
        grades: predicted grade, shape (N,).
        score: higher means a higher grade (the expected grade, or a latent score), shape (N,).
    """

    grades: npt.ArrayLike
    score: npt.ArrayLike


def ordinal_metrics(
    y_true: npt.ArrayLike,
    prediction: GradedPrediction,
    n_grades: int,
    clusters: Clusters = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> OrdinalMetrics:
    """Quadratic kappa, C-index, mean absolute error and the AUC at every cut, with BCa intervals over patients.

    Source: Cohen, Psychological Bulletin 1968; 70: 213 (kappa); Harrell, Regression Modeling Strategies, 2015,
    section 13.3 (C of an ordinal outcome).

    Args:
        y_true: grades 0 to K - 1, shape (N,).
        prediction: grades and scores.
        n_grades: K.
        clusters: patient of each case; None where every case stands alone.
        level: confidence level.
        n_resamples: bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        ValueError: a grade outside 0 to K - 1, a score that is not finite; the rows are named.
    """
    truth = grade_indices(y_true, n_grades)
    score = finite_scores(prediction.score, len(truth))
    resampler = _resampler(truth, clusters, n_resamples, seed)
    statistics = _statistics(truth, prediction, n_grades)
    kappa, c, error = (bootstrap_estimate(statistic, resampler, level) for statistic in statistics)
    cuts = tuple(
        CutAuc(cut, int((truth >= cut).sum()), clustered_auc_interval(truth >= cut, score, clusters, level))
        for cut in range(1, n_grades)
    )
    return OrdinalMetrics(len(truth), n_grades, kappa, c, error, cuts)


def ordinal_comparison(
    y_true: npt.ArrayLike,
    first: GradedPrediction,
    second: GradedPrediction,
    n_grades: int,
    clusters: Clusters = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> OrdinalComparison:
    """Differences first minus second on the same resamples of patients: BCa interval, and the p that inverts it."""
    truth = grade_indices(y_true, n_grades)
    resampler = _resampler(truth, clusters, n_resamples, seed)
    pairs = zip(_statistics(truth, first, n_grades), _statistics(truth, second, n_grades), strict=True)
    kappa, c, error = (bootstrap_estimate(_difference(one, other), resampler, level, null=0.0) for one, other in pairs)
    return OrdinalComparison(kappa, c, error)


def grade_indices(values: npt.ArrayLike, n_grades: int) -> IntArray:
    """Grades as integers, shape (N,).

    Raises:
        ValueError: not one-dimensional, or a value that is no grade; the rows are named.
    """
    grades = np.asarray(values)
    if grades.ndim != 1:
        raise ValueError(f"Grades must have one dimension, got shape {grades.shape}.")
    wrong = ~np.isin(grades, np.arange(n_grades))
    if wrong.any():
        raise ValueError(
            f"Grades lie in 0 to {n_grades - 1}, got {grades[wrong][0]!r} at {named_rows(np.flatnonzero(wrong))}."
        )
    return grades.astype(np.int64)


def _statistics(truth: IntArray, prediction: GradedPrediction, n_grades: int) -> tuple[Statistic, Statistic, Statistic]:
    grades = grade_indices(prediction.grades, n_grades)
    score = finite_scores(prediction.score, len(truth))
    if grades.shape != truth.shape:
        raise ValueError(f"There must be one predicted grade a case, {len(truth)} in all; got {len(grades)}.")

    def kappa(weights: IntArray) -> FloatArray:
        return quadratic_kappa(truth, grades, n_grades, weights)

    def concordance(weights: IntArray) -> FloatArray:
        return c_index(truth, score, weights)

    def error(weights: IntArray) -> FloatArray:
        return mean_absolute_error(truth, grades, weights)

    return kappa, concordance, error


def _difference(one: Statistic, other: Statistic) -> Callable[[IntArray], FloatArray]:
    return lambda weights: one(weights) - other(weights)


def _resampler(truth: IntArray, clusters: Clusters, n_resamples: int, seed: int) -> Resampler:
    # All grades in one stratum and no demand that each is drawn: kappa depends on how often a grade occurs.
    codes = cluster_codes(clusters, len(truth))
    return Resampler.create(np.zeros(len(truth)), [str(code) for code in codes], n_resamples, seed, stratified=False)
