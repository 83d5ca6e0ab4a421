"""Two training procedures whose seeds and cases are both drawn from many."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import FloatArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.named_warnings import SmallSampleWarning
from dsmt_nnunet.statistics.readers.merit_covariance import MeritEstimates
from dsmt_nnunet.statistics.readers.obuchowski_rockette import (
    Design,
    Estimate,
    obuchowski_rockette,
    single_modality_mean,
)
from dsmt_nnunet.statistics.roc.clustered import clustered_aucs
from dsmt_nnunet.statistics.roc.delong import structural_components
from dsmt_nnunet.statistics.t_test import bounded_interval, t_test

FEW_SEEDS = 3


@dataclass(frozen=True)
class SeedMean:
    """Mean AUC over the seeds of a procedure; the interval is on the logit scale, seeds and cases random."""

    auc: float
    se: float
    df: float
    ci: tuple[float, float]
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class SeedComparison:
    """Two procedures, first minus second.

    Attributes:
        first, second: each on its own.
        difference: of the mean AUCs.
        se, df, ci, p_value: with seeds and cases random; interval and p are of the same t.
        p_fixed_seeds: with these seeds taken as the only ones, to be shown beside and not to be quoted.
    """

    first: SeedMean
    second: SeedMean
    difference: float
    se: float
    df: float
    ci: tuple[float, float]
    p_value: float
    p_fixed_seeds: float


def compare_over_seeds(
    y_true: npt.ArrayLike,
    first_scores: npt.ArrayLike,
    second_scores: npt.ArrayLike,
    clusters: Clusters = None,
    level: float = 0.95,
) -> SeedComparison:
    """Obuchowski-Rockette analysis with seeds as readers and procedures as modalities.

    The covariance over cases is Obuchowski's of 1997, so nodules of a patient may be dependent. Fewer than three seeds
    say little about seeds: a `SmallSampleWarning`. In 400 draws a scenario means and differences over three seeds cover
    0.93 to 0.96 and a true null is rejected in 0.04 to 0.07 (docs/results/coverage.csv).
    Source: Obuchowski and Rockette, Commun Stat Simul 1995; 24: 285; Hillis, Stat Med 2007; 26: 596.

    Args:
        y_true: labels of 0 and 1, shape (N,).
        first_scores: one row a seed, shape (S, N).
        second_scores: the other procedure with the same seeds, shape (S, N).
        clusters: patient of each case.
        level: confidence level.

    Raises:
        ValueError: another number of seeds, or fewer than two.
    """
    labels = binary_labels(y_true)
    first, second = (np.atleast_2d(finite_scores(item, len(labels))) for item in (first_scores, second_scores))
    n_seeds = len(first)
    if n_seeds != len(second) or n_seeds < 2:
        raise ValueError(f"Both procedures need the same seeds, two or more; got {n_seeds} and {len(second)}.")
    if n_seeds < FEW_SEEDS:
        message = f"{n_seeds} seeds stand for all; the interval is not reliable with fewer than {FEW_SEEDS}."
        warnings.warn(message, SmallSampleWarning, stacklevel=2)
    components = structural_components(labels, np.concatenate([first, second]))
    found = clustered_aucs(labels, components, cluster_codes(clusters, len(labels)))
    shape = (2, n_seeds)
    merit = MeritEstimates(found.auc.reshape(shape), found.covariance.reshape(*shape, *shape))
    names, seeds = ("first", "second"), tuple(str(index) for index in range(n_seeds))
    result = obuchowski_rockette(merit, names, seeds, "random readers and cases", level)
    fixed = obuchowski_rockette(merit, names, seeds, "fixed readers", level)
    contrast = result.differences[0]
    means = [_mean(mean, merit.values[index], level) for index, mean in enumerate(result.means)]
    return SeedComparison(
        means[0],
        means[1],
        contrast.estimate,
        contrast.se,
        contrast.df,
        contrast.ci,
        contrast.p_value,
        fixed.differences[0].p_value,
    )


@dataclass(frozen=True)
class CohortScores:
    """What a procedure says of one cohort with S seeds.

    Attributes:
        y_true: labels of 0 and 1, shape (N,).
        scores: one row a seed, shape (S, N).
        against: scores to be compared with, subtracted: of another procedure with the same seeds, shape (S, N), or of
            something without seeds, shape (N,); None for the AUC itself.
        clusters: patient of each case.
        sign: 1, or -1 for a cohort that is subtracted.
    """

    y_true: npt.ArrayLike
    scores: npt.ArrayLike
    against: npt.ArrayLike | None = None
    clusters: Clusters = None
    sign: int = 1


@dataclass(frozen=True)
class SeedContrast:
    """A sum of AUCs, or of their differences, over cohorts that share no patient; its seeds and cases are random.

    Attributes:
        estimate: mean over the seeds.
        se, df, ci: t; with a single seed normal, and of that seed alone.
        p_value: two-sided, that it is 0.
        by_seed: value of each seed.
    """

    estimate: float
    se: float
    df: float
    ci: tuple[float, float]
    p_value: float
    by_seed: tuple[float, ...]


def seed_contrast(cohorts: Sequence[CohortScores], level: float = 0.95) -> SeedContrast:
    """Single-modality Obuchowski-Rockette analysis of a contrast, seeds as readers.

    One cohort with `against` is the paired comparison of two procedures (the same as `compare_over_seeds`); two
    cohorts, the second with sign -1, are the drop from one to the other, and with `against` the interaction: by how
    much more one procedure drops than the other. Covariances over cases are Obuchowski's of 1997; cohorts add up. In
    400 draws a scenario a drop covers 0.93 to 0.96 and none is rejected in 0.04 to 0.08, most where 5 % are
    positive (docs/results/coverage.csv).
    Source: Hillis, Statistics in Medicine 2014; 33: 330 (single modalities); Obuchowski, Biometrics 1997; 53: 567.

    Raises:
        ValueError: the cohorts have different numbers of seeds.
    """
    values: list[FloatArray] = []
    covariances: list[FloatArray] = []
    for cohort in cohorts:
        labels = binary_labels(cohort.y_true)
        scores = np.atleast_2d(finite_scores(cohort.scores, len(labels)))
        n_seeds, weights = len(scores), np.eye(len(scores))
        if cohort.against is not None:
            other = np.atleast_2d(finite_scores(cohort.against, len(labels)))
            if len(other) not in (1, n_seeds):
                raise ValueError(f"Both procedures need the same seeds; got {n_seeds} and {len(other)}.")
            scores = np.concatenate([scores, other])
            weights = np.hstack([weights, -np.ones((n_seeds, 1)) if len(other) == 1 else -np.eye(n_seeds)])
        components = structural_components(labels, scores).contrast(weights)
        found = clustered_aucs(labels, components, cluster_codes(cohort.clusters, len(labels)))
        values.append(cohort.sign * found.auc)
        covariances.append(found.covariance)
    if len({len(item) for item in values}) != 1:
        raise ValueError(f"Every cohort needs the same seeds; got {[len(item) for item in values]}.")
    total, covariance = np.sum(values, axis=0), np.sum(covariances, axis=0)
    design: Design = "random readers and cases" if len(total) > 1 else "fixed readers"
    mean = single_modality_mean("seeds", total, covariance, design, level)
    p_value = t_test(mean.estimate, mean.se, mean.df).p_value
    return SeedContrast(mean.estimate, mean.se, mean.df, mean.ci, p_value, tuple(float(value) for value in total))


def _mean(mean: Estimate, values: FloatArray, level: float) -> SeedMean:
    ci = bounded_interval(mean.estimate, mean.se, mean.df, level)
    return SeedMean(mean.estimate, mean.se, mean.df, ci, tuple(float(value) for value in values))
