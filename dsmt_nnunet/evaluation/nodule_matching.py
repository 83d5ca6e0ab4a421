"""Which predicted nodule is which true one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.statistics.checks import FloatArray, IntArray

MIN_DISTANCE_LIMIT_MM = 10.0
"""A centre may be this far off, or the nodule's radius if that is more."""


@dataclass(frozen=True)
class NoduleMatch:
    """Indices of a true and a predicted nodule of one case, and the distance of their centres in mm."""

    truth: int
    predicted: int
    distance_mm: float


def match_nodules(
    truth: Sequence[Nodule], predicted_mm: npt.ArrayLike, max_distance_mm: float | None = None
) -> tuple[NoduleMatch, ...]:
    """One-to-one matches: as many as the distance limit allows, and of those the ones with the least total distance.

    Args:
        truth: nodules of one case.
        predicted_mm: centres of the predicted ones, (x, y, z) in mm LPS, shape (P, 3).
        max_distance_mm: limit of the distance between centres; by default for each true nodule the larger of
            `MIN_DISTANCE_LIMIT_MM` and half its diameter.

    Returns:
        Matches in the order of `truth`; nodules on either side that are not in it are missed or extra.
    """
    centres = np.asarray(predicted_mm, dtype=np.float64).reshape(-1, 3)
    if not len(truth) or not len(centres):
        return ()
    distances = _distances(truth, centres)
    limits = np.array([distance_limit_mm(nodule, max_distance_mm) for nodule in truth])
    allowed = distances <= limits[:, None]
    forbidden = 1.0 + distances[allowed].sum() if allowed.any() else 1.0
    rows, columns = linear_sum_assignment(np.where(allowed, distances, forbidden))
    return tuple(
        NoduleMatch(int(row), int(column), float(distances[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if allowed[row, column]
    )


DUPLICATE, FALSE = -2, -1
"""A mark of a nodule that a more certain mark has hit already, and one that lies near none."""


def hits_of_marks(
    truth: Sequence[Nodule], marks_mm: npt.ArrayLike, scores: npt.ArrayLike, max_distance_mm: float | None = None
) -> IntArray:
    """Index of the true nodule that each mark hits, or `DUPLICATE`, or `FALSE`, shape (P,).

    The most certain mark chooses first, the nearest of the nodules within its limit that nobody has hit. So what is a
    hit at some score remains one whatever fainter marks there are, as a FROC curve needs it.
    Source: Setio et al., Medical Image Analysis 2017; 42: 1 (a further mark of a nodule counts neither way).

    Args:
        truth: nodules of one scan.
        marks_mm: (x, y, z) in mm LPS, shape (P, 3).
        scores: shape (P,).
        max_distance_mm: limit of the distance; None for that of `match_nodules`.
    """
    centres = np.asarray(marks_mm, dtype=np.float64).reshape(-1, 3)
    found = np.full(len(centres), FALSE, dtype=np.int64)
    if not len(truth) or not len(centres):
        return found
    distances = _distances(truth, centres)
    distances[distances > np.array([distance_limit_mm(nodule, max_distance_mm) for nodule in truth])[:, None]] = np.inf
    for mark in np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable").tolist():
        near = np.isfinite(distances[:, mark])
        if near.any():
            free = np.where(np.isin(np.arange(len(truth)), found), np.inf, distances[:, mark])
            found[mark] = int(free.argmin()) if np.isfinite(free).any() else DUPLICATE
    return found


def distance_limit_mm(nodule: Nodule, max_distance_mm: float | None = None) -> float:
    """How far a predicted centre may lie from a true nodule."""
    if max_distance_mm is not None:
        return max_distance_mm
    radius = 0.0 if math.isnan(nodule.diameter_mm) else nodule.diameter_mm / 2
    return max(MIN_DISTANCE_LIMIT_MM, radius)


def _distances(truth: Sequence[Nodule], centres_mm: FloatArray) -> FloatArray:
    positions = np.array([nodule.centre_mm for nodule in truth])
    return np.asarray(np.linalg.norm(positions[:, None, :] - centres_mm[None, :, :], axis=2), dtype=np.float64)
