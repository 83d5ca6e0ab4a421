"""What a whole image file is, and what it must be before its voxels are looked at: 3-D, with one number a voxel."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage

from dsmt_nnunet.files import checksum, last_line, whole_file
from dsmt_nnunet.intensities import check_finite

NIFTI_ENDINGS = (".nii.gz", ".nii", ".hdr", ".img.gz", ".img")
MOST_VOXELS = 4 * 10**9
"""A header that names more is damaged: the largest CTs of a chest hold a few 10^8."""


def check_image_file(path: str | Path) -> None:
    """Checks a file for what readers pass over: a missing part, damaged compression, NaN in NIfTI, a wild header.

    Raises:
        ValueError: the file is not whole, or no image; says why.
        FileNotFoundError: no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    try:
        voxels = math.prod(_header(path).GetSize())
        if voxels > MOST_VOXELS:
            raise ValueError(f"{path}: its header names {voxels} voxels. Is it damaged?")
        if path.name.lower().endswith(".gz"):
            _read_to_the_end(path)
        if path.name.lower().endswith(NIFTI_ENDINGS):
            _check_nifti(path)
    except (RuntimeError, OSError, EOFError, zlib.error, ImageFileError, HeaderDataError, MemoryError) as error:
        raise ValueError(f"{path} cannot be read ({last_line(error)}). Is it complete, and an image?") from error


def check_scan_file(path: str | Path) -> None:
    """The same, and that it is a volume with one number a voxel.

    Raises:
        ValueError: it is not.
        FileNotFoundError: no such file.
    """
    check_image_file(path)
    reader = _header(Path(path))
    size = reader.GetSize()
    if len([length for length in size if length > 1]) != 3 or len(size) > 4:
        raise ValueError(f"{path} has the size {size}; one 3-D volume is needed.")
    if reader.GetNumberOfComponents() != 1:
        raise ValueError(f"{path} has {reader.GetNumberOfComponents()} components a voxel (a colour image, perhaps).")


def voxel_checksum(*channels: npt.NDArray[Any]) -> str:
    """CRC-32 of voxels as numbers, whatever type of file they lay in: tells one scan from another.

    Args:
        channels: (C, Z, Y, X), or (Z, Y, X) of each channel.
    """
    value = 0
    for channel in channels:
        value = zlib.crc32(np.ascontiguousarray(channel, dtype=np.float32).data, value)
    return f"{value:08x}"


def scan_digest(array: npt.NDArray[Any]) -> str:
    """Tells one scan from another by how often each value occurs, whatever the order and direction of its axes."""
    values, counts = np.unique(np.rint(array), return_counts=True)
    return voxel_checksum(values, counts)


def write_image(path: str | Path, image: sitk.Image) -> None:
    """Writes a whole image (compressed where the format is), and reads its voxels back.

    Raises:
        OSError: it could not be written, or other voxels were read back.
    """
    with whole_file(path, lambda written: _check_voxels(written, image)) as place:
        try:
            sitk.WriteImage(image, str(place))
        except RuntimeError as error:
            raise OSError(f"{path} cannot be written: {last_line(error)}") from error


def is_whole_image(path: Path) -> bool:
    """Whether an image file is there and can be read to its end; ITK fills what a NIfTI file lacks with zeros."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    try:
        if path.name.endswith(".gz"):
            _read_to_the_end(path)
        if path.name.endswith((".nii", ".nii.gz")):
            np.asanyarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
        else:
            sitk.ReadImage(str(path))
    except (RuntimeError, OSError, EOFError, ValueError, zlib.error, ImageFileError):
        return False
    return True


def check_whole_image(path: Path) -> None:
    """
    Raises:
        OSError: an image file is missing, or cannot be read to its end.
    """
    if not is_whole_image(path):
        raise OSError(f"{path} was not written whole. Is the disk full or failing?")


def _header(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _read_to_the_end(path: Path) -> None:
    """Of a compressed file: its checksum stands at the end."""
    with gzip.open(path) as stream:
        while stream.read(1 << 24):
            pass


def _check_nifti(path: Path) -> None:
    """ITK's NIfTI reader makes zeros, without a word, of the missing part of a file and of NaN and infinity."""
    stored = nibabel.load(path)
    if not isinstance(stored, SpatialImage):
        raise ImageFileError(f"{type(stored).__name__} is not an image")
    try:
        check_finite(np.asanyarray(stored.dataobj))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _check_voxels(path: Path, image: sitk.Image) -> None:
    try:
        found = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise OSError(f"{path.name} cannot be read back: {last_line(error)}. Is the disk full or failing?") from error
    if checksum(sitk.GetArrayViewFromImage(found)) != checksum(sitk.GetArrayViewFromImage(image)):
        raise OSError(f"{path.name}: other voxels were read back than were written. Is the disk full or failing?")
