"""Two training procedures whose seeds and cases are both drawn from many."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import FloatArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.named_warnings import SmallSampleWarning
from dsmt_nnunet.statistics.readers.merit_covariance import MeritEstimates
from dsmt_nnunet.statistics.readers.obuchowski_rockette import Estimate, obuchowski_rockette
from dsmt_nnunet.statistics.roc.clustered import clustered_aucs
from dsmt_nnunet.statistics.roc.delong import structural_components
from dsmt_nnunet.statistics.roc.interval import bounded_interval

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
    say little about seeds: a `SmallSampleWarning`.
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


def _mean(mean: Estimate, values: FloatArray, level: float) -> SeedMean:
    ci = bounded_interval(mean.estimate, mean.se, mean.df, level)
    return SeedMean(mean.estimate, mean.se, mean.df, ci, tuple(float(value) for value in values))
