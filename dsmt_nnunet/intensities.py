"""What an image in HU is: one check for conversion, planning and prediction; voxel values in, words out.

Air and lung lie below -200 HU, soft tissue above. Whoever knows that an image is right although it fails sets
`DSMT_FORCE_INTENSITIES=1` (`dsmt convert table --force-intensities`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dsmt_nnunet import volume_signs
from dsmt_nnunet.geometry import doubts_at

FORCE_VARIABLE = "DSMT_FORCE_INTENSITIES"
DARKEST_TISSUE_HU = -200.0
"""Every CT of a lung nodule holds values below this: lung and air."""
FAINT_HU = -780.0
"""A nodule whose median lies below is as lung is, which is doubtful; the faintest ground glass of LIDC has -732."""
MOST_ZEROS = 0.2
"""Share of voxels that are exactly 0; LIDC crops have 0.006 at most; padding with 0 is soft tissue."""
SPACING_MM = (0.15, 15.0)
"""Voxel sizes of CT; others are in another unit."""
FAINTEST_NODULE_HU = -500.0
"""A crop around pure ground glass may hold nothing denser than -200 HU, but its densest voxel lies above this."""
FEWEST_VALUES = 16
"""Different values of an image; LIDC crops hold 267 and more."""
DENSEST_AIR_HU, DOUBTFUL_AIR_HU, WHOLE_SCAN_VOXELS, DOUBTFUL_WHOLE_HU = -600.0, -700.0, 10**7, -850.0
"""Half a percent of an image's voxels lies below; -758 is the highest in LIDC crops; a whole scan shows air."""
SATURATED_HU = 1000.0
"""Scanners saturate above; an image that is cut off below was cut for a display."""
LUNG_AT_HU, AT_MM = -740.0, 2.5
"""Three quarters of what lies within 2.5 mm of a nodule's centre are denser, in 99 % of LIDC."""
LEAST_CONTRAST_HU = 50.0
"""The median of a nodule lies so much above the aerated quarter around it; 112 is the least in LIDC."""
HU_RANGE = (-4096.0, 32767.0)
"""Values that CT files hold: padding outside the scan may reach -4096 (-2048 and -3024 are usual), int16 ends above."""
PADDING_HU = -1200.0
"""Below this lies no tissue and no air, only what scanners write outside of the field of view."""
MIN_AIR_SHARE = 0.005
"""Of the voxels that are no padding, at or below `DARKEST_TISSUE_HU`; crops around LIDC nodules hold 0.45 and more."""
MIN_CORRELATION = 0.3
"""Between neighbours along the smoothest axis; CT has 0.73 and more (LIDC crops, thick slices too), noise about 0."""
NO_TISSUE_HU = -900.0
"""A nodule whose median lies below is air; the faintest ground glass of LIDC has -732."""

LUNG_HU = -400.0
"""Aerated lung lies below, soft tissue above."""
REACH_MM = 20.0
"""How far from lung a pulmonary nodule may be: pleural and hilar ones, and consolidated lung around them."""
CONTRAST_MM = 4.0
"""How far around a nodule its contrast is looked for."""
TOUCH_MM = 5.0
"""How far from a given position its nodule may begin: a click beside the border."""

_LUNG_SHARE = 0.005
_PADDING_VALUES = 3
Array = npt.NDArray[Any]
Window = tuple[float, float] | None
"""Of a CT channel, in HU; None for other modalities."""


def is_forced() -> bool:
    """Whether the user said that the intensities are right."""
    return os.environ.get(FORCE_VARIABLE, "").lower() not in ("", "0", "false", "no")


def check_finite(array: Array) -> None:
    """Checks that no voxel is NaN or infinite.

    Raises:
        ValueError: some are; says how many.
    """
    if np.issubdtype(array.dtype, np.inexact):
        bad = int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            raise ValueError(
                f"{bad} voxels are NaN or infinite. Replace them (in an image outside the scan: -1024 HU)."
            )


def check_hu(array: Array) -> list[str]:
    """Checks that values can be Hounsfield units of a lung nodule and its surroundings.

    Padding below -1024 HU (scanners write -2000, -2048 or -3024 outside the scan) is left out of account.

    Args:
        array: (Z, Y, X) voxels of one channel.

    Returns:
        What is doubtful, though possible.

    Raises:
        ValueError: they cannot; says what they look like and what to do. With `FORCE_VARIABLE` set, only NaN and
            infinite values are refused.
    """
    check_finite(array)
    if is_forced():
        return []
    problem = _problem(array)
    if problem:
        raise ValueError(f"{problem} If you know that the image is right, set {FORCE_VARIABLE}=1.")
    doubts = []
    dark = volume_signs.darkest(volume_signs.thinned(array[array >= PADDING_HU]))
    if dark > (DOUBTFUL_WHOLE_HU if array.size > WHOLE_SCAN_VOXELS else DOUBTFUL_AIR_HU):
        doubts.append(
            f"the darkest of the image lies at {dark:.0f} HU, which is dense for lung. Are slope and intercept right?"
        )
    high = volume_signs.clipped_at(array)
    if high is not None and high < SATURATED_HU:
        doubts.append(f"the image seems to be cut off at {high:g} HU, as for a display window. Is it the original?")
    return doubts + volume_signs.slice_doubts(array)


def check_spacing(spacing_mm: Sequence[float]) -> list[str]:
    """
    Returns:
        What is doubtful, though possible.

    Raises:
        ValueError: no CT has voxels of this size. With `FORCE_VARIABLE` set nothing is refused.
    """
    if is_forced():
        return []
    if not all(SPACING_MM[0] <= value <= SPACING_MM[1] for value in spacing_mm):
        raise ValueError(
            f"the voxel size is {[float(f'{value:.3g}') for value in spacing_mm]} mm, and CT has {SPACING_MM[0]:g} to "
            f"{SPACING_MM[1]:g} mm. Is it in cm or m?"
        )
    return volume_signs.spacing_doubts(spacing_mm)


def check_nodule(array: Array, inside: Array, spacing_mm: Sequence[float]) -> list[str]:
    """Checks the tissue under the mask of one nodule, and that there is lung around it.

    Args:
        array: (Z, Y, X) voxels in HU.
        inside: (N, 3) indices of the nodule's voxels.
        spacing_mm: of the voxels, (z, y, x).

    Returns:
        What is doubtful, though possible.

    Raises:
        ValueError: one voxel, nothing but air, nearly the whole volume, or no lung near it.
    """
    if is_forced():
        return []
    index = np.asarray(inside)
    values = array[tuple(index.T)]
    if len(values) < 2:
        raise ValueError("the nodule is a single voxel of the mask. Draw it, or remove the row.")
    if len(values) > array.size / 2:
        raise ValueError(
            f"the nodule fills {len(values) / array.size:.0%} of the image. Is it a mask of the lung or the body?"
        )
    median = float(np.median(values))
    if median < NO_TISSUE_HU:
        raise ValueError(
            f"there is no tissue in the nodule: half of its voxels lie below {median:.0f} HU, which is air. Is the "
            f"mask that of another scan, or mirrored?"
        )
    _check_lung_near(array, index.min(axis=0), index.max(axis=0), spacing_mm)
    doubts = volume_signs.drawing_doubts(index, spacing_mm)
    if median < FAINT_HU:
        return [
            *doubts,
            f"the nodule has a median of {median:.0f} HU, as lung has. Is the mask that of another scan, or shifted?",
        ]
    around = _box(array, index.min(axis=0), index.max(axis=0), CONTRAST_MM, spacing_mm)
    if median - float(np.percentile(around[around >= PADDING_HU], 25)) < LEAST_CONTRAST_HU:
        return [
            *doubts,
            f"the nodule (median {median:.0f} HU) is hardly denser than what lies around it. Is the mask that of "
            f"another scan, or shifted?",
        ]
    if median > 400:
        doubts.append(f"the nodule has a median of {median:.0f} HU, as bone and metal have. Is the mask in its place?")
    return doubts


def check_position(array: Array, voxel: Sequence[float], spacing_mm: Sequence[float]) -> list[str]:
    """Checks that a pulmonary nodule can lie at a position: tissue within `TOUCH_MM`, lung within `REACH_MM`.

    Args:
        array: (Z, Y, X) voxels in HU.
        voxel: the position in voxel coordinates, (z, y, x).
        spacing_mm: of the voxels, (z, y, x).

    Returns:
        What is doubtful, though possible.

    Raises:
        ValueError: it cannot; says what lies there. With `FORCE_VARIABLE` set nothing is refused.
    """
    if is_forced():
        return []
    centre = np.rint(np.asarray(voxel, dtype=float)).astype(int)
    around = _box(array, centre, centre, TOUCH_MM, spacing_mm)
    densest = float(np.percentile(around, 99))
    if densest < NO_TISSUE_HU:
        raise ValueError(
            f"there is no tissue within {TOUCH_MM:g} mm of the position, only air (99 % lie below {densest:.0f} HU). "
            f"{_RAS}"
        )
    _check_lung_near(array, centre, centre, spacing_mm)
    dense = float(np.percentile(_box(array, centre, centre, AT_MM, spacing_mm), 75))
    if dense < LUNG_AT_HU:
        return [f"there is lung at the position (three quarters lie below {dense:.0f} HU). Is it beside the nodule?"]
    return []


def check_scan(
    channels: Array,
    properties: Mapping[str, Any],
    windows: Sequence[Window],
    points_mm: Sequence[Sequence[float]] = (),
    *,
    force: bool = False,
) -> list[str]:
    """Checks that CT channels are in HU, and that a nodule can lie at each of some positions.

    Args:
        channels: (C, Z, Y, X) as nnU-Net's reader gives them.
        properties: as the reader gives them.
        windows: of each channel, in HU; None for other modalities, which may hold anything finite.
        points_mm: world points (x, y, z).
        force: take intensities that do not look like HU.

    Returns:
        What is doubtful, though possible.

    Raises:
        ValueError: they are not, or none can.
    """
    doubts = []
    if not force:
        doubts += check_spacing(properties["spacing"]) + volume_signs.square_doubts(properties)
    if len(windows) != len(channels):
        raise ValueError(f"the model needs {len(windows)} channels, got {len(channels)}.")
    for channel, window in zip(channels, windows, strict=True):
        if window is None or force:
            check_finite(channel)
            continue
        doubts += check_hu(channel)
        doubts += doubts_at("position", points_mm, properties, partial(check_position, channel))
    return doubts


_RAS = "Positions are x, y, z in mm, LPS as in DICOM; from RAS (as in NIfTI viewers) change the sign of x and y."


def _check_lung_near(array: Array, low: Array, high: Array, spacing_mm: Sequence[float]) -> None:
    around = _box(array, low, high, REACH_MM, spacing_mm)
    if np.count_nonzero(around < LUNG_HU) < _LUNG_SHARE * around.size:
        raise ValueError(
            f"there is no lung within {REACH_MM:g} mm: nothing but soft tissue. Is it the right place in the right "
            f"scan? {_RAS}"
        )


def _box(array: Array, low: Array, high: Array, margin_mm: float, spacing_mm: Sequence[float]) -> Array:
    """The voxels from `low` to `high`, both included, and a margin around them."""
    margin = np.ceil(margin_mm / np.asarray(spacing_mm, dtype=float)).astype(int)
    start = np.clip(low - margin, 0, np.asarray(array.shape) - 1)
    stop = np.clip(high + margin + 1, start + 1, array.shape)
    return array[tuple(slice(first, last) for first, last in zip(start, stop, strict=True))]


def _problem(array: Array) -> str | None:
    """What is wrong with a volume of finite values."""
    if min(array.shape) < 2:
        return f"the image has {min(array.shape)} slice (shape {array.shape}); a volume is needed."
    low, high = float(array.min()), float(array.max())
    values = f"its values run from {low:g} to {high:g}"
    if low == high:
        return f"the image is constant ({low:g}); it shows nothing."
    if low < HU_RANGE[0] or high > HU_RANGE[1]:
        return (
            f"the image is not in HU: {values}, outside of {HU_RANGE[0]:g} to {HU_RANGE[1]:g}. Export it with the "
            f"rescale slope and intercept applied, once."
        )
    body = array[array >= PADDING_HU]
    if not body.size or np.count_nonzero(body > FAINTEST_NODULE_HU) == 0 or _is_shifted_down(array, body):
        return (
            f"the image is not in HU of a lung nodule: {values}, but even ground glass has voxels above "
            f"{FAINTEST_NODULE_HU:g} HU. Check the rescale intercept (applied twice, perhaps) and that the image "
            f"shows more than air."
        )
    if np.count_nonzero(body <= DARKEST_TISSUE_HU) < MIN_AIR_SHARE * body.size:
        lowest = float(body.min())
        return (
            f"the image is not in HU: {values}, but lung lies below {DARKEST_TISSUE_HU:g} HU. {_guess(lowest, high)} "
            f"Convert from the original DICOM."
        )
    if problem := _trace(array, body):
        return problem
    if (array == 0).mean() > MOST_ZEROS:
        return (
            f"{(array == 0).mean():.0%} of the voxels are exactly 0 HU, which is soft tissue. Was it padded with 0? "
            f"Outside of it belongs -1024."
        )
    if blank := volume_signs.blank_slices(array):
        return f"the slices {blank[:5]} (counted from 0) are blank between others that are not. Is the series complete?"
    if volume_signs.correlation(array) < MIN_CORRELATION:
        return f"the image is noise: neighbouring voxels have nothing to do with each other ({values}). Was it decoded?"
    return None


def _trace(array: Array, body: Array) -> str | None:
    """What the voxels tell of a wrong scale, of a drawing in place of an image, or of slices out of order."""
    some = volume_signs.thinned(body)
    if (count := len(np.unique(some))) < FEWEST_VALUES:
        return f"the image holds {count} different values, where CT has hundreds. Is it a mask, or a drawing?"
    if (dark := volume_signs.darkest(some)) > DENSEST_AIR_HU:
        return (
            f"the image is not in HU: the darkest of it lies at {dark:.0f} HU, but lung and air lie below "
            f"{DENSEST_AIR_HU:g} HU. It seems scaled or shifted; check rescale slope and intercept."
        )
    return volume_signs.order_problem(array)


def _is_shifted_down(array: Array, body: Array) -> bool:
    """Whether what lies below air varies as an image does; padding is a few values."""
    below = array[array < PADDING_HU]
    if below.size <= body.size / 20:
        return False
    _, counts = np.unique(np.rint(below), return_counts=True)
    return int(np.sort(counts)[-_PADDING_VALUES:].sum()) < below.size / 2


def _guess(low: float, high: float) -> str:
    if low >= 0 and high <= 1:
        return "It looks normalised to 0..1, or like a mask."
    if low >= 0 and high <= 255:
        return "It looks like an 8-bit export (0..255)."
    if high > 255:
        return "The rescale intercept (usually -1024) seems not to be applied."
    return "It looks normalised (mean 0, or HU divided by 1000)."
