"""Batches of both scales, centred on nodules, balanced over the classes of the primary task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from threadpoolctl import ThreadpoolController
from torch import Tensor

from dsmt_nnunet.dataloading.augmentation import CONTEXT_MARGIN, MOVE, DualScaleTransforms
from dsmt_nnunet.dataloading.background import end_with_parent
from dsmt_nnunet.dataloading.context_volumes import ContextStore, ContextVolume
from dsmt_nnunet.dataloading.padding import fill_values
from dsmt_nnunet.dataloading.sampling import NO_NODULE, NoduleSampler, SampledNodule, balanced_labels
from dsmt_nnunet.geometry import ArrayGeometry, Point, Scalar, centred_start, crop, middle_start
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.tasks import UNKNOWN_LABEL

LUNG_SHARE = 0.75
"""Of the patches that are drawn without a nodule in mind."""
EMPTY_SHARE = 0.5
"""Of them, what shows a case without any nodule, if there are some."""
LUNG_HU = (-950.0, -500.0)
_TRIES = 30
_CASES_AT_HAND = 64
Item = TypeVar("Item")


Voxel = npt.NDArray[np.float64]


class Batch(TypedDict):
    """nnU-Net's batch with the context, the labels and the nodules.

    `data` (B, C, *axes); `target` (B, 1, *axes), a list with deep supervision; `context` (B, C, G, G, G); `labels`
    (B, T) int64; `nodules` (B,), the index of each sample's nodule in the list the loader was given or `NO_NODULE`;
    `keys`, the cases.
    """

    data: Tensor
    target: Tensor | list[Tensor]
    context: Tensor
    labels: Tensor
    nodules: npt.NDArray[np.int_]
    keys: list[str]


@dataclass(frozen=True)
class _Sample:
    """One of a batch, transformed; its target is a list with deep supervision."""

    image: Tensor
    target: Tensor | list[Tensor]
    context: Tensor
    labels: tuple[int, ...]
    nodule: int
    case_id: str


@dataclass(frozen=True)
class _OpenCase:
    """A preprocessed case: its arrays (C, Z, Y, X), read by the piece, and the value a channel outside of it."""

    data: Any
    segmentation: Any
    fill: list[float]


@dataclass(frozen=True)
class _Box:
    """A box of an array, which may reach outside: its first voxel and its size."""

    start: tuple[int, ...]
    size: tuple[int, ...]

    @classmethod
    def around(cls, voxel: Point, size: Sequence[float] | npt.NDArray[np.floating[Any]]) -> _Box:
        whole = tuple(int(length) for length in size)
        return cls(centred_start(voxel, whole), whole)

    def middle(self, size: Sequence[int]) -> _Box:
        whole = tuple(int(length) for length in size)
        return _Box(middle_start(self.start, self.size, whole), whole)

    def of(self, array: npt.NDArray[Scalar], fill: Sequence[float]) -> npt.NDArray[Scalar]:
        """(C, *size) of an array, `fill` where the box reaches outside."""
        return crop(array, self.start, self.size, fill)


class DualScaleDataLoader(nnUNetDataLoader):
    """nnU-Net's loader with a context patch, labels and nodule-centred patches, see `Batch`."""

    def __init__(
        self,
        *args: Any,
        nodules: Sequence[SampledNodule],
        store: ContextStore,
        plan: DSMTPlan,
        spacing_mm: Sequence[float],
        training: bool,
        rank: int = 0,
        ranks: int = 1,
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
            rank, ranks: of the processes of a distributed training, which share what is taken in turn.
        """
        super().__init__(*args, **kwargs)
        self.nodules = list(nodules)
        self.store = store
        self.plan = plan
        self.spacing_mm = np.asarray(spacing_mm, dtype=float)
        self.training = training
        holding = {nodule.case_id for nodule in self.nodules}
        self._empty_cases = [str(case_id) for case_id in self.indices if case_id not in holding]
        self.sampler = NoduleSampler(balanced_labels(self.nodules, plan))
        self._geometries: dict[str, ArrayGeometry] = {}
        self._volumes: dict[str, ContextVolume] = {}
        self._cases: dict[str, _OpenCase] = {}
        self._threads: ThreadpoolController | None = None
        self._next_in_turn, self._step = rank, ranks

    def set_thread_id(self, thread_id: int) -> None:
        """Called once in each process that makes batches."""
        super().set_thread_id(thread_id)
        end_with_parent()

    def generate_train_batch(self) -> Batch:
        """One batch."""
        if self._threads is None:
            # Looking the libraries up for every batch, as nnU-Net does, takes milliseconds.
            self._threads = ThreadpoolController()
        with torch.no_grad(), self._threads.limit(limits=1):
            samples = [self._sample(index) for index in self._draw_batch()]
        return Batch(
            data=torch.stack([sample.image for sample in samples]).float(),
            target=_stacked([sample.target for sample in samples]),
            context=torch.stack([sample.context for sample in samples]).float(),
            labels=torch.tensor([sample.labels for sample in samples], dtype=torch.int64),
            nodules=np.array([sample.nodule for sample in samples]),
            keys=[sample.case_id for sample in samples],
        )

    def _draw_batch(self) -> list[int]:
        if not self.nodules:
            return [NO_NODULE] * self.batch_size
        if not self.training:
            return [self._draw_in_turn() for _ in range(self.batch_size)]
        share = self.plan.training.background_share
        return [NO_NODULE if np.random.uniform() < share else self.sampler.draw() for _ in range(self.batch_size)]

    def _draw_in_turn(self) -> int:
        """The nodules one after the other, over and over; of several ranks each takes its own."""
        index = self._next_in_turn % len(self.nodules)
        self._next_in_turn += self._step
        return index

    def _sample(self, index: int) -> _Sample:
        if index == NO_NODULE:
            case_id = self._case_of_background()
            labels: tuple[int, ...] = (UNKNOWN_LABEL,) * len(self.plan.schema.tasks)
        else:
            case_id, labels = self.nodules[index].case_id, self.nodules[index].labels
        case = self._case(case_id)
        centre = self._centre(index, case_id, case.data.shape[1:])
        local = _Box.around(centre, self.patch_size)
        volume, grid = self._volume(case_id), [self.plan.context.grid] * 3
        point = volume.geometry.to_voxel(self._geometry(case_id).to_world(centre))
        around = _Box.around(point, np.ceil(np.multiply(grid, CONTEXT_MARGIN)) if self.training else grid)
        move: dict[str, Any] = {}
        if isinstance(self.transforms, DualScaleTransforms):
            move[MOVE], still = self.transforms.draw(local.size)
            if still:
                local, around = local.middle(self.final_patch_size), around.middle(grid)
        transformed = self.transforms(
            image=torch.from_numpy(local.of(case.data, case.fill)).float(),
            segmentation=torch.from_numpy(local.of(case.segmentation, [-1]).astype(np.int16)),
            context=torch.from_numpy(around.of(volume.array, volume.fill)),
            image_fill=case.fill,
            context_fill=volume.fill,
            **move,
        )
        image, target, moved = (transformed[name] for name in ("image", "segmentation", "context"))
        return _Sample(image, target, moved, labels, index, case_id)

    def _case_of_background(self) -> str:
        """Any case; every second time one without a nodule, if there are some: nothing else shows their tissue."""
        of_empty = self._empty_cases and np.random.uniform() < EMPTY_SHARE
        return str(np.random.choice(self._empty_cases if of_empty else self.indices))

    def _volume(self, case_id: str) -> ContextVolume:
        """The coarse copy, mapped rather than read."""
        return _kept(self._volumes, case_id, self._volumes.get(case_id) or self.store.load(case_id))

    def _case(self, case_id: str) -> _OpenCase:
        """The preprocessed case; opened once where it is read by the piece."""
        opened = self._cases.get(case_id)
        if opened is None:
            data, segmentation, _, _ = self._data.load_case(case_id)
            opened = _OpenCase(data, segmentation, fill_values(self.plan.padding_value, data))
            if isinstance(data, np.ndarray):  # in memory, which many of them would fill
                return opened
        return _kept(self._cases, case_id, opened)

    def _geometry(self, case_id: str) -> ArrayGeometry:
        if case_id not in self._geometries:
            self._geometries[case_id] = self.store.local_geometry(case_id)
        return self._geometries[case_id]

    def _anywhere(self, case_id: str, shape: Sequence[int]) -> Voxel:
        """A voxel of the scan, mostly of lung: there the search has to tell nodules from vessels and pleura."""
        in_lung = self.plan.context.windows[0] is not None and np.random.uniform() < LUNG_SHARE
        centre = np.zeros(3)
        for _ in range(_TRIES if in_lung else 1):
            centre = np.array([np.random.uniform(0, length - 1) for length in shape])
            if in_lung and self._is_lung(case_id, centre):
                break
        return centre

    def _is_lung(self, case_id: str, voxel: Voxel) -> bool:
        volume = self._volume(case_id)
        position = volume.geometry.to_voxel(self._geometry(case_id).to_world(voxel))
        z, y, x = np.clip(np.rint(position).astype(int), 0, np.array(volume.geometry.shape) - 1)
        window = self.plan.context.windows[0]
        assert window is not None
        low, high = window
        hu = low + (float(volume.array[0, z, y, x]) + 1) * (high - low) / 2
        return LUNG_HU[0] < hu < LUNG_HU[1]

    def _centre(self, index: int, case_id: str, shape: Sequence[int]) -> Voxel:
        if index == NO_NODULE:
            return self._anywhere(case_id, shape)
        voxel = np.asarray(self.nodules[index].voxel)
        if not self.training:
            return voxel
        jitter = self.plan.training.jitter_mm
        moved: Voxel = voxel + np.random.uniform(-jitter, jitter, size=3) / self.spacing_mm
        return moved


def _kept(items: dict[str, Item], case_id: str, item: Item) -> Item:
    """An item, which from now on is at hand: each is an open file, so only the latest are."""
    items.pop(case_id, None)
    items[case_id] = item
    if len(items) > _CASES_AT_HAND:
        del items[next(iter(items))]
    return item


def _stacked(targets: Sequence[Tensor | list[Tensor]]) -> Tensor | list[Tensor]:
    """Targets of samples as that of a batch: a tensor, or one a scale."""
    single = [target for target in targets if isinstance(target, Tensor)]
    if len(single) == len(targets):
        return torch.stack(single)
    return [torch.stack(scale) for scale in zip(*targets, strict=True)]
