"""What the voxels of a volume tell of how they came about: its scale, its window, the order of its slices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.geometry import index_from_world

Array = npt.NDArray[Any]

_AT_MOST = 2_000_000
_BLOCK = 4
_SQUARES_AT_MOST = 50_000
_SHOWN = (-1000.0, 200.0)
_MOVING_HU = 25.0
"""Slices that differ less from the next ones, on average, tell nothing of their order."""
LEAST_ORDER = 1.3
"""See `slice_order`; LIDC crops and chests have 1.7 and more, at any distance of slices; shuffled ones about 1."""
DOUBTFUL_JUMP, LARGEST_JUMP, LARGEST_STEP_HU = 3.0, 6.0, 100.0
"""See `slice_jump`; LIDC crops have a ratio of 2.7 at most, chests 1.4. Of these chests ten slices taken out give 4,
two parts put together 8 to 28 and 250 to 360 HU. Breathing between two positions of the table gives less."""
_SLICE_OF_A_SCAN = 40 * 40
_NODULE_MM = (2.5, 60.0)
_FLAT_MM = 6.0
_ALIKE = 0.01
_COARSE_MM = 2.5
"""No clinical CT has larger voxels in plane."""


def thinned(values: Array) -> Array:
    """At most some millions of values, evenly taken."""
    flat = values.reshape(-1)
    return flat[:: max(1, flat.size // _AT_MOST)]


def darkest(values: Array) -> float:
    """What half a percent of the values lies below, those at the very lowest (padding, saturation) left out."""
    above = values[values > values.min()]
    return float(np.percentile(above, 0.5)) if above.size else float(values.min())


def clipped_at(array: Array) -> float | None:
    """The value at which an image was cut off: its highest, shared by many voxels; None where few have it."""
    high = array.max()
    return float(high) if np.count_nonzero(array == high) > 0.005 * array.size else None


def slice_order(array: Array) -> float | None:
    """How much more slices three apart differ than neighbours; about 1 where their order is none.

    Slices are compared after averaging over small squares, since noise differs alike at any distance.

    Args:
        array: (Z, Y, X) in HU.

    Returns:
        None where there are too few slices, or they differ too little, to tell.
    """
    coarse = _coarse_slices(array)
    if coarse is None:
        return None
    near, far = (float(np.abs(coarse[apart:] - coarse[:-apart]).mean()) for apart in (1, 3))
    return far / near if near > _MOVING_HU else None


@dataclass(frozen=True)
class SliceJump:
    """Where the image changes most from one slice to the next.

    Attributes:
        ratio: of that change to the larger one of the pairs of neighbours before and behind.
        step_hu: the change, mean over the slice.
        number: of the first of the two slices, from 0 on.
    """

    ratio: float
    step_hu: float
    number: int

    def __str__(self) -> str:
        return (
            f"between slices {self.number} and {self.number + 1} (counted from 0) the image changes {self.ratio:.0f} "
            f"times as much as around them. Slices are missing, not in their order, or of two scans."
        )


def slice_jump(array: Array) -> SliceJump | None:
    """How much more two neighbouring slices differ than the pairs of neighbours before and behind them, at most.

    Args:
        array: (Z, Y, X) in HU.

    Returns:
        None where there are too few slices, or they differ too little, to tell.
    """
    coarse = _coarse_slices(array)
    if coarse is None:
        return None
    steps = np.abs(np.diff(coarse, axis=0)).mean(axis=(1, 2))
    around = np.maximum(np.r_[0, steps[:-1]], np.r_[steps[1:], 0])
    ratios = np.where(steps > _MOVING_HU, steps / np.maximum(around, 1.0), 0)
    number = int(ratios.argmax())
    return SliceJump(float(ratios[number]), float(steps[number]), number) if ratios.any() else None


def _coarse_slices(array: Array) -> Array | None:
    """(Z, ...) means over small squares, of many slices not all of them; None where there are too few slices."""
    rows, columns = (length // _BLOCK * _BLOCK for length in array.shape[1:])
    if len(array) < 12 or not rows or not columns:
        return None
    step = max(1, rows * columns // _SQUARES_AT_MOST)
    blocks = array[:, :rows, :columns].reshape(len(array), rows // _BLOCK, _BLOCK, columns // _BLOCK, _BLOCK)
    means: Array = np.clip(blocks[:, ::step], *_SHOWN).mean(axis=(2, 4), dtype=np.float32)
    return means


def order_problem(array: Array) -> str | None:
    """What is wrong with the order of the slices."""
    order = slice_order(array)
    if order is not None and order < LEAST_ORDER:
        return (
            f"slices that lie three apart differ {order:.2f} times as much as neighbours, where CT has 1.7 and more: "
            f"they are not in their order. Sort them by position, not by name or number."
        )
    jump = slice_jump(array)
    is_crop = array[0].size < _SLICE_OF_A_SCAN  # a nodule fills it, and may begin at once
    if is_crop or jump is None or jump.ratio < LARGEST_JUMP or jump.step_hu < LARGEST_STEP_HU:
        return None
    padded = any(np.ptp(array[number]) == 0 for number in (jump.number, jump.number + 1))
    return None if padded else f"{jump} Take the whole series, sorted by position."


def slice_doubts(array: Array) -> list[str]:
    """What is doubtful of the slices, though possible."""
    doubts = []
    jump = slice_jump(array)
    if jump is not None and jump.ratio >= DOUBTFUL_JUMP:
        doubts.append(str(jump))
    if twice := repeated_slices(array):
        doubts.append(
            f"{len(twice)} slices are the same as the next one, voxel by voxel (such as {twice[0]}, counted from 0). "
            f"Were slices read twice, or the scan enlarged?"
        )
    return doubts


def repeated_slices(array: Array) -> list[int]:
    """Slices that are the next one, voxel by voxel, blank ones left out."""
    alike = (array[1:, ::8, ::8] == array[:-1, ::8, ::8]).all(axis=(1, 2))
    return [
        int(number)
        for number in np.flatnonzero(alike)
        if array[number].min() < array[number].max() and (array[number] == array[number + 1]).all()
    ]


def spacing_doubts(spacing_mm: Sequence[float]) -> list[str]:
    """What is doubtful of a voxel size, though possible."""
    smallest = min(spacing_mm)
    if smallest <= _COARSE_MM:
        return []
    return [f"the smallest side of a voxel is {smallest:.3g} mm, which is coarse for CT. Is the voxel size right?"]


def square_doubts(properties: Mapping[str, Any]) -> list[str]:
    """What is doubtful of voxels that are no squares across the body, as an axis named for another makes them.

    Args:
        properties: as nnU-Net's reader gives them; where they do not tell how a scan lies, nothing is doubtful.
    """
    if not {"sitk_stuff", "nibabel_stuff"} & set(properties):
        return []
    along = np.abs(index_from_world(properties)[:, :3] * np.asarray(properties["spacing"])[:, None])
    x_mm, y_mm, z_mm = (float(properties["spacing"][axis]) for axis in along.argmax(axis=0))
    if math.isclose(x_mm, y_mm, rel_tol=_ALIKE) or not any(
        math.isclose(z_mm, own, rel_tol=_ALIKE) for own in (x_mm, y_mm)
    ):
        return []
    return [
        f"voxels are {x_mm:.3g} x {y_mm:.3g} mm across the body and {z_mm:.3g} mm along it; CT has squares across. "
        f"Is the spacing in the order of the axes (of an array: spacing_mm x, y, z for voxels Z, Y, X)?"
    ]


def drawing_doubts(inside: Array, spacing_mm: Sequence[float]) -> list[str]:
    """What is doubtful of how a nodule is drawn, though possible.

    Args:
        inside: (N, 3) indices of its voxels.
        spacing_mm: of the voxels, in the order of the axes.
    """
    spacing = np.asarray(spacing_mm, dtype=float)
    diameter_mm = float((6 * len(inside) * spacing.prod() / np.pi) ** (1 / 3))
    if not _NODULE_MM[0] <= diameter_mm <= _NODULE_MM[1]:
        return [
            f"the nodule has the volume of a sphere of {diameter_mm:.1f} mm. Is the voxel size "
            f"({', '.join(f'{value:g}' for value in spacing)} mm) right, and is it the mask of a nodule?"
        ]
    voxels = np.ptp(inside, axis=0) + 1
    extent_mm = voxels * spacing
    if voxels.min() == 1 and extent_mm.max() > max(_FLAT_MM, 2 * extent_mm[voxels.argmin()]):
        return [f"the nodule is drawn on a single slice, {extent_mm.max():.0f} mm wide. Draw it on all that show it."]
    return []


def blank_slices(array: Array) -> list[int]:
    """Slices of a single value that have slices with an image before and behind them."""
    constant = [bool((one == one.flat[0]).all()) for one in array]
    shown = [number for number, blank in enumerate(constant) if not blank]
    return [number for number in range(shown[0], shown[-1]) if constant[number]] if shown else []


def correlation(array: Array) -> float:
    """Correlation of neighbours along the axis where it is highest."""
    clipped = np.clip(array.astype(np.float32), -1100, 1000)
    variance = float(clipped.var())
    if variance == 0:
        return 1.0
    return max(1 - float(np.mean(np.diff(clipped, axis=axis) ** 2)) / (2 * variance) for axis in range(3))
