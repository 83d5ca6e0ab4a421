"""What a whole image file is, and what it must be before its voxels are looked at: 3-D, with one number a voxel."""

from __future__ import annotations

import gzip
import logging
import math
import struct
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any, cast

import nibabel
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from nibabel.filebasedimages import FileBasedImage, ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage

from dsmt_nnunet.files import checksum, last_line, whole_file
from dsmt_nnunet.intensities import check_finite

logger = logging.getLogger(__name__)
NIFTI_ENDINGS = (".nii.gz", ".nii", ".hdr", ".img.gz", ".img")
_SAME_SIZE, _SAME_PLACE_MM = 0.01, 1.0
_HEADER_BYTES, _SIZES_AT = 348, 80
MOST_VOXELS = 4 * 10**9
"""A header that names more is damaged: the largest CTs of a chest hold a few 10^8."""

_DAMAGED = (
    RuntimeError,
    OSError,
    EOFError,
    OverflowError,
    MemoryError,
    zlib.error,
    ImageFileError,
    HeaderDataError,
)


def check_image_file(path: str | Path) -> None:
    """Checks a file for what readers pass over: a missing part, damaged compression, NaN in NIfTI, a wild header.

    Raises:
        ValueError: the file is not whole, or no image; says why.
        FileNotFoundError: no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    name = path.name.lower()
    try:
        if name.endswith(".nii.gz"):
            with gzip.open(path) as stream:
                _check_nifti(path, stream)
                _read_to_the_end(stream)
            return
        if name.endswith(".gz"):
            with gzip.open(path) as stream:
                _read_to_the_end(stream)
        if name.endswith(NIFTI_ENDINGS):
            _check_nifti(path)
        else:
            _check_size(_header(path).GetSize())
    except _DAMAGED as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_scan_file(path: str | Path) -> None:
    """The same, and that it is a volume with one number a voxel.

    Raises:
        ValueError: it is not.
        FileNotFoundError: no such file.
    """
    check_image_file(path)
    try:
        reader = _header(Path(path))
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    size = reader.GetSize()
    if len([length for length in size if length > 1]) != 3 or len(size) > 4:
        raise ValueError(f"{path} has the size {size}; one 3-D volume is needed.")
    if reader.GetNumberOfComponents() != 1:
        raise ValueError(f"{path} has {reader.GetNumberOfComponents()} components a voxel (a colour image, perhaps).")


def read_image(path: str | Path) -> sitk.Image:
    """Reads an image that is whole; of what is missing ITK makes zeros.

    Raises:
        ValueError: see `check_image_file`.
        FileNotFoundError: no such file.
    """
    check_image_file(path)
    return sitk.ReadImage(str(path))


def read_mask(path: str | Path) -> sitk.Image:
    """Reads a mask that is whole.

    Raises:
        ValueError: see `check_image_file`; or its values are no labels, as those of a CT are none.
        FileNotFoundError: no such file.
    """
    mask = read_image(path)
    values = sitk.GetArrayViewFromImage(mask)
    if mask.GetNumberOfComponentsPerPixel() != 1 or (values < 0).any() or (values != np.rint(values)).any():
        raise ValueError(
            f"{path} is no mask: labels are whole numbers from 0 on, one a voxel, and its values run from "
            f"{values.min():g} to {values.max():g}."
        )
    return mask


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
            with gzip.open(path) as stream:
                _read_to_the_end(stream)
        if path.name.endswith((".nii", ".nii.gz")):
            np.asanyarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
        else:
            sitk.ReadImage(str(path))
    except (*_DAMAGED, ValueError):
        return False
    return True


def check_whole_image(path: Path) -> None:
    """
    Raises:
        OSError: an image file is missing, or cannot be read to its end.
    """
    if not is_whole_image(path):
        raise OSError(f"{path} was not written whole. Is the disk full or failing?")


def _unreadable(path: str | Path, error: Exception) -> ValueError:
    return ValueError(f"{path} cannot be read ({last_line(error)}). Is it complete, and an image?")


def _header(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _check_size(size: Sequence[int]) -> None:
    voxels = math.prod(int(length) for length in size)
    if voxels > MOST_VOXELS:
        raise ValueError(f"its header names {voxels} voxels. Is it damaged?")


def _read_to_the_end(stream: gzip.GzipFile) -> None:
    """Of a compressed file: its checksum stands at the end."""
    while stream.read(1 << 24):
        pass


def _check_nifti(path: Path, stream: gzip.GzipFile | None = None) -> None:
    """ITK's NIfTI reader makes zeros, without a word, of the missing part of a file and of NaN and infinity.

    Args:
        path: of the file.
        stream: its content, at its start, where it is compressed: it is decompressed once.
    """
    stored = nibabel.load(path) if stream is None else _nifti_in(path, stream)
    if not isinstance(stored, SpatialImage):
        raise ImageFileError(f"{type(stored).__name__} is not an image")
    _check_size(stored.shape)
    if isinstance(stored, nibabel.Nifti1Pair):
        with path.open("rb") if stream is None else nullcontext(cast("IO[bytes]", stream)) as content:
            _check_voxel_size(content, len(stored.shape))
        _check_forms(path, stored)
    check_finite(np.asanyarray(stored.dataobj))


def _nifti_in(path: Path, stream: gzip.GzipFile) -> FileBasedImage:
    """What nibabel would load; the voxels are read from the stream when they are asked for."""
    start = stream.read(348)
    stream.seek(0)
    return nibabel.Nifti1Image.from_stream(stream) if start.endswith(b"n+1\0") else nibabel.load(path)


def _check_voxel_size(content: IO[bytes], dimensions: int) -> None:
    """
    Raises:
        ValueError: the header has a voxel size of 0, below 0 or NaN, in whose place nibabel and ITK put what they like.
    """
    before = content.tell()
    content.seek(0)
    header = content.read(_HEADER_BYTES)
    content.seek(before)
    order = next((order for order in "<>" if header[:4] == struct.pack(f"{order}i", _HEADER_BYTES)), None)
    if order is None:  # the voxels of a pair of files
        return
    sizes_mm = struct.unpack_from(f"{order}3f", header, _SIZES_AT)[: min(3, dimensions)]
    if not all(0 < size < math.inf for size in sizes_mm):
        raise ValueError(
            f"its header gives the voxel size {list(sizes_mm)}, for which each program puts what it likes. Write the "
            f"image anew with its true voxel size."
        )


def _check_forms(path: Path, stored: nibabel.Nifti1Pair) -> None:
    """A header may say twice where the image lies (qform and sform); programs follow one or the other.

    Raises:
        ValueError: the two name other voxel sizes. Of other places a warning tells.
    """
    affines: list[npt.NDArray[np.float64]] = []
    for read in (stored.get_qform, stored.get_sform):
        affine, code = read(coded=True)  # type: ignore[no-untyped-call]
        affines += [affine] if code else []
    if len(affines) < 2:
        return
    one, other = affines
    sizes = [np.linalg.norm(affine[:3, :3], axis=0) for affine in affines]
    if not np.allclose(sizes[0], sizes[1], rtol=_SAME_SIZE):
        raise ValueError(
            f"its header names two voxel sizes, {np.round(sizes[0], 3).tolist()} (qform) and "
            f"{np.round(sizes[1], 3).tolist()} mm (sform). Write the image anew with one."
        )
    last = [length - 1 for length in (*stored.shape, 1, 1)[:3]]
    corners = np.array([[*np.multiply(corner, last), 1] for corner in np.ndindex(2, 2, 2)])
    apart_mm = float(np.linalg.norm(corners @ (one - other).T, axis=1).max())
    if apart_mm > _SAME_PLACE_MM:
        logger.warning(
            "%s: its header names two places that are %.0f mm apart (qform and sform), and programs follow one or the "
            "other. Are positions and mask those of this one?",
            path,
            apart_mm,
        )


def _check_voxels(path: Path, image: sitk.Image) -> None:
    try:
        found = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise OSError(f"{path.name} cannot be read back: {last_line(error)}. Is the disk full or failing?") from error
    if checksum(sitk.GetArrayViewFromImage(found)) != checksum(sitk.GetArrayViewFromImage(image)):
        raise OSError(f"{path.name}: other voxels were read back than were written. Is the disk full or failing?")
