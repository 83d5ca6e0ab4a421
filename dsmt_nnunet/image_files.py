"""What an image file must be before its voxels are looked at: whole, three-dimensional, one number a voxel."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage

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
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(error).__name__
        raise ValueError(f"{path} cannot be read ({reason}). Is it complete, and an image?") from error


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
