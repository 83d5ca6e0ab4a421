"""Finding images and masks by name, reading them, and checking that they are what they should be."""

from __future__ import annotations

import math
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError

from dsmt_nnunet.dicom.scan_source import ScanSource
from dsmt_nnunet.dicom.series import CT, read_only_ct
from dsmt_nnunet.geometry import GRID_TOLERANCE_MM
from dsmt_nnunet.image_files import check_image_file
from dsmt_nnunet.intensities import check_finite

VOLUME_ENDINGS = (
    ".nii.gz",
    ".nii",
    ".nia",
    ".mha",
    ".mhd",
    ".nrrd",
    ".nhdr",
    ".hdr",
    ".img.gz",
    ".img",
    ".gipl.gz",
    ".gipl",
    ".vtk",
    ".mnc",
    ".tif",
    ".tiff",
    ".dcm",
)
"""File name endings by which an image is found; a name with its ending is found whatever the ending."""

_NNUNET_CHANNEL = "_0000"


class VolumeFinder:
    """Finds volumes in a folder by their name without ending.

    Args:
        folder: where to look.
        anywhere: whether names may lead out of the folder (absolute, or with `..`).

    Raises:
        NotADirectoryError: there is no such folder.
    """

    def __init__(self, folder: Path, anywhere: bool = False) -> None:
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is not a folder.")
        self.folder = folder
        self.anywhere = anywhere
        self._index: dict[Path, dict[str, list[Path]]] = {}
        self._found: dict[str, Path] = {}

    def find(self, name: str) -> Path:
        """The one volume called `name`: with its ending, without it, or as nnU-Net calls it (`name_0000`).

        Raises:
            ValueError: there is none, or more than one, or it lies elsewhere.
        """
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> Path:
        exact = self.folder / name
        inside = os.path.normpath(exact).startswith(os.path.join(os.path.normpath(self.folder), ""))
        if not inside and not self.anywhere:
            raise ValueError(
                f"'{name}' leads out of {self.folder}. Name files below it, or allow others with --images-anywhere."
            )
        found = self._candidates(exact)
        if not found:
            raise ValueError(
                f"there is no '{name}' in {self.folder}: no image file of that name, with or without its ending, and "
                f"no folder with a DICOM series. Add it, or name the file in a column 'image' or 'mask'."
            )
        if len(found) > 1:
            names = sorted(path.name for path in found)
            raise ValueError(f"'{name}' is ambiguous in {self.folder}: {names}. Name the file with its ending.")
        return found[0]

    def is_there(self, name: str) -> bool:
        """Whether a volume is called `name`, or several are."""
        return bool(self._candidates(self.folder / name))

    def check_single_channel(self, path: Path) -> None:
        """Checks that no further channel lies beside an image: a data set that is written has one, the CT.

        Raises:
            ValueError: there is one.
        """
        ending = next((ending for ending in VOLUME_ENDINGS if path.name.lower().endswith(ending)), "")
        stem = path.name[: len(path.name) - len(ending)].removesuffix(_NNUNET_CHANNEL)
        beside = self._in(path.parent)
        further = [other.name for number in range(1, 10) for other in beside.get(_composed(f"{stem}_{number:04d}"), [])]
        if further:
            raise ValueError(
                f"{path} has further channels beside it ({', '.join(further)}), and conversion writes the CT alone. "
                f"Make nnU-Net's folders by hand for several channels (docs/data-format.md), or move these files away."
            )

    def _candidates(self, exact: Path) -> list[Path]:
        if exact.is_file():
            return [exact]
        found = [*self._named(exact), *([exact] if exact.is_dir() else [])]
        return found + self._named(exact.with_name(exact.name + _NNUNET_CHANNEL))

    def _named(self, path: Path) -> list[Path]:
        return self._in(path.parent).get(_composed(path.name), [])

    def _in(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._index:
            self._index[folder] = _index_by_stem(folder)
        return self._index[folder]


def _index_by_stem(folder: Path) -> dict[str, list[Path]]:
    index: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        ending = next((ending for ending in VOLUME_ENDINGS if path.name.lower().endswith(ending)), None)
        if ending and not path.name.startswith(".") and path.is_file():
            index.setdefault(_composed(path.name[: -len(ending)]), []).append(path)
    for paths in index.values():
        if any(path.name.lower().endswith(".hdr") for path in paths):
            paths[:] = [path for path in paths if not path.name.lower().endswith((".img", ".img.gz"))]
    return index


def _composed(name: str) -> str:
    """A name with each letter and its accent as one sign: a Mac writes two."""
    return unicodedata.normalize("NFC", name)


def read_scan(path: Path, checked: bool = False) -> tuple[sitk.Image, ScanSource | None]:
    """Reads a 3-D volume: a file, or a folder with a DICOM series; and what of an archive it is.

    A fourth axis of length one is dropped.

    Args:
        path: of the file or folder.
        checked: whether it is a file that was read before, is no DICOM, and has not changed since: it is only read.

    Raises:
        ValueError: not readable, not 3-D, or more than one value a voxel.
    """
    modality = CT if path.is_dir() else "" if checked else _modality(path)
    scan = read_only_ct(path) if modality == CT else None
    image = scan.image if scan else _read_file(path, modality, checked)
    size = image.GetSize()
    if image.GetDimension() == 4 and size[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3:
        raise ValueError(f"{path} is {image.GetDimension()}-D (size {size}); one 3-D volume a case is needed.")
    if image.GetNumberOfComponentsPerPixel() != 1 or "complex" in image.GetPixelIDTypeAsString():
        raise ValueError(
            f"{path} holds {image.GetPixelIDTypeAsString()} voxels with {image.GetNumberOfComponentsPerPixel()} "
            f"components (a colour image, perhaps); one number a voxel is needed."
        )
    return image, scan.source if scan else None


def read_volume(path: Path, checked: bool = False) -> sitk.Image:
    """`read_scan`, the image alone."""
    return read_scan(path, checked)[0]


def _read_file(path: Path, modality: str, checked: bool) -> sitk.Image:
    if modality in ("RTSTRUCT", "RTPLAN", "RTDOSE", "SEG", "SR"):
        raise ValueError(
            f"{path} is a DICOM {modality}, not an image. Convert the whole export with 'dsmt convert dicom', which "
            f"draws its contours on the CT they refer to."
        )
    if not checked:
        check_image_file(path)
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ValueError(f"{path} cannot be read ({lines[-1]}). Is it complete, and an image?") from error


def _modality(path: Path) -> str:
    """Modality of a DICOM file; "" for another."""
    try:
        return str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Modality"]).get("Modality", ""))
    except (InvalidDicomError, OSError, ValueError):
        return ""


def label_array(mask: sitk.Image) -> NDArray[np.integer]:
    """Voxels of a mask as whole numbers, (Z, Y, X).

    Raises:
        ValueError: values that are not whole numbers from 0 on, no nodule at all, or nothing but nodule.
    """
    array = sitk.GetArrayFromImage(mask)
    check_finite(array)
    if np.issubdtype(array.dtype, np.floating):
        broken = array[~(array == np.rint(array))]
        if broken.size:
            raise ValueError(
                f"the mask holds values that are not whole numbers (such as {broken[0]:g}); it may be a probability or "
                f"an interpolated mask. Threshold it."
            )
        if np.abs(array).max() > np.iinfo(np.int32).max:
            raise ValueError(f"the mask holds {np.abs(array).max():g}, which is no label. Threshold it.")
        array = array.astype(np.int32)
    low, high = int(array.min()), int(array.max())
    if low < 0:
        raise ValueError(f"the mask holds negative values (down to {low}). Background is 0; is it an image?")
    if high == 0:
        raise ValueError("the mask is empty: no voxel is above 0. Draw the nodule, or remove the row.")
    if low > 0:
        raise ValueError(f"the mask has no background: its values run from {low} to {high}. Is it inverted?")
    return array


def along_axes_of(image: sitk.Image, mask: sitk.Image) -> sitk.Image:
    """The mask with its axes in the order and direction of the image's; its voxels stay where they are in the world."""
    axes: Any = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines
    wanted = axes(image.GetDirection())
    return mask if axes(mask.GetDirection()) == wanted else sitk.DICOMOrient(mask, wanted)


def check_same_grid(image: sitk.Image, mask: sitk.Image) -> None:
    """Checks that a mask has the voxels of its image.

    Raises:
        ValueError: another size, or voxels that lie more than `GRID_TOLERANCE_MM` apart; says what differs.
    """
    differences = []
    if image.GetSize() != mask.GetSize():
        differences.append(f"size (image {image.GetSize()}, mask {mask.GetSize()})")
    extent = max(size * spacing for size, spacing in zip(image.GetSize(), image.GetSpacing(), strict=True))
    spacing_shift = max(
        size * abs(a - b) for size, a, b in zip(image.GetSize(), image.GetSpacing(), mask.GetSpacing(), strict=True)
    )
    direction_shift = extent * max(abs(a - b) for a, b in zip(image.GetDirection(), mask.GetDirection(), strict=True))
    if spacing_shift > GRID_TOLERANCE_MM:
        differences.append(f"spacing (image {_mm(image.GetSpacing())}, mask {_mm(mask.GetSpacing())})")
    if math.dist(image.GetOrigin(), mask.GetOrigin()) > GRID_TOLERANCE_MM:
        differences.append(f"origin (image {_mm(image.GetOrigin())}, mask {_mm(mask.GetOrigin())})")
    if direction_shift > GRID_TOLERANCE_MM:
        differences.append(f"direction (image {_mm(image.GetDirection())}, mask {_mm(mask.GetDirection())})")
    if differences:
        raise ValueError(
            f"the mask is not on the grid of its image: {', '.join(differences)} differ by more than "
            f"{GRID_TOLERANCE_MM:g} mm across the volume. Export the mask on the image's grid, or resample it there "
            f"(nearest neighbour)."
        )


def _mm(values: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value:.4g}' for value in values)})"
