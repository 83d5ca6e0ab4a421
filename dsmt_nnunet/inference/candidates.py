"""What a search marks in a scan: components of the nodule mask, and fainter ones beside them, each with its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
import torch

from dsmt_nnunet.geometry import NoduleInstance, labelled_instances
from dsmt_nnunet.predictions.results import MIN_CANDIDATE_PROBABILITY, Candidate, NodulePrediction
from dsmt_nnunet.statistics.checks import FloatArray

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Findings:
    """Answers of a scan.

    Attributes:
        nodules: in the order given, or found, the largest first.
        candidates: of a search, beside the nodules; None where these were given.
    """

    nodules: tuple[NodulePrediction, ...]
    candidates: tuple[Candidate, ...] | None = None


@dataclass(frozen=True)
class ScoredInstance:
    """A component, and the log odds of nodule in its most certain voxel."""

    instance: NoduleInstance
    score: float


@dataclass(frozen=True)
class ScanMarks:
    """All marks of a scan.

    Attributes:
        nodules: components of the nodule mask, the largest first, at most as many as are classified.
        faint: components of a nodule probability of `MIN_CANDIDATE_PROBABILITY` or more that hold no voxel of those,
            the most certain first; components of the mask that are too many to be classified are among them.
    """

    nodules: tuple[ScoredInstance, ...]
    faint: tuple[ScoredInstance, ...]


def scan_marks(
    logits: torch.Tensor, spacing_mm: Sequence[float], min_diameter_mm: float, max_nodules: int, max_faint: int
) -> ScanMarks:
    """Finds the marks of a scan.

    Args:
        logits: (K, Z, Y, X), background first.
        spacing_mm: voxel size.
        min_diameter_mm: smaller components are no nodules; of faint ones, whose rim is larger, the same.
        max_nodules: at most so many nodules.
        max_faint: at most so many faint marks.
    """
    mask = (logits.argmax(0) > 0).numpy()
    log_odds = (torch.logsumexp(logits[1:].float(), 0) - logits[0]).numpy()
    labels, found = labelled_instances(mask, spacing_mm, min_diameter_mm)
    nodules = found[:max_nodules]
    below = np.log(MIN_CANDIDATE_PROBABILITY / (1 - MIN_CANDIDATE_PROBABILITY))
    around = cc3d.connected_components(np.ascontiguousarray((log_odds >= below) | mask), connectivity=26)
    kept = np.zeros(int(labels.max()) + 1, dtype=bool)
    kept[[item.label for item in nodules]] = True
    taken = np.zeros(int(around.max()) + 1, dtype=bool)
    taken[np.unique(around[kept[labels]])] = True
    faint_labels, faint = labelled_instances(np.where(taken[around], 0, around) > 0, spacing_mm, min_diameter_mm)
    scored = sorted(_scored(faint, faint_labels, log_odds), key=lambda item: -item.score)
    left_out = len(found) - len(nodules)
    if left_out:
        print(
            f"{len(found)} nodule candidates, of which the {max_nodules} largest are classified. So many mean that the "
            f"segmentation has not learnt yet, or does not fit these scans."
        )
    return ScanMarks(tuple(_scored(nodules, labels, log_odds)), tuple(scored[:max_faint]))


def _scored(instances: Sequence[NoduleInstance], labels: Array, log_odds: FloatArray) -> list[ScoredInstance]:
    inside = labels > 0
    highest = np.full(int(labels.max()) + 1, -np.inf)
    np.maximum.at(highest, labels[inside], log_odds[inside])
    return [ScoredInstance(item, float(highest[item.label])) for item in instances]
