"""Where in a scan pulmonary nodules can lie: the lungs and what is near them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dsmt_nnunet.dataloading.context_volumes import ContextVolume
from dsmt_nnunet.geometry import ArrayGeometry

Mask = npt.NDArray[np.bool_]
Tile = tuple[slice, ...]

AERATED_HU = -400.0
"""Averaged over a few mm, aerated lung lies below, soft tissue above."""
OUTSIDE_HU = -960.0
"""The median of a component of outside air lies below; of a lung, even an emphysematous one, above."""
REACH_MM = 20.0
"""How far from aerated lung a nodule may be: pleural and hilar ones, and consolidated lung around them."""
RIM, LARGEST_STEP = 1 / 8, 0.5
"""A tile that holds of the region no more than this rim is left out, with steps of at most so much of a tile."""
SMALLEST_LUNG_ML = 300.0
"""With less aerated tissue the image is no chest but a crop, and is searched whole."""


def lung_region(context: ContextVolume, window: tuple[float, float] | None) -> Mask | None:
    """Aerated lung and its neighbourhood on the coarse grid.

    Args:
        context: coarse copy of the scan.
        window: of its first channel, in HU.

    Returns:
        (Z, Y, X), or None where the image does not tell: no CT, or too little lung.
    """
    if window is None:
        return None
    low, high = window
    hu = low + (np.asarray(context.array[0], dtype=np.float32) + 1.0) * ((high - low) / 2.0)
    spacing_mm = context.geometry.spacing_mm[0]
    smallest = SMALLEST_LUNG_ML * 1000.0 / spacing_mm**3
    # Opened, so that a tube or a thin chest wall does not join a lung to the air outside.
    lung = _components_that_are_lung(hu, ndimage.binary_opening(hu < AERATED_HU))
    if lung.sum() < smallest:
        # The airways may do so all the same: then by density, which takes foam and blankets for lung too.
        lung = ndimage.binary_opening((hu > OUTSIDE_HU) & (hu < AERATED_HU))
    if lung.sum() < smallest:
        return None
    near: Mask = ndimage.distance_transform_edt(~lung, sampling=spacing_mm) <= REACH_MM
    return near


def _components_that_are_lung(hu: npt.NDArray[np.float32], filled_with_air: Mask) -> Mask:
    """Components that are not, for the most part, plain air."""
    labels = cc3d.connected_components(filled_with_air, connectivity=6)
    count = int(labels.max())
    if not count:
        return np.zeros(hu.shape, dtype=bool)
    # The median: blankets, foam and blurred skin are part of the outside and raise its mean.
    medians = ndimage.median(hu, labels, index=np.arange(1, count + 1))
    is_lung = np.concatenate([[False], np.asarray(medians) > OUTSIDE_HU])
    return np.asarray(is_lung[labels], dtype=bool)


def on_grid(mask: Mask, own: ArrayGeometry, target: ArrayGeometry) -> Mask:
    """A coarse mask on the grid of the preprocessed scan, by nearest neighbour; both have the same axes.

    Args:
        mask: (Z, Y, X) on the grid `own`.
        own, target: where the grids lie in the world.

    Returns:
        (Z, Y, X) of the target's shape; False outside the mask.
    """
    origin = own.to_voxel(target.to_world((0.0, 0.0, 0.0)))
    step = own.to_voxel(target.to_world((1.0, 1.0, 1.0))) - origin
    result: Any = mask
    for axis, length in enumerate(target.shape):
        indices = np.floor(origin[axis] + step[axis] * np.arange(length) + 0.5).astype(int)
        inside = (indices >= 0) & (indices < mask.shape[axis])
        result = np.take(result, np.clip(indices, 0, mask.shape[axis] - 1), axis=axis)
        shape = [1, 1, 1]
        shape[axis] = length
        result = result & inside.reshape(shape)
    return np.asarray(result, dtype=bool)


def tiles_that_touch(tiles: Sequence[Tile], region: Mask, rim: float = 0.0) -> list[Tile]:
    """nnU-Net's tiles (channel first) that hold a voxel of the region other than at their rim.

    Args:
        tiles: of the whole array.
        region: (Z, Y, X).
        rim: share of a tile's side, on each side, that does not count, but at the border of the array. Where tiles
            overlap by half, an eighth leaves out those whose share in the logits of any voxel of the region is below
            2 % (nnU-Net's weights are a bell of an eighth of a tile, so that the neighbour counts 50 times as much);
            they see no voxel that is farther inside the region than an eighth of a tile. 0 for none left out.
    """

    def inner(tile: Tile) -> Tile:
        sides = []
        for part, length in zip(tile[1:], region.shape, strict=True):
            voxels = int((part.stop - part.start) * rim)
            low, high = part.start + voxels * (part.start > 0), part.stop - voxels * (part.stop < length)
            sides.append(slice(low, high))
        return tuple(sides)

    return [tile for tile in tiles if region[inner(tile)].any()]
