"""Where the slices of a CT lie and how their values turn into HU, and whether they make one volume: headers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder

from dsmt_nnunet.dicom.export import Series, StoredObject
from dsmt_nnunet.dicom.frames import frames_of
from dsmt_nnunet.dicom.scan_source import SliceInArchive
from dsmt_nnunet.dicom.slice_grid import check_stack, numbers_of


@dataclass(frozen=True)
class PlaneHeader:
    """One slice, without its pixels.

    Attributes:
        size: rows and columns.
        slope, intercept: from stored values to HU.
        padding: first and last stored value that stands for no measurement; None where none is named.
        position_mm: centre of the first pixel, (x, y, z), LPS.
        orientation: direction of the rows (3 numbers) and of the columns (3).
        spacing_mm: of rows and of columns.
        archived: how the archive names it.
    """

    size: tuple[int, int]
    slope: float
    intercept: float
    padding: tuple[int, int] | None
    position_mm: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing_mm: tuple[float, float]
    archived: SliceInArchive

    @property
    def normal(self) -> NDArray[np.float64]:
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def looks(self) -> str:
        """Size, pixel spacing and orientation in words."""
        axes = np.round(self.orientation, 3).tolist()
        return f"{self.size[0]} x {self.size[1]} pixels of {self.spacing_mm} mm along {axes}"

    @property
    def is_whole(self) -> bool:
        """Whether slope and intercept keep whole numbers whole."""
        return self.slope.is_integer() and self.intercept.is_integer()


def check_headers(series: Series) -> None:
    """Refuses, before any pixel is read, a series that makes no volume in HU.

    Raises:
        ValueError: as for `plane_headers` and `check_planes`.
    """
    planes: list[PlaneHeader] = []
    for item in series.objects:
        with item.named(series.where):
            planes += plane_headers(item, series)
            _check_decoder(item, series)
    check_planes(series, planes)


def _check_decoder(item: StoredObject, series: Series) -> None:
    """Whether the pixels are written in a way that can be read here."""
    syntax = getattr(item.header, "file_meta", Dataset()).get("TransferSyntaxUID")
    if syntax is None:
        return
    where = f"{series.where}: the pixels of {item.name} are written in transfer syntax {syntax.name}"
    try:
        is_available = get_decoder(syntax).is_available
    except NotImplementedError as error:
        raise ValueError(
            f"{where}, a vendor's own or none of images. Export the series in one of the standard's, such as explicit "
            f"little endian."
        ) from error
    if not is_available:
        raise ValueError(f"{where}. Install the decoders: pip install 'dsmt-nnunet[dicom]'.")


def plane_headers(item: StoredObject, series: Series, dataset: Dataset | None = None) -> list[PlaneHeader]:
    """The slices of one object.

    Args:
        item: of the series.
        series: for messages.
        dataset: the object where it was read already, else its header serves.

    Raises:
        ValueError: no grey-scale image in HU, or one without a place.
    """
    frames = item.frames if dataset is None else list(frames_of(dataset))
    whole = item.header if dataset is None else dataset
    kind = str(whole.get("PhotometricInterpretation", ""))
    if kind != "MONOCHROME2":
        raise ValueError(
            f"{series.where}: {item.name} is {kind or 'of unknown photometric interpretation'}; a CT in HU is "
            f"MONOCHROME2 (brighter is denser). It is a screen shot or an inverted copy: export the original series."
        )
    count = int(whole.get("NumberOfFrames") or 1)
    if count != len(frames):
        raise ValueError(f"{series.where}: {item.name} holds {count} frames and the positions of {len(frames)}.")
    is_frame = frames[0] is not whole
    number = whole.get("InstanceNumber")
    number = None if number is None else int(number)
    return [
        _plane(frame, index if is_frame else number, whole, item, series) for index, frame in enumerate(frames, start=1)
    ]


def check_planes(series: Series, planes: Sequence[PlaneHeader]) -> tuple[list[int], float]:
    """The order of slices along their normal and their distance in mm, after a look at whether they make one volume.

    Raises:
        ValueError: slices of several patients or studies, or of different size, spacing or orientation, or as for
            `check_stack`.
    """
    if series.divided:
        raise ValueError(
            f"{series.where}: its UID is shared ({series.divided}), and a series is of one patient and study. Correct "
            f"what differs, or export the series again."
        )
    first = planes[0]
    for plane in planes[1:]:
        same = (
            plane.size == first.size
            and np.allclose(plane.orientation, first.orientation, atol=1e-3)
            and np.allclose(plane.spacing_mm, first.spacing_mm, rtol=1e-3)
        )
        if not same:
            raise ValueError(
                f"{series.where}: slices differ in size, pixel spacing or orientation: image {first.archived.number} "
                f"has {first.looks}, image {plane.archived.number} {plane.looks}. Is a localizer among them? Export "
                f"one reconstruction."
            )
    normal = first.normal
    order = sorted(range(len(planes)), key=lambda index: float(planes[index].position_mm @ normal))
    positions = np.array([planes[index].position_mm for index in order])
    return order, check_stack(series, positions, normal, first.spacing_mm)


def _plane(frame: Dataset, number: int | None, whole: Dataset, item: StoredObject, series: Series) -> PlaneHeader:
    missing = [
        name
        for name, count in (
            ("ImagePositionPatient", 3),
            ("ImageOrientationPatient", 6),
            ("PixelSpacing", 2),
            ("RescaleSlope", None),
            ("RescaleIntercept", None),
        )
        if (numbers_of(frame, name, count) is None if count else frame.get(name) in (None, ""))
    ]
    if missing:
        raise ValueError(
            f"{series.where}: {item.name} lacks {', '.join(missing)}, or holds no numbers there, without which it has "
            f"no place or no HU. Export the original series."
        )
    padding = whole.get("PixelPaddingValue")
    location = whole.get("SliceLocation")
    row_mm, column_mm = (float(value) for value in frame.PixelSpacing)
    position_mm = np.array(frame.ImagePositionPatient, float)
    table_mm = float(position_mm[2] if location is None else location)
    return PlaneHeader(
        size=(int(whole.Rows), int(whole.Columns)),
        slope=float(frame.RescaleSlope),
        intercept=float(frame.RescaleIntercept),
        padding=None if padding is None else (int(padding), int(whole.get("PixelPaddingRangeLimit", padding))),
        position_mm=position_mm,
        orientation=np.array(frame.ImageOrientationPatient, float),
        spacing_mm=(row_mm, column_mm),
        archived=SliceInArchive(str(whole.SOPInstanceUID), number, table_mm),
    )
