"""Filling closed contours on a grid of voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

PLANE_TOLERANCE = 0.25
"""How far the points of one contour may lie from their common plane, as a share of the slice distance."""


@dataclass(frozen=True)
class StructureMask:
    """One structure on the grid of a CT.

    Attributes:
        name: as the structure is called where it was drawn.
        voxels_zyx: (N, 3), indices of the voxels inside.
        shape: (Z, Y, X) of the grid.
        readings_zyx: of a consensus, what it was made of: reader, from 1 on -> (N, 3).
    """

    name: str
    voxels_zyx: NDArray[np.intp]
    shape: tuple[int, int, int]
    readings_zyx: Mapping[int, NDArray[np.intp]] = field(default_factory=dict)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(Z, Y, X), True inside."""
        mask = np.zeros(self.shape, bool)
        mask[tuple(self.voxels_zyx.T)] = True
        return mask


def fill_polygon(points_xy: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Voxels whose centre lies inside of a polygon, by the even-odd rule.

    Along each row the crossings of the edges are found exactly; an edge covers the rows from its lower end (with it) to
    its upper end (left out), so that every boundary point belongs to one side only and the two ways along the bridge of
    a keyhole cancel. Even-odd scan conversion: Foley et al., Computer Graphics, 2nd edition, 3.6.

    Args:
        points_xy: (N, 2), voxel coordinates (x, y) of the corners; voxel 0 has its centre at 0.
        shape: (Y, X).

    Returns:
        (Y, X).
    """
    inside = np.zeros(shape, bool)
    low_xy = np.clip(np.floor(points_xy.min(axis=0)).astype(int), 0, None)
    high_xy = np.minimum(np.ceil(points_xy.max(axis=0)).astype(int) + 1, shape[::-1])
    left, width, rows_end = int(low_xy[0]), int(high_xy[0] - low_xy[0]), int(high_xy[1])
    if width <= 0 or rows_end <= low_xy[1]:
        return inside
    flips = np.zeros((rows_end - int(low_xy[1]), width + 1), np.int64)
    for (x0, y0), (x1, y1) in zip(points_xy, np.roll(points_xy, -1, axis=0), strict=True):
        lower, upper = (y0, y1) if y0 < y1 else (y1, y0)
        rows = np.arange(max(int(np.ceil(lower)), int(low_xy[1])), min(int(np.ceil(upper)), rows_end))
        if rows.size:
            crossings = np.ceil(x0 + (rows - y0) * (x1 - x0) / (y1 - y0)).astype(np.intp)
            flips[rows - int(low_xy[1]), np.clip(crossings - left, 0, width)] += 1
    inside[int(low_xy[1]) : rows_end, left : left + width] = np.cumsum(flips, axis=1)[:, :-1] % 2 == 1
    return inside


def fill_contours(contours_mm: Sequence[NDArray[np.float64]], image: sitk.Image, name: str) -> StructureMask:
    """Fills closed planar contours of one structure on the grid of an image.

    Contours of one plane are combined by even-odd: a contour inside of another is a hole, one inside of that an island.
    Each slice takes the contours of the plane nearest to it, no farther than half the distance of the planes (the upper
    of two that are equally near): contours may lie between slices, on every second slice, or closer than the slices.

    Args:
        contours_mm: at least one, each (N, 3), x, y, z in mm, LPS.
        image: the grid.
        name: of the structure.

    Raises:
        ValueError: a contour does not lie in the plane of the slices, or reaches beyond the image.
    """
    to_voxel = np.linalg.inv(np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing()))
    size = image.GetSize()
    mask = np.zeros((size[2], size[1], size[0]), bool)
    planes: list[tuple[float, NDArray[np.float64]]] = []
    for points_mm in contours_mm:
        voxels = (points_mm - np.array(image.GetOrigin())) @ to_voxel.T
        _check_contour(voxels, size, name)
        planes.append((float(voxels[:, 2].mean()), voxels[:, :2]))
    heights = _distinct(np.array([height for height, _ in planes]))
    reach = max(1.0, float(np.median(np.diff(heights)))) / 2 if len(heights) > 1 else 0.5
    for index in range(size[2]):
        nearest = heights[::-1][np.abs(heights[::-1] - index).argmin()]
        if -reach <= index - nearest < reach:
            for height, points in planes:
                if abs(height - nearest) <= PLANE_TOLERANCE / 2:
                    mask[index] ^= fill_polygon(points, (size[1], size[0]))
    return StructureMask(name, np.argwhere(mask), (size[2], size[1], size[0]))


def _check_contour(voxels: NDArray[np.float64], size: Sequence[int], name: str) -> None:
    if np.ptp(voxels[:, 2]) > PLANE_TOLERANCE:
        raise ValueError(
            f"structure '{name}': a contour runs across {np.ptp(voxels[:, 2]):.2g} slices; contours have to lie in the "
            f"plane of the CT's slices. Was it drawn on a reformatted view, or on another series?"
        )
    if np.any(voxels < -1) or np.any(voxels > np.array(size)):
        raise ValueError(
            f"structure '{name}': a contour reaches from voxel {np.round(voxels.min(axis=0), 1).tolist()} to "
            f"{np.round(voxels.max(axis=0), 1).tolist()} (x, y, z), outside of a CT of {tuple(size)} voxels. Was it "
            f"drawn on another series?"
        )


def _distinct(heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sorted heights, those of one plane once."""
    ordered = np.sort(heights)
    distinct: NDArray[np.float64] = ordered[np.concatenate([[True], np.diff(ordered) > PLANE_TOLERANCE / 2])]
    return distinct
