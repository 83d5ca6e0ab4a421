"""What the voxels of a volume tell of how they came about: its scale, its window, the order of its slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_AT_MOST = 2_000_000
_BLOCK = 4
_SQUARES_AT_MOST = 50_000
_SHOWN = (-1000.0, 200.0)
_MOVING_HU = 25.0
"""Slices that differ less from the next ones, on average, tell nothing of their order."""


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
    rows, columns = (length // _BLOCK * _BLOCK for length in array.shape[1:])
    if len(array) < 12 or not rows or not columns:
        return None
    step = max(1, rows * columns // _SQUARES_AT_MOST)
    blocks = array[:, :rows, :columns].reshape(len(array), rows // _BLOCK, _BLOCK, columns // _BLOCK, _BLOCK)
    coarse = np.clip(blocks[:, ::step], *_SHOWN).mean(axis=(2, 4), dtype=np.float32)
    near, far = (float(np.abs(coarse[apart:] - coarse[:-apart]).mean()) for apart in (1, 3))
    return far / near if near > _MOVING_HU else None


def blank_slices(array: Array) -> list[int]:
    """Slices of nothing but 0 or air that have slices with an image before and behind them."""
    constant = [bool((one == one.flat[0]).all() and (one.flat[0] == 0 or one.flat[0] <= -1000)) for one in array]
    shown = [number for number, blank in enumerate(constant) if not blank]
    return [number for number in range(shown[0], shown[-1]) if constant[number]] if shown else []


def correlation(array: Array) -> float:
    """Correlation of neighbours along the axis where it is highest."""
    clipped = np.clip(array.astype(np.float32), -1100, 1000)
    variance = float(clipped.var())
    if variance == 0:
        return 1.0
    return max(1 - float(np.mean(np.diff(clipped, axis=axis) ** 2)) / (2 * variance) for axis in range(3))
