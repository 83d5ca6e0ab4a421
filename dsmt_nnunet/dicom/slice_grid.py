"""Where the slices of a series lie, told by their headers without their pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsmt_nnunet.dicom.export import Series, StoredObject


@dataclass(frozen=True)
class SliceGrid:
    """The voxels of a series.

    Attributes:
        series: whose they are.
        sop_uids: SOP Instance UID of every slice, in the order of the third axis.
        size: voxels along (x, y, z).
        spacing_mm: along (x, y, z).
        origin_mm: centre of voxel (0, 0, 0), LPS.
        axes: (3, 3), its columns the directions of x, y and z, LPS.
    """

    series: Series
    sop_uids: tuple[str, ...]
    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: NDArray[np.float64]
    axes: NDArray[np.float64]

    def centre_mm(self, voxels_zyx: NDArray[np.intp]) -> NDArray[np.float64]:
        """Centroid (x, y, z) of voxels (N, 3), LPS."""
        centre: NDArray[np.float64] = self.origin_mm + self.axes @ (voxels_zyx.mean(axis=0)[::-1] * self.spacing_mm)
        return centre


def grid_of_headers(series: Series) -> SliceGrid | None:
    """The grid of a series of single slices; None where a header lacks a place or the pixel spacing."""
    distance = slice_distance_mm(series)
    spacing = pixel_spacing_mm(series)
    if distance is None or spacing is None:
        return None
    placed = sorted(((_height(item), item) for item in series.objects), key=lambda one: one[0])
    first = placed[0][1].header
    axes = np.array(first.ImageOrientationPatient, float)
    return SliceGrid(
        series=series,
        sop_uids=tuple(item.text("SOPInstanceUID") for _, item in placed),
        size=(int(first.Columns), int(first.Rows), len(placed)),
        spacing_mm=(spacing[1], spacing[0], distance),
        origin_mm=np.array(first.ImagePositionPatient, float),
        axes=np.column_stack([axes[:3], axes[3:], np.cross(axes[:3], axes[3:])]),
    )


def slice_distance_mm(series: Series) -> float | None:
    """Usual distance of the slices from their headers alone; None for a multi-frame object or a single slice."""
    if not all(_is_placed(item) for item in series.objects):
        return None
    heights = sorted(_height(item) for item in series.objects)
    return float(np.median(np.diff(heights))) if len(heights) > 1 else None


def pixel_spacing_mm(series: Series) -> tuple[float, float] | None:
    """Row and column spacing, from the header of the first slice; None where it has none (a multi-frame object)."""
    spacing = series.objects[0].header.get("PixelSpacing")
    return (float(spacing[0]), float(spacing[1])) if spacing else None


def _is_placed(item: StoredObject) -> bool:
    return bool(item.header.get("ImagePositionPatient")) and bool(item.header.get("ImageOrientationPatient"))


def _height(item: StoredObject) -> float:
    """Along the normal of the slices."""
    axes = np.array(item.header.ImageOrientationPatient, float)
    return float(np.array(item.header.ImagePositionPatient, float) @ np.cross(axes[:3], axes[3:]))
