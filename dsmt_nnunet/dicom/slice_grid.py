"""Where the slices of a series lie, told without their pixels, and whether they form a regular stack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dsmt_nnunet.dicom.export import Series

SLICE_DISTANCE_TOLERANCE = 0.02
"""Share of the slice distance by which single distances may differ: positions are rounded to a few digits in DICOM, a
missing or doubled slice changes a distance by all of it."""
COARSE_ROUNDING_MM = 0.1
"""Some archives keep one decimal; then distances differ by as much, and a missing slice still by all of one."""
ROUNDING_MM = 0.01
"""Positions with two decimals are common; no two slices are this close."""


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
    """The grid of a series, from headers alone; None where one lacks a place or the pixel spacing."""
    distance = slice_distance_mm(series)
    spacing = pixel_spacing_mm(series)
    if distance is None or spacing is None:
        return None
    images = [(frame, item) for item in series.objects for frame in item.frames]
    placed = sorted(((_height(frame) or 0.0, frame, item) for frame, item in images), key=lambda one: one[0])
    _, first, item = placed[0]
    axes = np.array(first.ImageOrientationPatient, float)
    return SliceGrid(
        series=series,
        sop_uids=tuple(item.text("SOPInstanceUID") for _, _, item in placed),
        size=(int(item.header.Columns), int(item.header.Rows), len(placed)),
        spacing_mm=(spacing[1], spacing[0], distance),
        origin_mm=np.array(first.ImagePositionPatient, float),
        axes=np.column_stack([axes[:3], axes[3:], np.cross(axes[:3], axes[3:])]),
    )


def slice_distance_mm(series: Series) -> float | None:
    """Usual distance of the slices from their headers alone; None for a single slice, or where one has no place."""
    heights = [_height(frame) for frame in series.images]
    placed = [height for height in heights if height is not None]
    if len(placed) < len(heights) or len(placed) < 2:
        return None
    return float(np.median(np.diff(sorted(placed))))


def pixel_spacing_mm(series: Series) -> tuple[float, float] | None:
    """Row and column spacing, from the header of the first image; None where it has none."""
    spacing = numbers_of(series.images[0], "PixelSpacing", 2)
    return None if spacing is None else (float(spacing[0]), float(spacing[1]))


def numbers_of(header: Dataset, keyword: str, count: int) -> NDArray[np.float64] | None:
    """The values of an attribute; None where it is absent or holds something else than so many numbers."""
    try:
        values = np.array(header.get(keyword), float)
    except (ValueError, TypeError):
        return None
    return values if values.shape == (count,) and bool(np.isfinite(values).all()) else None


def _height(image: Dataset) -> float | None:
    """Along the normal of the slices."""
    position = numbers_of(image, "ImagePositionPatient", 3)
    axes = numbers_of(image, "ImageOrientationPatient", 6)
    if position is None or axes is None:
        return None
    return float(position @ np.cross(axes[:3], axes[3:]))


def distance_tolerance_mm(positions: NDArray[np.float64], usual_mm: float) -> float:
    """By how much single distances of slices may differ from the usual one, from the digits of their positions.

    Args:
        positions: (slices, 3) in mm.
        usual_mm: median distance of neighbours.
    """
    tenths = positions / COARSE_ROUNDING_MM
    is_coarse = bool(np.abs(tenths - np.rint(tenths)).max() < 1e-6) and usual_mm > 3 * COARSE_ROUNDING_MM
    rounding = COARSE_ROUNDING_MM * 1.001 if is_coarse else ROUNDING_MM
    return max(SLICE_DISTANCE_TOLERANCE * usual_mm, rounding)


def check_stack(
    series: Series, positions: NDArray[np.float64], normal: NDArray[np.float64], spacing_mm: tuple[float, float]
) -> float:
    """Distance of the slices in mm, after a look at whether they form a regular stack.

    Args:
        series: for messages.
        positions: (slices, 3) in mm, in the order of their height.
        normal: of the slices.
        spacing_mm: of rows and columns.

    Raises:
        ValueError: one slice alone, missing or doubled slices, or slices that are sheared against each other.
    """
    if len(positions) < 2:
        raise ValueError(f"{series.where}: the series has one slice; a volume has at least two.")
    heights = positions @ normal
    distances = np.diff(heights)
    usual = float(np.median(distances))
    if distances.min() < ROUNDING_MM:
        place = heights[int(distances.argmin())]
        raise ValueError(
            f"{series.where}: two slices lie at the same position ({place:.5g} mm along the normal); the series holds "
            f"several acquisitions or phases. Export them as series of their own."
        )
    worst = int(np.abs(distances - usual).argmax())
    if abs(distances[worst] - usual) > distance_tolerance_mm(positions, usual):
        raise ValueError(
            f"{series.where}: the slices do not form a regular stack: between {heights[worst]:.5g} and "
            f"{heights[worst + 1]:.5g} mm they lie {distances[worst]:.3g} mm apart, usually {usual:.3g}. Slices are "
            f"missing, or the spacing varies; export the series again."
        )
    path = positions[-1] - positions[0]
    drift = float(np.linalg.norm(path - (path @ normal) * normal))
    if drift > min(spacing_mm):
        raise ValueError(
            f"{series.where}: the slices are sheared against each other by {drift:.3g} mm over the stack (gantry "
            f"tilt). Resample the series to a straight grid first."
        )
    return float(distances.mean())
