"""Batches of both scales, centred on nodules, balanced over the classes of the primary task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from threadpoolctl import ThreadpoolController

from dsmt_nnunet.dataloading.augmentation import CONTEXT_MARGIN
from dsmt_nnunet.dataloading.context_volumes import ContextStore, ContextVolume
from dsmt_nnunet.geometry import ArrayGeometry, centred_start, crop
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.tasks import UNKNOWN_LABEL, NoduleTable

NO_NODULE = -1
"""Index of a patch that was drawn anywhere."""

LUNG_SHARE = 0.75
"""Of the patches that are drawn without a nodule in mind."""
LUNG_HU = (-950.0, -500.0)
_TRIES = 30
_VOLUMES_AT_HAND = 64

MAX_CLASS_WEIGHT = 10.0


@dataclass(frozen=True)
class SampledNodule:
    """A nodule as the loader needs it.

    Attributes:
        case_id: case that holds it.
        voxel: centre in voxel coordinates of the preprocessed array.
        labels: class index of each task, `UNKNOWN_LABEL` where not known.
    """

    case_id: str
    voxel: tuple[float, float, float]
    labels: tuple[int, ...]


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
            labels = nodule.label_indices(plan.schema)
            located.append(SampledNodule(case_id, (float(voxel[0]), float(voxel[1]), float(voxel[2])), labels))
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


class DualScaleDataLoader(nnUNetDataLoader):
    """nnU-Net's loader with a context patch, labels and nodule-centred patches.

    A batch is nnU-Net's (`data`, `target`, `keys`) with `context` (B, C, G, G, G), `labels` (B, T) int64 and `nodules`
    (B,), the index of each sample's nodule in the list the loader was given or `NO_NODULE`.
    """

    def __init__(
        self,
        *args: Any,
        nodules: Sequence[SampledNodule],
        store: ContextStore,
        plan: DSMTPlan,
        spacing_mm: Sequence[float],
        training: bool,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            *args, **kwargs: of nnU-Net's loader.
            nodules: all nodules of its cases.
            store: coarse copies of its cases.
            plan: sampling and context.
            spacing_mm: voxel size of the configuration.
            training: with jitter, balance and background patches; otherwise the nodules in turn, centred.
        """
        super().__init__(*args, **kwargs)
        self.nodules = list(nodules)
        self.store = store
        self.plan = plan
        self.spacing_mm = np.asarray(spacing_mm, dtype=float)
        self.training = training
        self.sampler = NoduleSampler([nodule.labels[plan.schema.primary_index] for nodule in self.nodules])
        self._geometries: dict[str, ArrayGeometry] = {}
        self._volumes: dict[str, ContextVolume] = {}
        self._threads: ThreadpoolController | None = None
        self._next_in_turn = 0

    def generate_train_batch(self) -> dict[str, Any]:
        """One batch; see the class."""
        if self._threads is None:
            # Looking the libraries up for every batch, as nnU-Net does, takes milliseconds.
            self._threads = ThreadpoolController()
        with torch.no_grad(), self._threads.limit(limits=1):
            samples = [self._sample(index) for index in self._draw_batch()]
        targets = [sample["segmentation"] for sample in samples]
        target: Any = (
            [torch.stack(scale) for scale in zip(*targets, strict=True)]
            if isinstance(targets[0], list)
            else torch.stack(targets)
        )
        return {
            "data": torch.stack([sample["image"] for sample in samples]).float(),
            "target": target,
            "context": torch.stack([sample["context"] for sample in samples]).float(),
            "labels": torch.tensor([sample["labels"] for sample in samples], dtype=torch.int64),
            "nodules": np.array([sample["nodule"] for sample in samples]),
            "keys": [sample["key"] for sample in samples],
        }

    def _draw_batch(self) -> list[int]:
        if not self.nodules:
            return [NO_NODULE] * self.batch_size
        if not self.training:
            return [self._draw_in_turn() for _ in range(self.batch_size)]
        share = self.plan.training.background_share
        return [NO_NODULE if np.random.uniform() < share else self.sampler.draw() for _ in range(self.batch_size)]

    def _draw_in_turn(self) -> int:
        """The nodules one after the other, over and over."""
        index = self._next_in_turn % len(self.nodules)
        self._next_in_turn = index + 1
        return index

    def _sample(self, index: int) -> dict[str, Any]:
        if index == NO_NODULE:
            case_id = str(np.random.choice(self.indices))
            labels: tuple[int, ...] = (UNKNOWN_LABEL,) * len(self.plan.schema.tasks)
        else:
            case_id, labels = self.nodules[index].case_id, self.nodules[index].labels
        data, segmentation, _, _ = self._data.load_case(case_id)
        fill = fill_values(self.plan.padding_value, data)
        centre = self._centre(index, case_id, data.shape[1:])
        size = [int(length) for length in self.patch_size]
        start = centred_start(centre, size)
        grid = self.plan.context.grid
        context_size = int(np.ceil(grid * CONTEXT_MARGIN)) if self.training else grid
        volume = self._volume(case_id)
        context = volume.patch(self._geometry(case_id).to_world(centre), context_size)
        sample: dict[str, Any] = {
            "image": torch.from_numpy(crop(data, start, size, fill)).float(),
            "segmentation": torch.from_numpy(crop(segmentation, start, size, [-1]).astype(np.int16)),
            "context": torch.from_numpy(context),
            "image_fill": fill,
            "context_fill": volume.fill,
        }
        transformed = self.transforms(**sample)
        return {**transformed, "labels": labels, "nodule": index, "key": case_id}

    def _volume(self, case_id: str) -> ContextVolume:
        """The coarse copy, mapped rather than read; each mapping is an open file, so only the latest are kept."""
        volume = self._volumes.pop(case_id, None)
        self._volumes[case_id] = volume if volume is not None else self.store.load(case_id)
        if len(self._volumes) > _VOLUMES_AT_HAND:
            del self._volumes[next(iter(self._volumes))]
        return self._volumes[case_id]

    def _geometry(self, case_id: str) -> ArrayGeometry:
        if case_id not in self._geometries:
            self._geometries[case_id] = self.store.local_geometry(case_id)
        return self._geometries[case_id]

    def _anywhere(self, case_id: str, shape: Sequence[int]) -> npt.NDArray[Any]:
        """A voxel of the scan, mostly of lung: there the search has to tell nodules from vessels and pleura."""
        in_lung = self.plan.context.windows[0] is not None and np.random.uniform() < LUNG_SHARE
        centre = np.zeros(3)
        for _ in range(_TRIES if in_lung else 1):
            centre = np.array([np.random.uniform(0, length - 1) for length in shape])
            if in_lung and self._is_lung(case_id, centre):
                break
        return centre

    def _is_lung(self, case_id: str, voxel: npt.NDArray[Any]) -> bool:
        volume = self._volume(case_id)
        position = volume.geometry.to_voxel(self._geometry(case_id).to_world(voxel))
        z, y, x = np.clip(np.rint(position).astype(int), 0, np.array(volume.geometry.shape) - 1)
        window = self.plan.context.windows[0]
        assert window is not None
        low, high = window
        hu = low + (float(volume.array[0, z, y, x]) + 1) * (high - low) / 2
        return LUNG_HU[0] < hu < LUNG_HU[1]

    def _centre(self, index: int, case_id: str, shape: Sequence[int]) -> npt.NDArray[Any]:
        if index == NO_NODULE:
            return self._anywhere(case_id, shape)
        voxel = np.asarray(self.nodules[index].voxel)
        if not self.training:
            return voxel
        jitter = self.plan.training.jitter_mm
        return voxel + np.random.uniform(-jitter, jitter, size=3) / self.spacing_mm


def fill_values(padding_value: Sequence[float | None], data: Any) -> list[float]:
    """Value a channel outside the scan: the plan's, or the lowest value of the case."""
    return [
        float(np.min(data[channel])) if value is None else float(value) for channel, value in enumerate(padding_value)
    ]


def class_weights(nodules: Sequence[SampledNodule], plan: DSMTPlan) -> Mapping[str, list[float]]:
    """Weight of each class in each task's loss, from the nodules of the training cases.

    Inverse to the class frequency, averaging 1 over the known nodules. The primary task is balanced by sampling
    already and has weights of 1.
    """
    weights: dict[str, list[float]] = {}
    for position, task in enumerate(plan.schema.tasks):
        labels = np.array([nodule.labels[position] for nodule in nodules], dtype=int)
        counts = np.array([np.count_nonzero(labels == index) for index in range(len(task.classes))])
        if task.name == plan.schema.primary_task or not counts.any():
            weights[task.name] = [1.0] * len(task.classes)
            continue
        present = counts > 0
        balanced = np.where(present, counts.sum() / (np.maximum(counts, 1) * present.sum()), 0.0)
        balanced = np.minimum(balanced, MAX_CLASS_WEIGHT)
        weights[task.name] = [float(value) for value in balanced]
    return weights
