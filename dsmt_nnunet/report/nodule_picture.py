"""A nodule as the page shows it: three planes and a stack of axial slices, with contours.

Pictures are sampled on grids along the axes of the patient (LPS), whatever the orientation of the image. Axial slices
are seen from the feet (the patient's right at the left), coronal ones from the front, sagittal ones from the left with
the front at the left.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from PIL import Image
from skimage.measure import approximate_polygon, find_contours

from dsmt_nnunet.image_files import read_image
from dsmt_nnunet.report.windows import STORED_HU, stored_shades

FIELD_MM = 48.0
"""Side of the field of view; larger nodules get `FIELD_PER_DIAMETER` diameters."""
FIELD_PER_DIAMETER = 1.7
PLANE_PIXELS = 160
STACK_PIXELS = 112
STACK_SLICES = 48
STACK_COLUMNS = 8
PLANES = ("axial", "coronal", "sagittal")
AIR_HU = STORED_HU[0]
"""Outside of the scan."""
_QUALITY = 80
_TOLERANCE_PIXELS = 0.35
_MARGIN_VOXELS = 2

FloatVolume = npt.NDArray[np.float32]
Number = TypeVar("Number", np.uint8, np.float32)
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class NodulePicture:
    """Pictures of one nodule, as data for the page, in stored shades (`dsmt_nnunet.report.windows`).

    Attributes:
        planes_uri: axial, coronal and sagittal plane side by side, `PLANE_PIXELS` a side each.
        stack_uri: axial slices from head to feet, `STACK_COLUMNS` a row, `STACK_PIXELS` a side each.
        plane_contours: layer ("truth", "predicted") -> SVG path of each plane.
        stack_contours: layer -> SVG path of each slice.
        field_mm: side of the field of view.
    """

    planes_uri: str
    stack_uri: str
    plane_contours: dict[str, list[str]]
    stack_contours: dict[str, list[str]]
    field_mm: float

    @property
    def slice_step_mm(self) -> float:
        return self.field_mm / STACK_SLICES


class OutsideImageError(ValueError):
    """The position of a nodule does not lie in its image."""


def nodule_picture(
    image: sitk.Image, masks: dict[str, sitk.Image], centre_mm: Triple, diameter_mm: float = math.nan
) -> NodulePicture:
    """Pictures of a nodule.

    Args:
        image: in HU.
        masks: layer -> mask, non-zero where there is nodule; its grid may differ from the image's.
        centre_mm: (x, y, z), LPS.
        diameter_mm: widens the field of view of a large nodule; NaN where not known.

    Raises:
        OutsideImageError: the centre does not lie in the image.
    """
    index = image.TransformPhysicalPointToContinuousIndex(centre_mm)
    if not all(-0.5 <= value <= size - 0.5 for value, size in zip(index, image.GetSize(), strict=True)):
        raise OutsideImageError(
            f"The nodule at {[round(value, 1) for value in centre_mm]} mm does not lie in the image."
        )
    field = field_mm_of(diameter_mm)
    planes = [stored_shades(plane) for plane in sample_planes(image, centre_mm, field, AIR_HU)]
    stack = stored_shades(sample_stack(image, centre_mm, field, AIR_HU))
    layers = {name: sitk.Cast(_around(mask, centre_mm, field) != 0, sitk.sitkFloat32) for name, mask in masks.items()}
    return NodulePicture(
        planes_uri=data_uri(np.hstack(planes)),
        stack_uri=data_uri(tiled(stack)),
        plane_contours={
            name: [contour_path(plane) for plane in sample_planes(mask, centre_mm, field, 0.0)]
            for name, mask in layers.items()
        },
        stack_contours={
            name: [contour_path(plane) for plane in sample_stack(mask, centre_mm, field, 0.0)]
            for name, mask in layers.items()
        },
        field_mm=field,
    )


def field_mm_of(diameter_mm: float) -> float:
    """Side of the field of view of a nodule; NaN where its diameter is not known."""
    return FIELD_MM if math.isnan(diameter_mm) else max(FIELD_MM, FIELD_PER_DIAMETER * diameter_mm)


def read_volume(path: Path) -> sitk.Image:
    """Reads an image or a mask.

    Raises:
        ValueError: it cannot be read, is not whole, or is no volume; the message names it.
    """
    volume = read_image(path)
    if volume.GetDimension() != 3 or volume.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(f"{path} must be a volume of one channel, got size {volume.GetSize()}.")
    return volume


def sample_planes(
    image: sitk.Image, centre_mm: Triple, field_mm: float, fill: float, pixels: int = PLANE_PIXELS
) -> list[FloatVolume]:
    """Axial, coronal and sagittal plane through a point, each (pixels, pixels), as they are looked at."""
    n, step = pixels, field_mm / pixels
    coronal = _sample(image, centre_mm, (n, 1, n), (step, step, step), fill)[::-1, 0]
    sagittal = _sample(image, centre_mm, (1, n, n), (step, step, step), fill)[::-1, :, 0]
    return [sample_slice(image, centre_mm, field_mm, fill, pixels), coronal, sagittal]


def sample_slice(image: sitk.Image, centre_mm: Triple, field_mm: float, fill: float, pixels: int) -> FloatVolume:
    """The axial slice through a point, (pixels, pixels)."""
    step = field_mm / pixels
    plane: FloatVolume = _sample(image, centre_mm, (pixels, pixels, 1), (step, step, step), fill)[0]
    return plane


def sample_stack(
    image: sitk.Image,
    centre_mm: Triple,
    field_mm: float,
    fill: float,
    pixels: int = STACK_PIXELS,
    slices: int = STACK_SLICES,
) -> FloatVolume:
    """Axial slices from head to feet, (slices, pixels, pixels)."""
    step, gap = field_mm / pixels, field_mm / slices
    return _sample(image, centre_mm, (pixels, pixels, slices), (step, step, gap), fill)[::-1]


def stack_heights_mm(field_mm: float) -> list[float]:
    """Heights of the slices of a stack above the centre, from head to feet."""
    return [((STACK_SLICES - 1) / 2 - index) * field_mm / STACK_SLICES for index in range(STACK_SLICES)]


def contour_path(mask: npt.NDArray[np.floating]) -> str:
    """SVG path of the half level of a (Y, X) mask, in pixels (the first covers 0 to 1); "" for none."""
    parts = []
    for contour in find_contours(np.pad(mask, 1), 0.5):
        points = approximate_polygon(contour, _TOLERANCE_PIXELS)
        if len(points) < 4:
            continue
        listed = "L".join(f"{x - 0.5:.1f} {y - 0.5:.1f}" for y, x in points[:-1])
        parts.append(f"M{listed}Z")
    return "".join(parts)


def _around(image: sitk.Image, centre_mm: Triple, field_mm: float) -> sitk.Image:
    """The part of a volume that a field of view can touch (a voxel at least), to spare work on the rest."""
    reach = field_mm / 2 * math.sqrt(3)
    centre = image.TransformPhysicalPointToContinuousIndex(centre_mm)
    ranges = []
    for middle, spacing, size in zip(centre, image.GetSpacing(), image.GetSize(), strict=True):
        low = min(max(math.floor(middle - reach / spacing) - _MARGIN_VOXELS, 0), size - 1)
        high = min(max(math.ceil(middle + reach / spacing) + _MARGIN_VOXELS, low + 1), size)
        ranges.append(slice(low, high))
    part: sitk.Image = image[tuple(ranges)]
    return part


def _sample(
    image: sitk.Image, centre_mm: Triple, size: tuple[int, int, int], step_mm: Triple, fill: float
) -> FloatVolume:
    """Linear samples on a grid along the patient's axes, (Z, Y, X); grid centre at `centre_mm`."""
    corner = [c - (n - 1) / 2 * s for c, n, s in zip(centre_mm, size, step_mm, strict=True)]
    part = _around(image, centre_mm, max(n * s for n, s in zip(size, step_mm, strict=True)))
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(size)
    resampler.SetOutputSpacing(step_mm)
    resampler.SetOutputOrigin(corner)
    resampler.SetOutputDirection((1, 0, 0, 0, 1, 0, 0, 0, 1))
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetDefaultPixelValue(fill)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    return np.asarray(sitk.GetArrayFromImage(resampler.Execute(part)), dtype=np.float32)


def tiled(stack: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Slices side by side, `STACK_COLUMNS` a row."""
    rows = math.ceil(len(stack) / STACK_COLUMNS)
    height, width = stack.shape[1:]
    tiles = np.zeros((rows * STACK_COLUMNS, height, width), dtype=stack.dtype)
    tiles[: len(stack)] = stack
    return tiles.reshape(rows, STACK_COLUMNS, height, width).swapaxes(1, 2).reshape(rows * height, -1)


def data_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """A grey picture as WebP."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="WEBP", quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def parse_centre(texts: Sequence[str]) -> Triple | None:
    """The position of a row; None where it has none."""
    try:
        x_mm, y_mm, z_mm = (float(text) for text in texts)
    except ValueError:
        return None
    return x_mm, y_mm, z_mm
