"""The part of a scan that given positions need, preprocessed as the whole scan would be.

A reading room waits for the answer about one nodule: nothing else of the scan has to be resampled. A region is chosen
so that its own resampling falls on the grid of the whole scan's, by nnU-Net's own resampling function.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape

from dsmt_nnunet.geometry import ArrayGeometry, centred_start

Array = npt.NDArray[Any]

MARGIN = 10
"""Voxels of the scan around what is needed: beyond them a cubic spline has come down to 1e-5."""
SEARCH = 40
"""Further voxels, in which the edge is looked for that is nearest to an edge of the resampled grid."""
_POINTWISE = {"CTNormalization"}
"""Normalisations whose result in a region, and whose air around the scan, do not depend on the rest of the scan."""


@dataclass(frozen=True)
class Edge:
    """One side of a region along one axis.

    Attributes:
        scan: in voxels of the scan.
        resampled: in voxels of the resampled scan.
    """

    scan: int
    resampled: int


@dataclass(frozen=True)
class Region:
    """A box of a scan, in the transposed axes of the plans.

    Attributes:
        low, high: its sides along each axis.
    """

    low: tuple[Edge, ...]
    high: tuple[Edge, ...]

    @property
    def start(self) -> tuple[int, ...]:
        """First voxel in the resampled scan."""
        return tuple(edge.resampled for edge in self.low)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels once resampled."""
        return tuple(high.resampled - low.resampled for low, high in zip(self.low, self.high, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        """The box in the scan after cropping."""
        return tuple(slice(low.scan, high.scan) for low, high in zip(self.low, self.high, strict=True))

    def overlaps(self, other: Region) -> bool:
        """Whether two regions share voxels of the scan."""
        return all(a.start < b.stop and b.start < a.stop for a, b in zip(self.slices, other.slices, strict=True))


@dataclass(frozen=True)
class Scan:
    """A scan as read, and how nnU-Net would preprocess it.

    Attributes:
        image: (C, Z, Y, X) after transposition and cropping, in the units of the file.
        properties: as nnU-Net's preprocessor notes them, of the whole scan.
        geometry: of the whole scan once resampled.
        configuration_manager, plans_manager: of nnU-Net.
    """

    image: Array
    properties: Mapping[str, Any]
    geometry: ArrayGeometry
    configuration_manager: Any
    plans_manager: Any

    @classmethod
    def of(cls, image: Array, properties: Mapping[str, Any], plans_manager: Any, configuration_manager: Any) -> Scan:
        """
        Args:
            image: (C, Z, Y, X) as nnU-Net's reader gives it.
            properties: as the reader gives them.
            plans_manager, configuration_manager: of nnU-Net.
        """
        transposed = image.transpose([0, *(axis + 1 for axis in plans_manager.transpose_forward)])
        box = _nonzero_box(transposed)
        cropped = transposed[(slice(None), *(slice(low, high) for low, high in box))]
        noted = {
            **properties,
            "shape_before_cropping": transposed.shape[1:],
            "bbox_used_for_cropping": box,
            "shape_after_cropping_and_before_resampling": cropped.shape[1:],
        }
        shape = compute_new_shape(cropped.shape[1:], _spacing(properties, plans_manager), configuration_manager.spacing)
        geometry = ArrayGeometry.from_properties(
            noted, plans_manager.transpose_forward, configuration_manager.spacing, [int(length) for length in shape]
        )
        return cls(cropped, noted, geometry, configuration_manager, plans_manager)

    def whole(self) -> Region:
        """The region that leaves nothing out."""
        shape = self.image.shape[1:]
        return Region(tuple(Edge(0, 0) for _ in shape), tuple(map(Edge, shape, self.geometry.shape)))

    def region(self, start: Sequence[int], size: Sequence[int]) -> Region:
        """The region that a box of the resampled scan needs.

        Args:
            start: first voxel of the box, may be negative.
            size: voxels along each axis.

        Returns:
            The whole scan where intensities are normalised by statistics of the whole.
        """
        if not set(self.configuration_manager.normalization_schemes) <= _POINTWISE:
            return self.whole()
        axes = zip(start, size, self.image.shape[1:], self.geometry.shape, strict=True)
        edges = [_edges(first, first + length, scan, resampled) for first, length, scan, resampled in axes]
        return Region(tuple(low for low, _ in edges), tuple(high for _, high in edges))

    def preprocessed(self, region: Region) -> tuple[Array, dict[str, Any], ArrayGeometry]:
        """Normalises and resamples a region.

        Returns:
            (C, *shape) float32, the properties with which nnU-Net puts a segmentation of it back into the scan, and
            where it lies in the world.
        """
        data = np.array(self.image[(slice(None), *region.slices)], dtype=np.float32)
        preprocessor = self.configuration_manager.preprocessor_class(verbose=False)
        data = preprocessor._normalize(
            data,
            self._outside(region, data),
            self.configuration_manager,
            self.plans_manager.foreground_intensity_properties_per_channel,
        )
        properties = dict(self.properties)
        properties["shape_after_cropping_and_before_resampling"] = data.shape[1:]
        properties["bbox_used_for_cropping"] = [
            [offset + box.start, offset + box.stop]
            for (offset, _), box in zip(self.properties["bbox_used_for_cropping"], region.slices, strict=True)
        ]
        data = self.configuration_manager.resampling_fn_data(
            data, region.shape, _spacing(properties, self.plans_manager), self.configuration_manager.spacing
        )
        return np.asarray(data), properties, self.geometry.box(region.start, region.shape)

    def _outside(self, region: Region, data: Array) -> Array:
        """(1, Z, Y, X) as nnU-Net hands it to normalisation: -1 where the scan shows nothing, if the plans ask."""
        if not any(self.configuration_manager.use_mask_for_norm) or region != self.whole():
            return np.zeros((1, *data.shape[1:]), dtype=np.int8)
        return np.asarray(crop_to_nonzero(data)[1])


@dataclass(frozen=True)
class RegionOfPoints:
    """A region and the points whose patches it holds, by their numbers."""

    region: Region
    points: tuple[int, ...]


def regions_around(
    scan: Scan, points_mm: Sequence[Sequence[float]], patch_size: Sequence[int], together: bool = False
) -> list[RegionOfPoints]:
    """The regions that patches around points need; those that overlap are one.

    Args:
        scan: the scan.
        points_mm: world points (x, y, z).
        patch_size: voxels of a patch in the resampled scan.
        together: one region for all points, however far they are apart.
    """
    groups = []
    for number, point in enumerate(points_mm):
        start = np.array(centred_start(scan.geometry.to_voxel(point), patch_size))
        groups.append(_Group(scan, start, start + np.array(patch_size), (number,)))
    result: list[_Group] = []
    for group in groups:
        own = group
        while touching := [other for other in result if together or other.region.overlaps(own.region)]:
            for other in touching:
                result.remove(other)
                own = own.joined(other)
        result.append(own)
    return [RegionOfPoints(group.region, group.points) for group in result]


class _Group:
    """Patches that share a region: the box around them in the resampled scan."""

    def __init__(self, scan: Scan, start: Array, stop: Array, points: tuple[int, ...]) -> None:
        self.scan, self.start, self.stop, self.points = scan, start, stop, points
        self.region = scan.region([int(value) for value in start], [int(value) for value in stop - start])

    def joined(self, other: _Group) -> _Group:
        start, stop = np.minimum(self.start, other.start), np.maximum(self.stop, other.stop)
        return _Group(self.scan, start, stop, self.points + other.points)


def _spacing(properties: Mapping[str, Any], plans_manager: Any) -> list[float]:
    return [properties["spacing"][axis] for axis in plans_manager.transpose_forward]


def _nonzero_box(image: Array) -> list[list[int]]:
    """What nnU-Net crops a scan to: the box of all voxels that are not 0 in every channel."""
    present = np.zeros(image.shape[1:], dtype=bool)
    for channel in image:
        present |= channel != 0
    box = []
    for axis in range(present.ndim):
        others = tuple(other for other in range(present.ndim) if other != axis)
        indices = np.flatnonzero(present.any(axis=others))
        if not len(indices):
            return [[0, present.shape[other]] for other in range(present.ndim)]
        box.append([int(indices[0]), int(indices[-1]) + 1])
    return box


def _edges(first: int, stop: int, scan: int, resampled: int) -> tuple[Edge, Edge]:
    """Sides of the region that `first` to `stop` of a resampled axis need.

    Of all sides that leave enough margin, the pair is taken whose own resampling reads the scan where that of the whole
    axis does: nearest in position, and in the slice that nearest-neighbour resampling would take.
    """
    ratio = scan / resampled
    first, stop = min(max(first, 0), resampled - 1), max(min(stop, resampled), 1)
    steps = np.arange(SEARCH + 1)
    low = np.clip(math.floor(first * ratio) - MARGIN - steps, 0, scan)[:, None]
    high = np.clip(math.ceil(stop * ratio) + MARGIN + steps, 0, scan)[None, :]
    own_first, own_stop = np.rint(low / ratio), np.rint(high / ratio)
    own_ratio = (high - low) / (own_stop - own_first)
    voxels = np.arange(first, max(stop, first + 1)) + 0.5
    whole = voxels * ratio - 0.5
    own = (voxels - own_first[..., None]) * own_ratio[..., None] - 0.5 + low[..., None]
    shift = np.abs(own - whole)
    other_slices = np.count_nonzero((np.rint(own) != np.rint(whole)) & (shift > 1e-9), axis=-1)
    score = other_slices + shift.max(axis=-1)
    best_low, best_high = np.unravel_index(np.argmin(score), score.shape)
    return (
        Edge(int(low[best_low, 0]), int(own_first[best_low, 0])),
        Edge(int(high[0, best_high]), int(own_stop[0, best_high])),
    )
