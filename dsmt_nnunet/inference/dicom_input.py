"""A DICOM export as the input of a prediction: each CT series a case, positions from a table or from contours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.dicom.export import Export, Series, read_export
from dsmt_nnunet.dicom.packed_files import walk
from dsmt_nnunet.dicom.scan_source import SOURCES_FOLDER, ScanSource, write_sources
from dsmt_nnunet.dicom.series import CtVolume, ct_series, read_ct
from dsmt_nnunet.dicom.structures import read_structures, structures_of
from dsmt_nnunet.files import write_rows
from dsmt_nnunet.identifiers import case_id_problem
from dsmt_nnunet.image_files import write_image
from dsmt_nnunet.tasks import NODULE_TABLE_NAME, POSITION_COLUMNS

_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")


@dataclass(frozen=True)
class ExportedCase:
    """A CT series that becomes a case.

    Attributes:
        case_id: the Patient ID in letters that a file name may have, with the number of the series where a patient has
            several.
        series: the CT.
        nodules: how many positions its contours give; None where none were asked for.
        source: its slices in the archive; None where the series could not be read.
        problem: why the series could not be read, "" where it could.
    """

    case_id: str
    series: Series
    nodules: int | None = None
    source: ScanSource | None = None
    problem: str = ""

    def __str__(self) -> str:
        how = "searched, or as nodules.csv says" if self.nodules is None else f"{self.nodules} contours"
        how = "no such contour, so that it is searched" if self.nodules == 0 else how
        how = f"NOT READ, {self.problem}" if self.problem else how
        return f"{self.case_id}: series {self.series.uid}, {len(self.series.objects)} objects; {how}"


def is_export(path: Path, file_ending: str) -> bool:
    """Whether a path is a zip or a folder of DICOM objects, and not a folder of nnU-Net's images."""
    if path.is_file():
        return path.suffix.lower() == ".zip"
    if not path.is_dir() or any(item.name.endswith(file_ending) for item in path.iterdir()):
        return False
    try:
        return bool(read_export(path).series)
    except ValueError:
        return False


def write_input(source: Path, folder: Path, file_ending: str, structures: str | None = None) -> list[ExportedCase]:
    """Writes the CTs of an export as nnU-Net's images, and nodules.csv where positions are known.

    A series that cannot be read does not stop the others: its case says why.

    Args:
        source: the export; a nodules.csv at its top is taken over.
        folder: empty.
        file_ending: of the images.
        structures: pattern of the names of contours (RTSTRUCT, SEG) whose centroids are positions; None for none.

    Raises:
        ValueError: no CT, none that can be read, or no contour of that name at all.
    """
    export = read_export(source)
    series = ct_series(export)
    if not series:
        raise ValueError(f"{source} holds no CT series.")
    cases: list[ExportedCase] = []
    rows: list[Sequence[object]] = []
    for case_id, own in zip(_names(series), series, strict=True):
        try:
            ct = read_ct(own)
            found = [] if structures is None else list(_positions(export, ct, structures))
        except (ValueError, OSError, EOFError) as error:
            cases.append(ExportedCase(case_id, own, problem=" ".join(str(error).split())))
            continue
        write_image(folder / f"{case_id}_0000{file_ending}", ct.image)
        rows += [(case_id, name, *(f"{value:.3f}" for value in centre)) for name, centre in found]
        cases.append(ExportedCase(case_id, own, None if structures is None else len(found), ct.source))
    unread = {case.case_id: case.problem for case in cases if case.problem}
    if len(unread) == len(cases):
        raise ValueError(f"{source}: no CT series can be read. {' '.join(unread.values())}")
    if structures is not None and not rows:
        raise ValueError(f"{source}: no contour '{structures}' refers to a CT of it.")
    given = _table_of(source)
    if structures is not None and given is not None:
        raise ValueError(
            f"{source} holds a {NODULE_TABLE_NAME}, and --structures takes positions from contours: choose one of them."
        )
    if rows:
        write_rows(folder / NODULE_TABLE_NAME, [("case_id", "nodule_id", *POSITION_COLUMNS), *rows])
    elif given is not None:
        _take_table_over(given, folder / NODULE_TABLE_NAME, set(unread))
    return cases


def _table_of(source: Path) -> bytes | None:
    """The nodules.csv of an export; None where it has none.

    Raises:
        ValueError: it has several.
    """
    if source.is_dir():
        given = source / NODULE_TABLE_NAME
        return given.read_bytes() if given.is_file() else None
    tables = [
        file for file in walk(source) if file.members and PurePosixPath(file.members[-1]).name == NODULE_TABLE_NAME
    ]
    if len(tables) > 1:
        raise ValueError(
            f"{source} holds {len(tables)} tables {NODULE_TABLE_NAME}: {[t.name for t in tables]}. Keep one."
        )
    return tables[0].read() if tables else None


def _take_table_over(given: bytes, table: Path, unread: set[str]) -> None:
    """Writes the nodules.csv of an export, without the rows of cases that could not be read."""
    table.write_bytes(given)
    rows = read_csv(table)
    kept = [[row.get(name) for name in rows.columns] for row in rows.rows if row.get("case_id") not in unread]
    if len(kept) < len(rows.rows):
        write_rows(table, [rows.columns, *kept])


def note_sources(folder: Path, cases: Sequence[ExportedCase]) -> None:
    """Writes below a folder of predictions which series each case is: `dsmt export dicom` and the page look there."""
    write_sources(folder / SOURCES_FOLDER, {case.case_id: case.source for case in cases if case.source is not None})


def _names(series: Sequence[Series]) -> list[str]:
    plain = [_UNSAFE.sub("_", own.patient_id).strip("._-") or "case" for own in series]
    plain = ["case" if case_id_problem(name) else name for name in plain]
    names: list[str] = []
    for name, own in zip(plain, series, strict=True):
        if plain.count(name) > 1:
            name = f"{name}_{own.text('SeriesNumber') or len(names) + 1}"
        while name in names:
            name = f"{name}_{len(names) + 1}"
        names.append(name)
    return names


def _positions(export: Export, ct: CtVolume, pattern: str) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Name and centroid (x, y, z) in mm, LPS, of each contour; names that occur twice are numbered.

    Raises:
        ValueError: a name stands in several structure sets: one nodule would be two.
    """
    seen: dict[str, int] = {}
    first: dict[str, str] = {}
    for drawn in structures_of(export, ct.series):
        for structure in read_structures(drawn, ct, pattern):
            if len(structure.voxels_zyx):
                if (other := first.setdefault(structure.name, drawn.uid)) != drawn.uid:
                    raise ValueError(
                        f"{ct.series.where}: the contour '{structure.name}' stands in several series, {other} and "
                        f"{drawn.uid}. Take out of the export what does not count."
                    )
                centre = np.asarray(structure.voxels_zyx).mean(axis=0)[::-1]
                seen[structure.name] = seen.get(structure.name, 0) + 1
                number = seen[structure.name]
                name = structure.name if number == 1 else f"{structure.name} {number}"
                yield name, ct.image.TransformContinuousIndexToPhysicalPoint(centre.tolist())
