"""What a threshold that is chosen on some patients gives on others: the honest figures of a choice on the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.decisions.threshold import ThresholdChoice

Choose = Callable[[BoolArray, FloatArray], ThresholdChoice]
MIN_DRAWS = 20
MAX_DRAWS = 500


@dataclass(frozen=True)
class Elsewhere:
    """Sensitivity and specificity on patients who did not choose the threshold, means and percentile intervals.

    The intervals hold what a threshold chosen on a sample of this size gives on one of about a third of it: they are of
    the choice and of the sample judged, and wide for it.
    """

    sensitivity: float
    sensitivity_ci: tuple[float, float]
    specificity: float
    specificity_ci: tuple[float, float]
    n_draws: int


def chosen_elsewhere(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    choose: Choose,
    clusters: Clusters = None,
    level: float = 0.95,
    n_resamples: int = MAX_DRAWS,
    seed: int = 0,
) -> Elsewhere:
    """Out-of-bag bootstrap: patients are drawn, the threshold is chosen on them and judged on those not drawn.

    Draws in which either side lacks a class are left out; fewer than `MIN_DRAWS` of them leave all undefined.
    Source: Efron and Tibshirani, JASA 1997; 92: 548 (the leave-one-out bootstrap).

    Args:
        y_true: labels of 0 and 1, shape (N,).
        y_score: shape (N,).
        choose: the rule, e.g. `youden_threshold`.
        clusters: patient of each case.
        level: confidence level.
        n_resamples: draws, at most `MAX_DRAWS` are made.
        seed: of the draws.
    """
    labels = binary_labels(y_true)
    scores, codes = finite_scores(y_score, len(labels)), cluster_codes(clusters, len(labels))
    n_patients = int(codes.max()) + 1 if len(codes) else 0
    rng, found = np.random.default_rng(seed), []
    for _ in range(min(n_resamples, MAX_DRAWS)):
        counts = np.bincount(rng.integers(0, n_patients, n_patients), minlength=n_patients)[codes]
        drawn, out = np.repeat(np.arange(len(labels)), counts), counts == 0
        if any(not 0 < part.sum() < len(part) for part in (labels[drawn], labels[out])):
            continue
        called = scores[out] >= choose(labels[drawn], scores[drawn]).threshold
        found.append([called[labels[out]].mean(), (~called[~labels[out]]).mean()])
    if len(found) < MIN_DRAWS:
        nan = math.nan
        return Elsewhere(nan, (nan, nan), nan, (nan, nan), len(found))
    values = np.array(found)
    limits = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    means = values.mean(axis=0)
    return Elsewhere(
        float(means[0]),
        (float(limits[0, 0]), float(limits[1, 0])),
        float(means[1]),
        (float(limits[0, 1]), float(limits[1, 1])),
        len(found),
    )
