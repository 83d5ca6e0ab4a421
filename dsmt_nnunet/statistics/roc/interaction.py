"""Whether an AUC, or the difference of two, is the same at all levels of a group."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import f as f_distribution

from dsmt_nnunet.statistics.checks import FloatArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.named_warnings import OneCaseInClassWarning
from dsmt_nnunet.statistics.roc.delong import structural_components
from dsmt_nnunet.statistics.roc.influence import auc_influence

INTERACTION_TEST = "Wald, Hotelling's F over patients"
MIN_HOLDERS = 5
"""Patients of either class below which a level is left out: its variance is not known."""


@dataclass(frozen=True)
class Interaction:
    """Test that a figure is equal at G levels.

    Attributes:
        estimates: of each level that was tested.
        levels: their indices among those given.
        statistic: F.
        df: of F; the second counts, in each level, the patients who hold its rarer class.
        p_value: NaN where fewer than two levels can be tested.
    """

    estimates: tuple[float, ...]
    levels: tuple[int, ...]
    statistic: float
    df: tuple[int, int]
    p_value: float


def auc_interaction(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    levels: Sequence[npt.ArrayLike],
    clusters: Clusters = None,
    names: Sequence[str] | None = None,
) -> Interaction:
    """Test over all levels at once that the AUC of a score (or the difference of two) does not depend on the level.

    A Wald test of G - 1 contrasts in Hotelling's form; the covariance of the levels is that of the patients'
    contributions, so a patient may have cases at several. Levels with fewer than `MIN_HOLDERS` patients of either class
    are left out with an `OneCaseInClassWarning`.
    Source: Obuchowski, Biometrics 1997; 53: 567 (contributions of clusters); Wang et al., NEJM 2007; 357: 2189 (test
    the interaction, not each subgroup).

    Args:
        y_true: labels of 0 and 1, shape (N,).
        scores: shape (N,), or (2, N) for the interaction of their difference, first minus second.
        levels: which cases are at each level, masks of shape (N,) without a case in common.
        clusters: patient of each case.
        names: of the levels, for warnings; None for their numbers.
    """
    labels = binary_labels(y_true)
    table = np.atleast_2d(finite_scores(scores, len(labels)))
    codes = cluster_codes(clusters, len(labels))
    estimates, contributions, used, holders = [], [], [], []
    for index, level in enumerate(levels):
        inside = np.asarray(level, dtype=bool)
        held = [len(np.unique(codes[inside & part])) for part in (labels, ~labels)]
        if min(held) < MIN_HOLDERS:
            name = index if names is None else f"'{names[index]}'"
            message = f"Level {name} is left out of the interaction: {min(held)} patients hold one of its classes."
            warnings.warn(message, OneCaseInClassWarning, stacklevel=2)
            continue
        found = [structural_components(labels[inside], score[inside]) for score in table]
        signs = (1.0, -1.0)[: len(found)]
        estimates.append(sum(sign * float(item.auc[0]) for sign, item in zip(signs, found, strict=True)))
        contributions.append(
            sum(
                sign * auc_influence(labels[inside], item, codes[inside], int(codes.max()) + 1)
                for sign, item in zip(signs, found, strict=True)
            )
        )
        used.append(index)
        holders.append(min(held))
    # A level is known as well as the class that fewest patients hold there lets it be.
    sums = np.stack(contributions) * np.sqrt([[(count - 1) / count] for count in holders]) if used else np.empty((0, 0))
    return equal_at_all_levels(tuple(estimates), tuple(used), sums @ sums.T, holders)


def equal_at_all_levels(
    estimates: tuple[float, ...], levels: tuple[int, ...], covariance: FloatArray, holders: Sequence[int]
) -> Interaction:
    """Wald test of G - 1 contrasts in Hotelling's form, that estimates at G levels are equal.

    Args:
        estimates: of each level.
        levels: their indices.
        covariance: of the estimates, shape (G, G).
        holders: patients that each estimate rests on.
    """
    n_levels = len(estimates)
    nothing = Interaction(estimates, levels, math.nan, (max(n_levels - 1, 0), 0), math.nan)
    if n_levels < 2:
        return nothing
    known = sum(holders) - n_levels
    contrast = np.hstack([np.ones((n_levels - 1, 1)), -np.eye(n_levels - 1)])
    spread = contrast @ covariance @ contrast.T
    df = (n_levels - 1, known - n_levels + 2)
    if df[1] < 1 or np.linalg.matrix_rank(spread, tol=1e-12, hermitian=True) < n_levels - 1:
        return nothing
    difference = contrast @ np.array(estimates)
    statistic = float(difference @ np.linalg.solve(spread, difference)) * df[1] / (df[0] * known)
    return Interaction(estimates, levels, statistic, df, float(f_distribution.sf(statistic, *df)))
