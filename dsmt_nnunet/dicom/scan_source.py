"""Where a volume came from, so that a place in it is found in the archive again: series, slices, table positions.

Nothing of the patient: no name, no birth date, no accession number, no Patient ID.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dsmt_nnunet.files import write_json
from dsmt_nnunet.records import RecordError, from_json, jsonable, read_object

SOURCES_FOLDER = "sources"
"""Below a raw data set and a folder of predictions: holds CASE.json, which says what of the archive a case is."""
SCHEMA_VERSION: Literal[1] = 1


@dataclass(frozen=True)
class SliceInArchive:
    """One slice, as an archive and its viewers name it.

    Attributes:
        sop_uid: SOP Instance UID.
        number: Instance Number; of a multi-frame object, the frame. None where the object has none.
        table_mm: Slice Location, else z of Image Position (Patient).
    """

    sop_uid: str
    number: int | None
    table_mm: float


@dataclass(frozen=True)
class ScanSource:
    """The series a volume was read from; slices in the order of the volume's third axis.

    Attributes:
        study_uid, series_uid, frame_of_reference_uid: UIDs.
        series_number: Series Number, "" where there is none.
        sop_uids: SOP Instance UID of every slice, the same one throughout for a multi-frame object.
        numbers: as of `SliceInArchive`.
        table_mm: as of `SliceInArchive`.
        positions_mm: Image Position (Patient), (x, y, z), LPS.
    """

    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    series_number: str
    sop_uids: tuple[str, ...]
    numbers: tuple[int | None, ...]
    table_mm: tuple[float, ...]
    positions_mm: tuple[tuple[float, float, float], ...]
    schema_version: Literal[1] = SCHEMA_VERSION

    def slice_at(self, point_mm: tuple[float, float, float]) -> SliceInArchive | None:
        """The slice nearest to a point (x, y, z), LPS; None where the point lies above or below the volume."""
        positions = np.array(self.positions_mm)
        path = positions[-1] - positions[0]
        heights = (positions - positions[0]) @ path / np.linalg.norm(path)
        height = float((np.array(point_mm) - positions[0]) @ path / np.linalg.norm(path))
        index = int(np.abs(heights - height).argmin())
        if abs(heights[index] - height) > float(np.diff(heights).max()):
            return None
        return SliceInArchive(self.sop_uids[index], self.numbers[index], self.table_mm[index])


def write_sources(folder: Path, sources: Mapping[str, ScanSource]) -> None:
    """Writes `folder/CASE.json` for each case; without any, the folder is not made."""
    for case_id, source in sources.items():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{case_id}.json", jsonable(source), indent=None)


def read_source(path: Path) -> ScanSource:
    """Reads what `write_sources` wrote.

    Raises:
        ValueError: the file is damaged or was written by another release; the message names it.
    """
    try:
        source = from_json(ScanSource, read_object(path))
    except RecordError as error:
        raise ValueError(f"{path} does not say where a scan came from: {error}. Convert or predict again.") from error
    count = len(source.sop_uids)
    lists = (source.numbers, source.table_mm, source.positions_mm)
    if count < 2 or any(len(values) != count for values in lists) or not _all_known(source):
        raise ValueError(f"{path} does not describe every slice of a volume. Convert or predict again.")
    return source


def _all_known(source: ScanSource) -> bool:
    return all(math.isfinite(value) for place in (source.table_mm, *source.positions_mm) for value in place)
