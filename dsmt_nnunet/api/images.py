"""Scans and positions in the forms that people have them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from dsmt_nnunet.covariates import Covariate, CovariateValue, checked
from dsmt_nnunet.dataset_conversion.images import read_volume
from dsmt_nnunet.inference.given_nodules import positions_outside
from dsmt_nnunet.nodules import NONE_ID, Nodule, at_one_place

Point: TypeAlias = Sequence[float] | npt.NDArray[np.floating[Any]]
Positions: TypeAlias = Point | Sequence[Point] | Mapping[str, Point]
"""One point (x, y, z) in mm, LPS; several; or nodule name -> point."""
Channel: TypeAlias = sitk.Image | npt.NDArray[Any] | str | Path
ImageLike: TypeAlias = Channel | Sequence[sitk.Image | str | Path]
"""A SimpleITK image, an array (Z, Y, X), an image file or a DICOM folder; for several channels a list of these."""


@dataclass(frozen=True)
class ArrayPlace:
    """Where a NumPy array lies in the world.

    Attributes:
        spacing_mm: (x, y, z) of the voxels.
        origin_mm: (x, y, z) of the centre of the first voxel, LPS.
        direction: nine direction cosines, row by row, as SimpleITK has them; None for axes along the world's.
    """

    spacing_mm: Sequence[float] | None = None
    origin_mm: Sequence[float] | None = None
    direction: Sequence[float] | None = None

    @property
    def is_given(self) -> bool:
        return any(value is not None for value in (self.spacing_mm, self.origin_mm, self.direction))


def channels_of(image: ImageLike, place: ArrayPlace) -> list[sitk.Image]:
    """The channels of a scan as 3-D SimpleITK images.

    Raises:
        TypeError: no image.
        ValueError: not 3-D; an array without spacing and origin; an image of another kind with them.
        FileNotFoundError: no such file or folder.
    """
    several = list(image) if isinstance(image, list | tuple) else [image]
    if not several:
        raise ValueError("image is an empty list; give one image a channel.")
    return [_channel(item, place) for item in several]


def nodules_at(positions: Positions, image: sitk.Image, case_id: str) -> tuple[Nodule, ...]:
    """Nodules at given positions, numbered from 1 unless named.

    Raises:
        ValueError: no points of three finite numbers, or points outside the image.
    """
    try:
        if isinstance(positions, Mapping):
            names, values = _names(positions, case_id), [_numbers(point) for point in positions.values()]
        else:
            array = _numbers(positions)
            values = [array] if array.ndim == 1 else list(array)
            names = [str(number) for number in range(1, len(values) + 1)]
        are_points = all(value.shape == (3,) and np.isfinite(value).all() for value in values)
    except (TypeError, OverflowError):
        values = []
    if not values or not are_points:
        raise ValueError(
            f"Case '{case_id}': a position is three finite numbers (x, y, z) in mm, LPS; got {positions!r}. Leave "
            f"positions out to search the scan."
        )
    nodules = tuple(
        Nodule(case_id, name, case_id, (float(x), float(y), float(z)))
        for name, (x, y, z) in zip(names, values, strict=True)
    )
    problems = positions_outside(f"case '{case_id}'", image, nodules) + at_one_place(nodules)
    if problems:
        raise ValueError(
            "Positions must be mm in LPS, inside the scan, each at a place of its own, but:\n  " + "\n  ".join(problems)
        )
    return nodules


def _numbers(values: Any) -> npt.NDArray[np.float64]:
    """
    Raises:
        TypeError: there are others among them.
        ValueError: labels of pandas' say that they are not in the order x, y, z.
    """
    for part in values if isinstance(values, list | tuple) else [values]:
        labels = getattr(part, "columns", part.index) if hasattr(part, "iloc") else []
        axes = [label.strip().casefold().removesuffix("_mm") for label in labels if isinstance(label, str)]
        if axes and axes != ["x", "y", "z"]:
            raise ValueError(f"Three numbers in mm come in the order x, y, z; these are called {list(labels)}.")
    array = np.asarray(values)
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise TypeError(f"{array.dtype}")
    return array.astype(np.float64)


def _names(positions: Mapping[Any, Any], case_id: str) -> list[str]:
    """Names of nodules, as tables have them.

    Raises:
        ValueError: one is empty, means that there is no nodule, or stands for two of them.
    """
    names = [str(name).strip() for name in positions]
    wrong = [name for name in names if not name or name.casefold() == NONE_ID or names.count(name) > 1]
    if wrong:
        raise ValueError(
            f"Case '{case_id}': a nodule's name is a text of its own, other than '{NONE_ID}', which says that there is "
            f"none; got {list(positions)}."
        )
    return names


def covariates_of(
    known: Sequence[Covariate], given: Mapping[str, Any], nodules: Sequence[str]
) -> tuple[dict[str, CovariateValue], dict[str, dict[str, CovariateValue]]]:
    """Covariates of every nodule that a search finds, and of each named one.

    Args:
        known: those of the model.
        given: name -> value for all nodules, or nodule name -> such a mapping.
        nodules: names of the given nodules.

    Raises:
        TypeError: no mapping.
        ValueError: a name is neither a nodule nor a covariate, or a value is of another type.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"covariates are a mapping of name to value, got {type(given).__name__}.")
    each = {name: own for name, own in given.items() if isinstance(own, Mapping)}
    if not each:
        of_all = checked(known, given)
        return of_all, dict.fromkeys(nodules, of_all)
    strangers = sorted(set(given) - set(nodules))
    if strangers:
        raise ValueError(
            f"covariates name {strangers}, which are no nodules; the nodules are {list(nodules) or 'searched for'}. "
            f"Give name -> value for all nodules, or nodule -> such a mapping for each."
        )
    return checked(known, {}), {name: checked(known, each.get(name, {})) for name in nodules}


def _channel(image: Any, place: ArrayPlace) -> sitk.Image:
    if isinstance(image, np.ndarray):
        return _from_array(image, place)
    if not isinstance(image, sitk.Image | str | Path):
        raise TypeError(
            f"An image is a SimpleITK image, a NumPy array, a file or a DICOM folder; got {type(image).__name__}."
        )
    if place.is_given:
        raise ValueError("spacing_mm, origin_mm and direction are for NumPy arrays; this image brings its own.")
    if isinstance(image, sitk.Image):
        is_real = "complex" not in image.GetPixelIDTypeAsString()
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1 or not is_real:
            raise ValueError(
                f"An image must be 3-D with one real number a voxel; got {image.GetDimension()}-D with "
                f"{image.GetNumberOfComponentsPerPixel()} of {image.GetPixelIDTypeAsString()}. Channels come as a list."
            )
        return image
    if not Path(image).exists():
        raise FileNotFoundError(f"{image}: no such image file or DICOM folder.")
    return read_volume(Path(image))


def _from_array(array: npt.NDArray[Any], place: ArrayPlace) -> sitk.Image:
    if np.ma.isMaskedArray(array):
        raise ValueError("A masked array hides voxels, and a scan has all of them. Fill them in (-1024 HU is air).")
    if array.ndim != 3 or not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise ValueError(f"An array must hold numbers, (Z, Y, X); got shape {array.shape} of {array.dtype}.")
    if place.spacing_mm is None or place.origin_mm is None:
        raise ValueError("An array needs spacing_mm=(x, y, z) and origin_mm=(x, y, z); positions are in mm.")
    image = sitk.GetImageFromArray(np.ascontiguousarray(array, dtype=np.float32))
    spacing, origin = _three("spacing_mm", place.spacing_mm), _three("origin_mm", place.origin_mm)
    if min(spacing) <= 0:
        raise ValueError(f"spacing_mm must be three positive numbers (x, y, z), got {place.spacing_mm!r}.")
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    if place.direction is not None:
        cosines = np.asarray(place.direction, dtype=float).ravel()
        if cosines.shape != (9,) or not np.allclose(
            cosines.reshape(3, 3) @ cosines.reshape(3, 3).T, np.eye(3), atol=1e-3
        ):
            raise ValueError(
                f"direction must be nine cosines of three axes at right angles, got {place.direction!r}. Sizes go "
                f"into spacing_mm."
            )
        image.SetDirection(cosines.tolist())
    return image


def _three(name: str, values: Any) -> list[float]:
    try:
        array = _numbers(values)
    except TypeError:
        array = np.zeros(0)
    if array.shape != (3,) or not np.isfinite(array).all():
        raise ValueError(f"{name} must be three finite numbers (x, y, z), got {values!r}.")
    return [float(value) for value in array]
