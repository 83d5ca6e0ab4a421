"""Which nodules are drawn, how often, and what each class of them weighs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dsmt_nnunet.covariates import encode
from dsmt_nnunet.dataloading.context_volumes import ContextStore
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.tasks import UNKNOWN_LABEL, TaskKind

NO_NODULE = -1
"""Index of a patch that was drawn anywhere."""
MAX_CLASS_WEIGHT = 10.0


@dataclass(frozen=True)
class SampledNodule:
    """A nodule as the loader needs it.

    Attributes:
        case_id: case that holds it.
        voxel: centre in voxel coordinates of the preprocessed array.
        labels: class index of each task, `UNKNOWN_LABEL` where not known.
        targets: of each task the share of each class, see `Nodule.target`; None where not known.
        group: number of its patient among those of the list.
        covariates: the columns of the plan's covariates, NaN where not known.
    """

    case_id: str
    voxel: tuple[float, float, float]
    labels: tuple[int, ...]
    targets: tuple[tuple[float, ...] | None, ...] = ()
    group: int = 0
    covariates: tuple[float, ...] = ()


def locate_nodules(
    table: NoduleTable, case_ids: Sequence[str], store: ContextStore, plan: DSMTPlan
) -> list[SampledNodule]:
    """Nodules of some cases with their positions in the preprocessed arrays.

    Raises:
        ValueError: positions lie outside their scans; all of them are named.
    """
    located: list[SampledNodule] = []
    problems: list[str] = []
    nodules_of = table.by_case()
    groups: dict[str, int] = {}
    for case_id in case_ids:
        if case_id not in nodules_of:
            continue
        geometry = store.local_geometry(case_id)
        for nodule in nodules_of[case_id]:
            voxel = geometry.to_voxel(nodule.centre_mm)
            if not geometry.contains(voxel, margin_mm=5.0):
                problems.append(
                    f"case '{case_id}', nodule '{nodule.nodule_id}': the position {nodule.centre_mm} mm is voxel "
                    f"{np.round(voxel, 1).tolist()} of an array of {list(geometry.shape)} voxels"
                )
            located.append(
                SampledNodule(
                    case_id,
                    (float(voxel[0]), float(voxel[1]), float(voxel[2])),
                    nodule.label_indices(plan.schema),
                    tuple(nodule.target(task) for task in plan.schema.tasks),
                    groups.setdefault(nodule.patient_id, len(groups)),
                    encode(plan.covariates, nodule.covariates),
                )
            )
    if problems:
        raise ValueError(
            "Positions in nodules.csv must be mm in LPS, inside the scan, but:\n  " + "\n  ".join(problems)
        )
    return located


class NoduleSampler:
    """Draws nodules so that the known classes of the primary task come up equally often.

    Classes take turns, so that a batch holds each of them where it can; nodules of unknown class keep their share.
    """

    def __init__(self, labels: Sequence[int]) -> None:
        """
        Args:
            labels: class index of the primary task, `UNKNOWN_LABEL` where not known.
        """
        array = np.asarray(labels)
        self._unknown = np.flatnonzero(array == UNKNOWN_LABEL)
        self._classes = [np.flatnonzero(array == label) for label in np.unique(array[array != UNKNOWN_LABEL])]
        self._unknown_share = len(self._unknown) / max(1, len(array))
        self._turn: list[int] = []

    def draw(self) -> int:
        """Index of the next nodule."""
        if not self._classes or np.random.uniform() < self._unknown_share:
            return int(np.random.choice(self._unknown))
        if not self._turn:
            self._turn = list(np.random.permutation(len(self._classes)))
        return int(np.random.choice(self._classes[self._turn.pop()]))


def balanced_labels(nodules: Sequence[SampledNodule], plan: DSMTPlan) -> list[int]:
    """What a `NoduleSampler` balances: labels of the primary task; none of grades, each nodule being drawn as often."""
    if plan.schema.primary.kind is TaskKind.ORDINAL:
        return [UNKNOWN_LABEL] * len(nodules)
    return [nodule.labels[plan.schema.primary_index] for nodule in nodules]


def class_weights(nodules: Sequence[SampledNodule], plan: DSMTPlan) -> Mapping[str, list[float]]:
    """Weight of each class in each task's loss, from the nodules of the training cases.

    Inverse to the class frequency, averaging 1 over the known nodules. The primary task is balanced by sampling
    already and has weights of 1; grades have, since weights would bend the odds that they are to share.
    """
    weights: dict[str, list[float]] = {}
    for position, task in enumerate(plan.schema.tasks):
        labels = np.array([nodule.labels[position] for nodule in nodules], dtype=int)
        counts = np.array([np.count_nonzero(labels == index) for index in range(len(task.classes))])
        if task.name == plan.schema.primary_task or task.kind is TaskKind.ORDINAL or not counts.any():
            weights[task.name] = [1.0] * len(task.classes)
            continue
        present = counts > 0
        balanced = np.where(present, counts.sum() / (np.maximum(counts, 1) * present.sum()), 0.0)
        balanced = np.minimum(balanced, MAX_CLASS_WEIGHT)
        weights[task.name] = [float(value) for value in balanced]
    return weights
