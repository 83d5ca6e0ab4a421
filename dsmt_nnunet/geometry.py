"""From world coordinates to the preprocessed array and back, and crops of either scale.

World coordinates are mm in LPS, ordered (x, y, z), as SimpleITK and DICOM have them. Arrays are ordered as nnU-Net
keeps them after preprocessing: (C, *axes), where the axes are (z, y, x) permuted by the plans' `transpose_forward`.
Voxel coordinates name voxel centres: voxel 0 covers -0.5 to 0.5.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cc3d
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.generic]
Scalar = TypeVar("Scalar", bound=np.generic)
GRID_TOLERANCE_MM = 0.05
"""How far voxels of image and mask may lie apart.

Formats keep positions with different precision (float32, or text with three or four digits), which moves the far corner
of a chest CT by a few hundredths of a millimetre. 0.05 mm is a tenth of the smallest voxel of a CT, so it cannot hide a
shift of one voxel.
"""
Point = Sequence[float] | npt.NDArray[np.floating[Any]]
"""Three coordinates."""


@dataclass(frozen=True)
class ArrayGeometry:
    """Where a preprocessed array lies in the world.

    Attributes:
        spacing_mm: voxel size along the array's axes.
        shape: spatial shape of the array.
        world_to_voxel: (3, 4) affine; voxel = world_to_voxel @ (x, y, z, 1), in the array's axis order.
    """

    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    world_to_voxel: Array

    @classmethod
    def from_properties(
        cls,
        properties: Mapping[str, Any],
        transpose_forward: Sequence[int],
        spacing_mm: Sequence[float],
        shape: Sequence[int],
    ) -> ArrayGeometry:
        """Follows nnU-Net's DefaultPreprocessor: transpose, crop to non-zero, resample.

        Args:
            properties: what the image reader and the preprocessor noted about the case.
            transpose_forward: of the plans.
            spacing_mm: of the configuration; for axes that were not resampled the same as the image's.
            shape: spatial shape of the preprocessed array.

        Raises:
            ValueError: the properties do not tell where the image lies in the world.
        """
        from_world = index_from_world(properties)
        transpose = list(transpose_forward)
        bbox = np.asarray(properties["bbox_used_for_cropping"], dtype=float)
        cropped = np.asarray(properties["shape_after_cropping_and_before_resampling"], dtype=float)
        transposed = from_world[transpose]
        transposed[:, 3] -= bbox[:, 0]
        scale = np.asarray(shape, dtype=float) / cropped
        affine = transposed * scale[:, None]
        affine[:, 3] += 0.5 * scale - 0.5
        original_spacing = np.asarray(properties["spacing"], dtype=float)[transpose]
        actual = original_spacing / scale
        found = cls(_triple(actual), (int(shape[0]), int(shape[1]), int(shape[2])), affine)
        if not found.has_spacing(spacing_mm):
            raise ValueError(
                f"The preprocessed array has a voxel size of {np.round(actual, 4).tolist()} mm, the plans say "
                f"{[float(size) for size in spacing_mm]} mm. Was it preprocessed with other plans?"
            )
        return found

    def has_spacing(self, spacing_mm: Sequence[float]) -> bool:
        """Whether an array was resampled to a voxel size.

        The number of voxels is rounded, so that it is met up to half a voxel over the whole extent.
        """
        expected = np.asarray(spacing_mm, dtype=float)
        difference = np.abs(np.asarray(self.spacing_mm) - expected) * np.asarray(self.shape)
        return not np.any(difference > expected + 1e-3)

    @classmethod
    def of_coarse_grid(
        cls, properties: Mapping[str, Any], transpose_forward: Sequence[int], spacing_mm: float, shape: Sequence[int]
    ) -> ArrayGeometry:
        """An isotropic grid whose first voxel begins at the corner of the image.

        Args:
            properties: what the image reader noted.
            transpose_forward: of the plans.
            spacing_mm: of the grid.
            shape: of the grid.
        """
        transpose = list(transpose_forward)
        affine = index_from_world(properties)[transpose]
        scale = np.asarray(properties["spacing"], dtype=float)[transpose] / spacing_mm
        affine = affine * scale[:, None]
        affine[:, 3] += 0.5 * scale - 0.5
        return cls(_triple([spacing_mm] * 3), (int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def to_voxel(self, point_mm: Point) -> Array:
        """Voxel coordinates, (3,) in array order, of a world point (x, y, z)."""
        voxel: Array = self.world_to_voxel @ np.array([*point_mm, 1.0])
        return voxel

    def to_world(self, voxel: Point) -> tuple[float, float, float]:
        """World point (x, y, z) of voxel coordinates in array order."""
        matrix, offset = self.world_to_voxel[:, :3], self.world_to_voxel[:, 3]
        return _triple(np.linalg.solve(matrix, np.asarray(voxel, dtype=float) - offset))

    def box(self, start: Sequence[int], shape: Sequence[int]) -> ArrayGeometry:
        """A box of the array, `start` its first voxel."""
        affine = self.world_to_voxel.copy()
        affine[:, 3] -= np.asarray(start, dtype=float)
        return ArrayGeometry(self.spacing_mm, (int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def contains(self, voxel: Point, margin_mm: float = 0.0) -> bool:
        """Whether voxel coordinates lie in the array, or outside by at most `margin_mm`."""
        margin = margin_mm / np.asarray(self.spacing_mm)
        position = np.asarray(voxel)
        return bool(np.all(position >= -0.5 - margin) and np.all(position <= np.asarray(self.shape) - 0.5 + margin))

    def to_json(self) -> dict[str, list[Any]]:
        return {
            "spacing_mm": list(self.spacing_mm),
            "shape": list(self.shape),
            "world_to_voxel": self.world_to_voxel.tolist(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ArrayGeometry:
        shape = content["shape"]
        return cls(
            _triple(content["spacing_mm"]),
            (int(shape[0]), int(shape[1]), int(shape[2])),
            np.asarray(content["world_to_voxel"], dtype=float),
        )


def index_from_world(properties: Mapping[str, Any]) -> Array:
    """(3, 4) affine from world (x, y, z) to the index of the array as read, ordered (z, y, x)."""
    if "sitk_stuff" in properties:
        stuff = properties["sitk_stuff"]
        spacing = np.asarray(stuff["spacing"], dtype=float)
        origin = np.asarray(stuff["origin"], dtype=float)
        direction = np.asarray(stuff["direction"], dtype=float).reshape(3, 3)
        world_from_index = direction * spacing[None, :]
    elif "nibabel_stuff" in properties:
        stuff = properties["nibabel_stuff"]
        affine = np.asarray(stuff.get("reoriented_affine", stuff["original_affine"]), dtype=float)
        ras_to_lps = np.diag([-1.0, -1.0, 1.0])
        world_from_index, origin = ras_to_lps @ affine[:3, :3], ras_to_lps @ affine[:3, 3]
    else:
        raise ValueError(
            "The image reader gave no position in the world, which is needed to find the nodules. Use a format with "
            "an origin and a direction, such as NIfTI, NRRD or MHA."
        )
    inverse = np.linalg.inv(world_from_index)
    affine = np.hstack([inverse, (-inverse @ origin)[:, None]])
    return affine[::-1].copy()


def doubts_at(
    what: str,
    points_mm: Sequence[Sequence[float]],
    properties: Mapping[str, Any],
    check: Callable[[Array, Sequence[float]], list[str]],
) -> list[str]:
    """What a check finds doubtful at each of some positions, told with the position.

    Args:
        what: lies there, for the text.
        points_mm: world points (x, y, z).
        properties: of the image, as nnU-Net's reader gives them.
        check: of a voxel (z, y, x) and the spacing.

    Raises:
        ValueError: as the check does, told with the position.
    """
    doubts = []
    for point in points_mm:
        voxel = index_from_world(properties) @ np.array([*point, 1.0])
        where = f"{what} {tuple(round(float(value), 1) for value in point)}"
        try:
            doubts += [f"{where}: {text}" for text in check(voxel, properties["spacing"])]
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    return doubts


def corner_shift_mm(one: Mapping[str, Any], other: Mapping[str, Any], shape: Sequence[int]) -> float:
    """How far the corners of an array lie apart by the properties of two images, as a reader gives them."""
    corners = np.array(list(itertools.product(*((0, length - 1) for length in shape))), dtype=float)
    places = []
    for properties in (one, other):
        affine = index_from_world(properties)
        places.append(np.linalg.solve(affine[:, :3], (corners - affine[:, 3]).T))
    return float(np.linalg.norm(places[0] - places[1], axis=0).max())


def crop(
    array: npt.NDArray[Scalar], start: Sequence[int], size: Sequence[int], fill: Sequence[float]
) -> npt.NDArray[Scalar]:
    """A box of a (C, *spatial) array, with `fill` (one value a channel) where it reaches outside.

    Args:
        array: numpy or blosc2 array; only the part inside the box is read.
        start: first voxel of the box, may be negative.
        size: voxels along each axis.
        fill: value a channel outside the array.

    Returns:
        (C, *size), of the array's type.
    """
    channels, *shape = array.shape
    if all(s >= 0 and s + k <= n for s, k, n in zip(start, size, shape, strict=True)):
        inside = array[(slice(None), *(slice(s, s + k) for s, k in zip(start, size, strict=True)))]
        # What blosc2 reads is new; a view of a mapped file must not leave here.
        return inside if inside.flags.owndata else np.array(inside)
    low = [min(max(s, 0), n) for s, n in zip(start, shape, strict=True)]
    high = [min(max(s + k, 0), n) for s, k, n in zip(start, size, shape, strict=True)]
    box = np.empty((channels, *size), dtype=array.dtype)
    box[:] = np.asarray(fill, dtype=array.dtype).reshape(channels, *([1] * len(shape)))
    if all(h > lo for lo, h in zip(low, high, strict=True)):
        source = tuple(slice(lo, h) for lo, h in zip(low, high, strict=True))
        target = tuple(slice(lo - s, h - s) for lo, h, s in zip(low, high, start, strict=True))
        box[(slice(None), *target)] = array[(slice(None), *source)]
    return box


def centred_start(centre_voxel: Point, size: Sequence[int]) -> tuple[int, ...]:
    """First voxel of a box of `size` whose centre is nearest to a voxel coordinate."""
    return tuple(math.floor(c + 0.5 - (n - 1) / 2) for c, n in zip(centre_voxel, size, strict=True))


def middle_start(start: Sequence[int], size: Sequence[int], inner: Sequence[int]) -> tuple[int, ...]:
    """First voxel of the box of size `inner` in the middle of a box, where nnU-Net's own crop begins."""
    return tuple(first + length // 2 - own // 2 for first, length, own in zip(start, size, inner, strict=True))


def equivalent_diameter_mm(volume_mm3: float) -> float:
    """Diameter of the sphere of a volume; NaN for none."""
    return (6.0 * volume_mm3 / math.pi) ** (1.0 / 3.0) if volume_mm3 > 0 else math.nan


@dataclass(frozen=True)
class NoduleInstance:
    """A connected component of a nodule mask.

    Attributes:
        centroid: voxel coordinates of the centre of mass.
        volume_mm3: volume of the component.
        label: of its voxels, where the components are labelled.
    """

    centroid: tuple[float, float, float]
    volume_mm3: float
    label: int

    @property
    def diameter_mm(self) -> float:
        return equivalent_diameter_mm(self.volume_mm3)


def nodule_instances(mask: Mask, spacing_mm: Sequence[float], min_diameter_mm: float = 0.0) -> list[NoduleInstance]:
    """Connected components (26 neighbours) of a mask, the largest first.

    Args:
        mask: (Z, Y, X), non-zero where there is nodule.
        spacing_mm: voxel size.
        min_diameter_mm: components whose equivalent diameter is smaller are left out.
    """
    return labelled_instances(mask, spacing_mm, min_diameter_mm)[1]


def labelled_instances(
    mask: Mask, spacing_mm: Sequence[float], min_diameter_mm: float = 0.0
) -> tuple[npt.NDArray[Any], list[NoduleInstance]]:
    """Labels (Z, Y, X) of all components, 0 outside, and what `nodule_instances` gives."""
    labels = cc3d.connected_components(np.ascontiguousarray(mask != 0), connectivity=26)
    statistics = cc3d.statistics(labels)
    voxel_mm3 = float(np.prod(spacing_mm))
    instances = [
        NoduleInstance(_triple(centroid), float(count) * voxel_mm3, label)
        for label, (centroid, count) in enumerate(
            zip(statistics["centroids"][1:], statistics["voxel_counts"][1:], strict=True), start=1
        )
    ]
    kept = [instance for instance in instances if instance.diameter_mm >= min_diameter_mm]
    return labels, sorted(kept, key=lambda instance: -instance.volume_mm3)


def component_at(mask: Mask, voxel: Point, spacing_mm: Sequence[float], radius_mm: float) -> Mask:
    """The component (26 neighbours) of a mask that is nearest to a position, (Z, Y, X) bool; empty if none is within
    `radius_mm`.

    Args:
        mask: (Z, Y, X), non-zero where there is nodule.
        voxel: the position, in voxel coordinates.
        spacing_mm: voxel size.
        radius_mm: how far the nearest voxel of the component may be.
    """
    labels = cc3d.connected_components(np.ascontiguousarray(mask != 0), connectivity=26)
    coordinates = np.argwhere(labels)
    if not len(coordinates):
        return labels > 0
    distances = np.linalg.norm((coordinates - np.asarray(voxel)) * np.asarray(spacing_mm), axis=1)
    nearest = int(np.argmin(distances))
    if distances[nearest] > radius_mm:
        return np.zeros(labels.shape, dtype=bool)
    own: Mask = labels == labels[tuple(coordinates[nearest])]
    return own


def _triple(values: Iterable[float]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
