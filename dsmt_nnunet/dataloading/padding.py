"""What lies outside a scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def fill_values(padding_value: Sequence[float | None], data: npt.NDArray[np.generic]) -> list[float]:
    """Value a channel outside the scan: the plan's, or the lowest value of the case."""
    return [
        float(np.min(data[channel])) if value is None else float(value) for channel, value in enumerate(padding_value)
    ]


def inside_scan(shape: Sequence[int], start: Sequence[int], size: Sequence[int]) -> npt.NDArray[np.bool_]:
    """(Z, Y, X) of a patch: which of its voxels lie in the scan.

    Args:
        shape: of the scan.
        start: first voxel of the patch, which may lie outside.
        size: of the patch.
    """
    inside = np.ones((), dtype=bool)
    for length, first, own in zip(shape, start, size, strict=True):
        places = np.arange(own) + int(first)
        inside = inside[..., None] & ((places >= 0) & (places < length))
    return inside
