"""What a hospital has, made: an export with contours, and a physician's workbook about it."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
from openpyxl import Workbook

from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.series import ct_series, read_ct
from tests.unit.dicom.made_series import SPACING_MM, write_ct
from tests.unit.dicom.made_structures import Contour, write_rtstruct

SECRETS = {
    "PatientName": "Zwiebelfisch^Kunigunde",
    "PatientBirthDate": "19310407",
    "AccessionNumber": "AKZ90210X",
    "ReferringPhysicianName": "Quacksalber^Eusebius",
    "InstitutionName": "Nimmerlein Klinikum",
}
PATIENTS = ("0071001", "0071002", "0071003", "0071004")
SCANS = tuple(f"F2019088{number}" for number in range(1, 5))
"""The hospital's numbers of their scans, long enough that none stands in weights by chance."""
_VOXEL_MM = 1.5
_SIZE = 40
_SLICES = 30
_RADIUS_VOXELS = 4
_CENTRES = {"GTV-1": (12, 14, 13), "GTV-2": (20, 26, 25)}
"""Name -> slice, row and column."""


def write_scan(folder: Path, patient: str, nodules: int) -> None:
    """A chest of a few centimetres with one or two balls, and the structure set that contours them."""
    rng = np.random.default_rng(int(patient))
    hu = rng.normal(-850, 20, (_SLICES, _SIZE, _SIZE))
    grid = np.indices(hu.shape)
    centres = dict(list(_CENTRES.items())[:nodules])
    for centre in centres.values():
        distance = np.sqrt(sum((grid[axis] - centre[axis]) ** 2 for axis in range(3)))
        hu[distance <= _RADIUS_VOXELS] += 880
    heights = [_VOXEL_MM * index for index in range(_SLICES)]
    spacing = {"PixelSpacing": [_VOXEL_MM, _VOXEL_MM], "SliceThickness": _VOXEL_MM}
    write_ct(folder, heights, hu.astype(np.int16), patient=patient, **spacing, **SECRETS)
    ct = read_ct(ct_series(read_export(folder))[0])
    write_rtstruct(folder / "structures", ct, {name: list(_circles(centre)) for name, centre in centres.items()})


def _circles(centre: tuple[int, int, int]) -> list[Contour]:
    """Contours of a ball, with corners as `write_rtstruct` takes them: in voxels of `made_series`."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    found: list[Contour] = []
    for offset in range(-_RADIUS_VOXELS + 1, _RADIUS_VOXELS):
        radius = np.sqrt(_RADIUS_VOXELS**2 - offset**2)
        x = (centre[2] + radius * np.cos(angles)) * _VOXEL_MM / SPACING_MM[1]
        y = (centre[1] + radius * np.sin(angles)) * _VOXEL_MM / SPACING_MM[0]
        found.append(((centre[0] + offset) * _VOXEL_MM, list(zip(x.tolist(), y.tolist(), strict=True))))
    return found


def write_export(folder: Path) -> None:
    """Of each patient a series with a structure set, in files without ending."""
    for number, patient in enumerate(PATIENTS):
        write_scan(folder / f"study{number}", patient, nodules=2 if number == 0 else 1)


def write_workbook(path: Path) -> None:
    """Remarks on a sheet of their own, a title, merged patients, decimal commas, dates, terms of two languages."""
    book = Workbook()
    book.active.append(["Stand 2024"])
    sheet = book.create_sheet("Herde")
    sheet.append(["Rundherde unserer Klinik"])
    sheet.append([])
    header = (
        "Pat.-Nr.",
        "Fall-Nr.",
        "Name",
        "Geb.-Datum",
        "Zuweiser",
        "OP-Datum",
        "structure",
        "Histologie",
        "CEA (ng/ml)",
    )
    sheet.append([*header, "Geschlecht", "Rundherd-Größe", "centre"])
    born, operated = datetime.datetime(1931, 4, 7), datetime.datetime(2024, 3, 1)
    for number, (patient, scan) in enumerate(zip(PATIENTS, SCANS, strict=True)):
        who = (int(patient), scan, "Zwiebelfisch, Kunigunde", born, "Dr. Quacksalber", operated)
        known = ("3,5", "1,25", "n/a", "0,8")[number], "wm"[number % 2], "12,5", ("Nord", "Süd")[number % 2]
        terms = ("in situ Adenokarzinom", "IAC ", "AIS", "invasive adenocarcinoma")
        sheet.append([*who, "GTV-1", terms[number], *known])
        sheet.cell(sheet.max_row, 1).number_format = "0000000"
        if number == 0:
            sheet.append([None, *who[1:], "GTV-2", "unklar", *known])
            sheet.merge_cells(start_row=4, end_row=5, start_column=1, end_column=1)
    book.save(path)
