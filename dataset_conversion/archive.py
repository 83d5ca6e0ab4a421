"""From a DICOM export and a table of nodules to an nnU-Net raw data set."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk
from tqdm import tqdm

from dsmt_nnunet.csv_table import CsvRow, CsvTable, parse_number
from dsmt_nnunet.dataset_conversion.dates import ColumnDates, holds_date
from dsmt_nnunet.dataset_conversion.deidentification import Pseudonyms, identifying_columns
from dsmt_nnunet.dataset_conversion.mapping import COLUMN_ROLES, DEFAULT_MAPPING, TableMapping
from dsmt_nnunet.dataset_conversion.mask_voxels import POSITION_TOLERANCE_MM
from dsmt_nnunet.dataset_conversion.problems import ConversionError, Problem
from dsmt_nnunet.dataset_conversion.row_rules import LookAlike
from dsmt_nnunet.dataset_conversion.row_sources import HOW_TO_DECIDE, RowSource, case_column_of
from dsmt_nnunet.dataset_conversion.series_choice import CHOICE_KEY, Choice
from dsmt_nnunet.dataset_conversion.table import convert_table, table_problems
from dsmt_nnunet.dataset_conversion.terms import DICOM_ROLES
from dsmt_nnunet.dicom.contours import StructureMask
from dsmt_nnunet.dicom.lidc import lidc_structures, read_lidc
from dsmt_nnunet.dicom.scan_source import ScanSource, write_sources
from dsmt_nnunet.dicom.series import CtVolume, read_ct
from dsmt_nnunet.dicom.structures import matches, read_structures
from dsmt_nnunet.reader_masks import ReaderMasks, cropped_masks

logger = logging.getLogger(__name__)

_STAGED_COLUMNS = {"image": "image", "mask": "mask", "mask_label": None, **dict.fromkeys(DICOM_ROLES)}


def convert_dicom(
    table: CsvTable,
    sources: Sequence[RowSource],
    dataset_id: int,
    name: str,
    mapping: TableMapping = DEFAULT_MAPPING,
    pseudonyms: Pseudonyms | None = None,
    choices: Sequence[Choice] = (),
    diameter_range: tuple[float, float] | None = None,
    train_also_outside: bool = False,
    raw_folder: Path | None = None,
    overwrite: bool = False,
    look_alike_patients: LookAlike | None = None,
) -> Path:
    """Converts a DICOM export and a table with one row a nodule.

    Names, birth dates and accession numbers stay behind: columns that hold them are left out, images written without
    metadata. Which slices a case is (`scan_source`) goes into the data set or, with pseudonyms, beside their file.

    Args:
        table: one row a nodule.
        sources: what `find_sources` found for its rows.
        dataset_id, name: as for `convert_table`.
        mapping: what the columns mean.
        pseudonyms: of the ids of patients, and by how many days their dates are moved; what it lacks is drawn.
        choices: rules by which `find_sources` decided; dataset.json keeps them.
        diameter_range, train_also_outside, raw_folder, overwrite, look_alike_patients: as for `convert_table`.

    Returns:
        The folder of the data set.

    Raises:
        ConversionError: a row has no CT or contour, or something is wrong with it or the table; it lists everything.
    """
    missing = [Problem(f"missing: {one.missing}", one.row.line, one.case_id) for one in sources if one.missing]
    wrong = problems_of_rows(table, sources, mapping, pseudonyms, diameter_range, look_alike_patients)
    if problems := missing + wrong:
        raise ConversionError(table.path, problems)
    with TemporaryDirectory(prefix="dsmt-") as folder:
        staged_series, readings = _stage(Path(folder), sources, table.path)
        staged = _staged_table(table, mapping, sources, pseudonyms)
        converted = convert_table(
            table=staged,
            images=Path(folder),
            masks=Path(folder),
            dataset_id=dataset_id,
            name=name,
            mapping=_of_staged(mapping),
            diameter_range=diameter_range,
            train_also_outside=train_also_outside,
            raw_folder=raw_folder,
            overwrite=overwrite,
            sources=staged_series if pseudonyms is None else None,
            dataset_json_extra={CHOICE_KEY: list(map(str, choices))} if choices else None,
            look_alike_patients=look_alike_patients,
            readings=readings,
        )
    if pseudonyms is not None:
        _keep_sources(pseudonyms, staged, staged_series, case_column_of(mapping, staged))
    return converted


def problems_of_rows(
    table: CsvTable,
    sources: Sequence[RowSource],
    mapping: TableMapping = DEFAULT_MAPPING,
    pseudonyms: Pseudonyms | None = None,
    diameter_range: tuple[float, float] | None = None,
    look_alike_patients: LookAlike | None = None,
) -> list[Problem]:
    """What `convert_dicom` would refuse of the table itself: columns, terms, dates; no pixel is read.

    Args:
        table, sources, mapping, pseudonyms, diameter_range, look_alike_patients: as for `convert_dicom`. Rows without a
            patient are passed over: `RowSource.missing` tells of them.
    """
    try:
        staged = _staged_table(table, mapping, [one for one in sources if one.patient_id], pseudonyms)
        return table_problems(staged, _of_staged(mapping), diameter_range, look_alike_patients)
    except ConversionError as error:
        return list(error.problems)
    except ValueError as error:
        return [Problem(str(error))]


def _of_staged(mapping: TableMapping) -> TableMapping:
    """What the columns of `_staged_table` mean."""
    return replace(mapping, columns={**mapping.columns, **_STAGED_COLUMNS})


def _image_names(sources: Sequence[RowSource]) -> dict[str, str]:
    """UID of a series -> name of its image among the staged files."""
    uids = dict.fromkeys(source.ct.uid for source in sources if source.ct is not None)
    return {uid: f"image{number}" for number, uid in enumerate(uids)}


def _keep_sources(pseudonyms: Pseudonyms, staged: CsvTable, series: Mapping[str, ScanSource], column: str) -> None:
    """Beside the pseudonyms: UIDs lead back to the patient."""
    cases = {row.get(column): row.get("image") for row in staged.rows}
    write_sources(pseudonyms.sources, {case: series[image] for case, image in cases.items()})


def _stage(
    folder: Path, sources: Sequence[RowSource], table: Path
) -> tuple[dict[str, ScanSource], dict[str, ReaderMasks]]:
    """Writes the CT of every series and the mask of every row.

    Returns:
        Name of the image -> its slices in the archive; name of the mask -> what each reader drew, where several did.
    """
    by_series: dict[str, list[RowSource]] = {}
    for source in sources:
        assert source.ct is not None
        by_series.setdefault(source.ct.uid, []).append(source)
    images = _image_names(sources)
    problems = []
    found_slices = {}
    readings: dict[str, ReaderMasks] = {}
    for uid, members in tqdm(by_series.items(), "Reading DICOM", unit="series", disable=None):
        first = members[0]
        assert first.ct is not None
        try:
            ct = read_ct(first.ct)
            pattern = "|".join(dict.fromkeys(source.pattern for source in members))
            structures = [found for series in first.drawn for found in read_structures(series, ct, pattern)]
            structures += [found for file in first.readings for found in lidc_structures(read_lidc(file, ct.grid))]
        except ValueError as error:
            problems.append(Problem(str(error), first.row.line, first.case_id))
            continue
        sitk.WriteImage(ct.image, str(folder / f"{images[uid]}.mha"))
        found_slices[images[uid]] = ct.source
        for source in members:
            if source.is_empty:
                continue
            try:
                meant = _meant(source, structures, ct)
                mask = sitk.GetImageFromArray(meant.mask.astype(np.uint8))
                mask.CopyInformation(ct.image)
                if meant.readings_zyx:
                    readings[f"mask{source.row.line}"] = cropped_masks(meant.readings_zyx, ct.image)
                sitk.WriteImage(mask, str(folder / f"mask{source.row.line}.mha"), useCompression=True)
            except ValueError as error:
                problems.append(Problem(str(error), source.row.line, source.case_id))
    if problems:
        raise ConversionError(table, problems)
    return found_slices, readings


def _meant(source: RowSource, structures: Sequence[StructureMask], ct: CtVolume) -> StructureMask:
    """The one structure that a row means, by its name and position.

    Raises:
        ValueError: none, or several.
    """
    fitting = [found for found in structures if matches(found.name, source.pattern)]
    named = [found for found in fitting if len(found.voxels_zyx)]
    if fitting and not named:
        raise ValueError(f"{[found.name for found in fitting]} encloses no voxel of the CT. Is it drawn to the end?")
    if source.position and len(named) > 1:
        point = np.array([parse_number(text, f"the position of line {source.row.line}") for text in source.position])
        to_voxel = np.linalg.inv(np.array(ct.image.GetDirection()).reshape(3, 3))
        offset = to_voxel @ (point - np.array(ct.image.GetOrigin()))
        spacing = np.array(ct.image.GetSpacing())
        distances = [
            float(np.linalg.norm(found.voxels_zyx[:, ::-1] * spacing - offset, axis=1).min()) for found in named
        ]
        named = [
            found
            for found, distance in zip(named, distances, strict=True)
            if distance <= min(*distances, POSITION_TOLERANCE_MM)
        ]
    if len(named) != 1:
        raise ValueError(
            f"{len(named)} structures fit '{source.pattern}' and the position of the row; one is needed. Drawn are "
            f"{[found.name for found in structures]}: {HOW_TO_DECIDE}."
        )
    return named[0]


def _staged_table(
    table: CsvTable,
    mapping: TableMapping,
    sources: Sequence[RowSource],
    pseudonyms: Pseudonyms | None,
) -> CsvTable:
    """The table with the names of the staged files, without what tells who the patient is.

    A row whose scan is missing gets that of its case, if another row has one: what is missing is told elsewhere.
    """
    of_dicom = {mapping.column_of(role, table.columns) for role in DICOM_ROLES}
    kept = {mapping.column_of(role, table.columns) for role in COLUMN_ROLES} - of_dicom
    kept |= {task.column for task in mapping.tasks}
    identities = [(source.ct, source.row) for source in sources if source.ct is not None]
    left_out = (identifying_columns(table, identities) | of_dicom) - kept
    case_column = case_column_of(mapping, table)
    patient_column = mapping.column_of("patient_id", table.columns)
    columns = [name for name in table.columns if name not in left_out]
    rows = {source.row.line: {name: source.row.get(name) for name in columns} for source in sources}
    if pseudonyms is not None:
        free = [name for name in columns if name not in kept]
        _move_dates(rows, free, {one.row.line: pseudonyms.shift_of(one.patient_id) for one in sources})
        _take_pseudonyms(rows, sources, case_column, patient_column, pseudonyms)
        ids = (case_column, patient_column)
        _refuse_dates(table.path, rows, [name for name in columns if name in kept and name not in ids])
    names = _image_names(sources)
    images: dict[str, str] = {}
    for source in sources:
        if source.ct is not None and not source.missing:
            images.setdefault(source.case_id, names[source.ct.uid])
    staged = []
    for source in sources:
        image, mask = images.get(source.case_id, ""), "" if source.is_empty else f"mask{source.row.line}"
        staged.append(CsvRow(source.row.line, {**rows[source.row.line], "image": image, "mask": mask}))
    return CsvTable(table.path, tuple(dict.fromkeys([*columns, "image", "mask"])), tuple(staged))


def _take_pseudonyms(
    rows: Mapping[int, dict[str, str]],
    sources: Sequence[RowSource],
    case_column: str,
    patient_column: str | None,
    pseudonyms: Pseudonyms,
) -> None:
    """Puts pseudonyms in the place of ids of patients and scans, by line."""
    cases = pseudonyms.of_cases((one.patient_id, one.case_id) for one in sources)
    for source in sources:
        values = rows[source.row.line]
        for column, value in values.items():
            if column == case_column and value:
                values[column] = cases[source.patient_id, value]
            elif column == patient_column or value == source.patient_id:
                values[column] = pseudonyms.replace(value, source.patient_id)


def _move_dates(rows: Mapping[int, dict[str, str]], columns: Sequence[str], shifts: Mapping[int, int]) -> None:
    """Moves the dates of the cells, by line; what may be a date and is not understood is left out, and said."""
    for column in columns:
        dates = ColumnDates.of(column, [values[column] for values in rows.values()])
        not_understood = []
        for line, values in rows.items():
            moved = dates.moved(values[column], shifts[line])
            not_understood += [str(line)] if moved is None else []
            values[column] = moved or ""
        if not_understood:
            logger.warning(
                "column '%s': in line %s something may be a date and is not written like 2024-01-31, so that it cannot "
                "be moved; the data set has an empty cell there.",
                column,
                ", ".join(not_understood),
            )


def _refuse_dates(path: Path, rows: Mapping[int, dict[str, str]], columns: Sequence[str]) -> None:
    """Refuses dates where a cell can neither be moved nor left out.

    Raises:
        ConversionError: there are some.
    """
    problems = [
        Problem(f"column '{column}' holds what looks like a date ('{values[column]}'); take it out of the cell.", line)
        for line, values in rows.items()
        for column in columns
        if holds_date(values[column])
    ]
    if problems:
        raise ConversionError(path, problems)
