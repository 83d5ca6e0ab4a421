"""Where a radiologist finds a nodule: in the archive where that is known, else in the volume."""

from __future__ import annotations

from dataclasses import dataclass

import SimpleITK as sitk

from dsmt_nnunet.dicom.scan_source import ScanSource
from dsmt_nnunet.report.nodule_picture import Triple, stack_heights_mm


@dataclass(frozen=True)
class Place:
    """A slice.

    Attributes:
        number: Instance Number, or frame, where the series is known; else the place on the volume's third axis.
        of: how many slices there are.
        table_mm: table position (Slice Location, else z of Image Position); of a volume without its series, z (LPS).
        series_number: Series Number, "" where not known.
        sop_uid: SOP Instance UID, "" where not known.
    """

    number: int | None
    of: int
    table_mm: float
    series_number: str = ""
    sop_uid: str = ""

    @property
    def words(self) -> str:
        """As a line of a card: `series 4, image 57 of 128, table position −123.5 mm`."""
        number = "?" if self.number is None else str(self.number)
        table = f"{self.table_mm:.1f}".replace("-", "−")
        if not self.sop_uid:
            return f"slice {number} of {self.of} of the volume, z {table} mm"
        series = f"series {self.series_number}, " if self.series_number else ""
        return f"{series}image {number} of {self.of}, table position {table} mm"


def place_in_source(source: ScanSource, point_mm: Triple) -> Place | None:
    """The slice of a series nearest to a point (x, y, z), LPS; None where the point lies above or below it."""
    found = source.slice_at(point_mm)
    if found is None:
        return None
    return Place(found.number, len(source.sop_uids), found.table_mm, source.series_number, found.sop_uid)


def place_in_volume(image: sitk.Image, point_mm: Triple) -> Place | None:
    """The slice of a volume nearest to a point (x, y, z), LPS; None where the point lies outside of it."""
    index = image.TransformPhysicalPointToIndex(point_mm)
    if not all(0 <= value < size for value, size in zip(index, image.GetSize(), strict=True)):
        return None
    return Place(index[2] + 1, image.GetSize()[2], point_mm[2])


def stack_places(image: sitk.Image, source: ScanSource | None, centre_mm: Triple, field_mm: float) -> list[str]:
    """Words for the place of each slice of a nodule's stack, from head to feet; "" outside of the scan."""
    x_mm, y_mm, z_mm = centre_mm
    words = []
    for height_mm in stack_heights_mm(field_mm):
        point = (x_mm, y_mm, z_mm + height_mm)
        place = place_in_source(source, point) if source else place_in_volume(image, point)
        words.append(place.words if place else "")
    return words
