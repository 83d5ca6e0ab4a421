"""Coarse copies of the scans, so that a context patch costs a small read.

They are made from the images rather than from the preprocessed data: nnU-Net clips CT to the intensities of the
foreground, here of nodules, and aerated lung lies below them. `<data_identifier>_context/CASE.npy` is a (C, Z, Y, X)
float16 array on an isotropic grid that begins at the corner of the scan; `CASE.json`, written after it, says where both
the coarse and the preprocessed array lie in the world.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.dataloading.mask_checks import checked_case
from dsmt_nnunet.dataloading.raw_masks import check_nodules, read_mask
from dsmt_nnunet.file_stamps import stamps_fit, stamps_of
from dsmt_nnunet.files import write_array, write_json
from dsmt_nnunet.geometry import ArrayGeometry, centred_start, crop
from dsmt_nnunet.image_files import check_scan_file, scan_digest
from dsmt_nnunet.intensities import check_scan
from dsmt_nnunet.nnunet_folders import RawCases
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.parallel import in_processes
from dsmt_nnunet.plan import ContextPlan

if TYPE_CHECKING:
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

Array = npt.NDArray[np.floating[Any]]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ContextVolume:
    """A coarse copy in memory or on disk (memory-mapped).

    Attributes:
        array: (C, Z, Y, X), float16, normalised intensities; axes in the order of the preprocessed array.
        geometry: where it lies in the world; its spacing is that of the coarse grid.
        fill: value a channel outside the scan: the lower end of the window, which in CT is air; without a window the
            channel's lowest.
    """

    array: Array
    geometry: ArrayGeometry
    fill: tuple[float, ...]

    def patch(self, point_mm: Sequence[float], size: int) -> Array:
        """The context patch around a world point.

        Args:
            point_mm: (x, y, z) in mm, LPS.
            size: voxels a side.

        Returns:
            (C, size, size, size), of the array's type.
        """
        start = centred_start(self.geometry.to_voxel(point_mm), (size,) * 3)
        return crop(self.array, start, (size,) * 3, self.fill)


def averaging_matrix(length: int, spacing_mm: float, coarse_spacing_mm: float) -> npt.NDArray[np.float32]:
    """(M, N) weights that resample one axis by averaging over boxes.

    Each coarse voxel is the mean of the fine signal (constant within a voxel) over its own extent; where the fine
    voxels are larger than the coarse ones, over the extent of a fine voxel, which is linear interpolation.

    Args:
        length: N, fine voxels.
        spacing_mm: of the fine voxels.
        coarse_spacing_mm: of the coarse voxels; M covers the whole extent.
    """
    extent = length * spacing_mm
    count = max(1, math.ceil(extent / coarse_spacing_mm - 1e-6))
    centres = (np.arange(count) + 0.5) * coarse_spacing_mm
    half_width = max(coarse_spacing_mm, spacing_mm) / 2
    low, high = centres - half_width, centres + half_width
    edges = np.arange(length + 1) * spacing_mm
    overlap = np.minimum(high[:, None], edges[None, 1:]) - np.maximum(low[:, None], edges[None, :-1])
    weights = np.clip(overlap, 0.0, None)
    weights[weights.sum(axis=1) <= 0, -1] = 1.0
    shares: npt.NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def coarse_copy(
    image: Array,
    properties: Mapping[str, Any],
    transpose_forward: Sequence[int],
    plan: ContextPlan,
    around: Sequence[Sequence[float]] | None = None,
) -> ContextVolume:
    """Normalises a scan for the context encoder and resamples it by averaging, so that nothing is aliased.

    Args:
        image: (C, Z, Y, X) as nnU-Net's reader gives it.
        properties: as the reader gives them.
        transpose_forward: of the plans.
        plan: coarse spacing, and the window of each channel.
        around: world points (x, y, z); only the part that context patches around them need is made. None for all.
    """
    array = np.asarray(image, dtype=np.float32).transpose([0, *(axis + 1 for axis in transpose_forward)])
    spacing = [float(properties["spacing"][axis]) for axis in transpose_forward]
    matrices = [averaging_matrix(n, fine, plan.spacing_mm) for n, fine in zip(array.shape[1:], spacing, strict=True)]
    shape = [len(matrix) for matrix in matrices]
    geometry = ArrayGeometry.of_coarse_grid(properties, transpose_forward, plan.spacing_mm, shape)
    low, high = [0, 0, 0], shape
    if around is not None and None not in plan.windows:
        starts = np.array([centred_start(geometry.to_voxel(point), (plan.grid,) * 3) for point in around])
        low = [int(value) for value in np.clip(starts.min(axis=0), 0, np.array(shape) - 1)]
        high = [int(value) for value in np.clip(starts.max(axis=0) + plan.grid, np.array(low) + 1, shape)]
    fine = [_needed(matrix[lo:hi]) for matrix, lo, hi in zip(matrices, low, high, strict=True)]
    part = array[(slice(None), *fine)]
    result = np.stack([_normalised(channel, window) for channel, window in zip(part, plan.windows, strict=True)])
    for axis, (matrix, lo, hi, columns) in enumerate(zip(matrices, low, high, fine, strict=True), start=1):
        result = np.moveaxis(np.tensordot(matrix[lo:hi, columns], result, axes=(1, axis)), 0, axis)
    coarse = np.ascontiguousarray(result).astype(np.float16)
    fill = [
        float(channel.min()) if window is None else -1.0 for channel, window in zip(coarse, plan.windows, strict=True)
    ]
    return ContextVolume(coarse, geometry.box(low, coarse.shape[1:]), tuple(fill))


def _needed(matrix: Array) -> slice:
    """The columns that some row of an averaging matrix looks at."""
    columns = np.flatnonzero(matrix.any(axis=0))
    return slice(int(columns[0]), int(columns[-1]) + 1)


def _normalised(channel: Array, window: tuple[float, float] | None) -> Array:
    """A window in HU to -1..1, clipped; without a window zero mean and unit variance."""
    if window is None:
        standardised: Array = (channel - channel.mean()) / max(float(channel.std()), 1e-8)
        return standardised
    low, high = window
    scaled: Array = np.clip((channel - low) * (2.0 / (high - low)) - 1.0, -1.0, 1.0)
    return scaled


def _folder_beside(preprocessed_folder: Path) -> Path:
    return preprocessed_folder.with_name(f"{preprocessed_folder.name}_context")


@dataclass(frozen=True)
class ContextStore:
    """The folder of coarse copies of one configuration.

    Attributes:
        folder: `<data_identifier>_context`.
        plan: how they are made; copies made otherwise are made again.
    """

    folder: Path
    plan: ContextPlan

    @classmethod
    def beside(cls, preprocessed_folder: str | Path, plan: ContextPlan) -> ContextStore:
        """The store that belongs to a configuration's preprocessed folder."""
        return cls(_folder_beside(Path(preprocessed_folder)), plan)

    @classmethod
    def forget(cls, preprocessed_folder: Path, case_id: str) -> None:
        """Has the copy of a case made again, because its images have changed."""
        (_folder_beside(preprocessed_folder) / f"{case_id}.json").unlink(missing_ok=True)

    def load(self, case_id: str) -> ContextVolume:
        """Opens a coarse copy without reading it whole."""
        try:
            array = np.load(self._array_path(case_id), mmap_mode="r")
        except (ValueError, EOFError) as error:
            raise ValueError(
                f"{self._array_path(case_id)} is cut off or damaged ({error}). Remove it; it is made again."
            ) from error
        header = self._header(case_id)
        return ContextVolume(array, ArrayGeometry.from_json(header["context"]), tuple(header["fill"]))

    def local_geometry(self, case_id: str) -> ArrayGeometry:
        """Where the case's preprocessed array lies in the world."""
        return ArrayGeometry.from_json(self._header(case_id)["local"])

    def scan_of(self, case_id: str) -> str | None:
        """What tells the image of a case from others; None for copies of earlier releases."""
        return self._header(case_id).get("scan")

    def has(self, case_id: str, sources: Sequence[Path], spacing_mm: Sequence[float]) -> bool:
        """Whether a whole copy is there that was made as planned, from the preprocessed case as it is.

        Args:
            case_id: of the case.
            sources: files of the preprocessed case.
            spacing_mm: that it should have by the plans.
        """
        try:
            header = self._header(case_id)
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        return (
            all(header.get(key) == value for key, value in self._recipe().items())
            and stamps_fit(header.get("sources", {}), sources)
            and stamps_fit(header.get("array", {}), [self._array_path(case_id)])
            and self.local_geometry(case_id).has_spacing(spacing_mm)
        )

    def save(
        self,
        case_id: str,
        volume: ContextVolume,
        local_geometry: ArrayGeometry,
        sources: Sequence[Path],
        scan: str | None = None,
    ) -> None:
        """Writes both files, each whole or not at all, the header last; `scan` tells one image from another."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_array(self._array_path(case_id), volume.array)
        header = {
            **self._recipe(),
            "sources": stamps_of(sources),
            "array": stamps_of([self._array_path(case_id)]),
            "fill": list(volume.fill),
            "scan": scan,
            "context": volume.geometry.to_json(),
            "local": local_geometry.to_json(),
        }
        write_json(self.folder / f"{case_id}.json", header, indent=None)

    def _array_path(self, case_id: str) -> Path:
        return self.folder / f"{case_id}.npy"

    def _header(self, case_id: str) -> dict[str, Any]:
        header: dict[str, Any] = json.loads((self.folder / f"{case_id}.json").read_text(encoding="utf-8"))
        return header

    def _recipe(self) -> dict[str, object]:
        windows = [None if window is None else list(window) for window in self.plan.windows]
        return {"spacing_mm": self.plan.spacing_mm, "windows": windows}


def make_context_volumes(
    dataset: nnUNetBaseDataset,
    store: ContextStore,
    raw: RawCases,
    plans_manager: PlansManager,
    spacing_mm: Sequence[float],
    processes: int = 1,
    points_of: Mapping[str, Sequence[Sequence[float]]] | None = None,
) -> int:
    """Makes the coarse copies that are missing; safe when two processes do so at once.

    Args:
        dataset: nnU-Net's data set of the configuration.
        store: where they go.
        raw: images and masks of the cases.
        plans_manager: nnU-Net's plans, for the reader and the order of axes.
        spacing_mm: of the configuration.
        processes: workers.
        points_of: world points (x, y, z) of each case's nodules, to be looked at where a copy is made.

    Returns:
        How many were made.

    Raises:
        ValueError: an image, mask or preprocessed file is damaged, an image is not in HU, a mask is another case's or
            does not lie on its image, or a nodule lies in air or far from lung; names the case.
        FileNotFoundError: a copy has to be made, and the case's images are not at hand.
    """
    source = Path(dataset.source_folder)
    missing = [
        case_id for case_id in dataset.identifiers if not store.has(case_id, source_files(source, case_id), spacing_mm)
    ]
    absent = [case_id for case_id in missing if case_id not in raw.images]
    if absent:
        raise FileNotFoundError(
            f"The context volumes of {len(absent)} cases ({', '.join(absent[:3])}, ...) have to be made from their "
            f"images, which are not in nnUNet_raw. Train once, or run 'dsmt plan', where the raw data set is, and take "
            f"{store.folder.name} along with the preprocessed data."
        )
    jobs = [
        _Job(type(dataset), str(source), case_id, store, tuple(raw.images[case_id]), plans_manager.plans,
             tuple(spacing_mm), tuple((points_of or {}).get(case_id, ())), raw.masks.get(case_id), raw.labels)
        for case_id in missing
    ]  # fmt: skip
    in_processes(_Job.run, [(job,) for job in jobs], processes, "Context volumes")
    return len(jobs)


def positions_of(table: NoduleTable) -> dict[str, list[tuple[float, float, float]]]:
    """World points (x, y, z) of the nodules of each case, in mm, LPS."""
    return {case: [nodule.centre_mm for nodule in nodules] for case, nodules in table.by_case().items()}


def source_files(preprocessed_folder: Path, case_id: str) -> list[Path]:
    """The files of a preprocessed case that a coarse copy must fit: properties, image and mask."""
    names = [f"{case_id}{ending}" for ending in (".pkl", ".b2nd", "_seg.b2nd", ".npy", "_seg.npy")]
    found = [preprocessed_folder / name for name in names if (preprocessed_folder / name).is_file()]
    packed = preprocessed_folder / f"{case_id}.npz"
    return [*found, packed] if len(found) == 1 and packed.is_file() else found


@dataclass(frozen=True)
class _Job:
    """One case, with everything a spawned process needs."""

    dataset_class: type[nnUNetBaseDataset]
    source: str
    case_id: str
    store: ContextStore
    images: tuple[str, ...]
    plans: Mapping[str, Any]
    spacing_mm: tuple[float, ...]
    points: tuple[Sequence[float], ...]
    mask: str | None
    labels: tuple[int, ...]

    def run(self) -> None:
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        transpose_forward = self.plans["transpose_forward"]
        try:
            for file in self.images:
                check_scan_file(file)
            reader = PlansManager(dict(self.plans)).image_reader_writer_class()
            image, image_properties = reader.read_images(list(self.images))
            windows = self.store.plan.windows
            doubts = check_scan(image, image_properties, windows, self.points)
            if self.mask is not None:
                mask = read_mask(self.mask, self.labels, reader, image.shape[1:], image_properties)
                if windows[0] is not None:
                    doubts += check_nodules(image[0], mask, image_properties, self.points)
            shape, properties = checked_case(self.dataset_class(self.source, [self.case_id]), self.case_id)
            local = ArrayGeometry.from_properties(properties, transpose_forward, self.spacing_mm, shape)
            volume = coarse_copy(image, image_properties, transpose_forward, self.store.plan)
        except ValueError as error:
            raise ValueError(f"Case '{self.case_id}': {error}") from error
        for text in doubts:
            logger.warning("Case '%s': %s", self.case_id, text)
        sources = source_files(Path(self.source), self.case_id)
        self.store.save(self.case_id, volume, local, sources, scan_digest(image))
