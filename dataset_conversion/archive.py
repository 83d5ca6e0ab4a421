"""From a DICOM export and a table of nodules to an nnU-Net raw data set: which CT and which contour each row means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk
from tqdm import tqdm

from dsmt_nnunet.csv_table import CsvRow, CsvTable
from dsmt_nnunet.dataset_conversion.dates import date_columns, shifted
from dsmt_nnunet.dataset_conversion.deidentification import Pseudonyms, identifying_columns
from dsmt_nnunet.dataset_conversion.mapping import COLUMN_ROLES, DEFAULT_MAPPING, TableMapping
from dsmt_nnunet.dataset_conversion.mask_voxels import POSITION_TOLERANCE_MM
from dsmt_nnunet.dataset_conversion.problems import ConversionError, Problem
from dsmt_nnunet.dataset_conversion.series_choice import CHOICE_KEY, Choice, choose_series
from dsmt_nnunet.dataset_conversion.table import convert_table
from dsmt_nnunet.dataset_conversion.terms import DICOM_COLUMNS, SERIES_COLUMN, STRUCTURE_COLUMN
from dsmt_nnunet.dicom.contours import StructureMask
from dsmt_nnunet.dicom.export import Export, Series
from dsmt_nnunet.dicom.lidc import lidc_series_uid, lidc_structures, read_lidc
from dsmt_nnunet.dicom.scan_source import ScanSource, write_sources
from dsmt_nnunet.dicom.series import CtVolume, ct_series, read_ct, slice_distance_mm
from dsmt_nnunet.dicom.structures import contoured_names, matches, read_structures, structure_names, structures_of
from dsmt_nnunet.nodules import NONE_ID
from dsmt_nnunet.tasks import POSITION_COLUMNS


@dataclass(frozen=True)
class RowSource:
    """What a row of the table was found to mean.

    Attributes:
        row: the row.
        case_id: nnU-Net's case identifier, before pseudonyms.
        patient_id: as the table and the archive have it.
        pattern: names of structures that the row may mean.
        ct: the series; None when none could be told.
        drawn: structure sets and segmentations of that series.
        readings: LIDC files of that series.
        missing: what is missing, "" when nothing is.
        is_empty: whether the row says that its scan holds no nodule, and needs no contour.
    """

    row: CsvRow
    case_id: str
    patient_id: str
    pattern: str
    ct: Series | None = None
    drawn: tuple[Series, ...] = ()
    readings: tuple[Path, ...] = ()
    missing: str = ""
    is_empty: bool = False

    @cached_property
    def contour(self) -> str:
        """Kind of contour and names of the structures that the row may mean."""
        parts = []
        for series in self.drawn:
            names = [name for name in structure_names(series) if matches(name, self.pattern)]
            parts.append(f"{series.modality} {', '.join(names)}")
        return "; ".join([*parts, *("LIDC reading" for _ in self.readings)])

    def __str__(self) -> str:
        start = f"line {self.row.line}, patient {self.patient_id}: "
        if self.ct is None:
            return f"{start}MISSING {self.missing}"
        distance = slice_distance_mm(self.ct)
        facts = [
            f"series {self.ct.text('SeriesNumber') or self.ct.uid}",
            f"{len(self.ct.objects)} slices" if distance else "multi-frame",
            *([f"{distance:.3g} mm apart"] if distance else []),
            f"kernel {self.ct.kernel or 'not named'}",
            f"contrast {self.ct.contrast or 'not named'}",
            f"date {self.ct.date or 'not named'}",
            f"contour {self.contour or 'none'}",
        ]
        return f"{start}{', '.join(facts)}{f'; MISSING {self.missing}' if self.missing else ''}"


def find_sources(
    export: Export,
    table: CsvTable,
    mapping: TableMapping,
    choices: Sequence[Choice] = (),
    structures: str = "*",
) -> list[RowSource]:
    """Finds for every row the CT and the contours that refer to it by UID.

    Args:
        export: what the archive gave.
        table: one row a nodule. A column `series_uid` names the series, a column `structure` the contour.
        mapping: which column holds patient_id and case_id.
        choices: rules that decide between several series of a patient, in their order.
        structures: pattern of the names of the structures, for rows without their own.

    Raises:
        ValueError: the table names neither patient nor case, or a rule names a column that it lacks.
    """
    patient_column = mapping.column_of("patient_id", table.columns) or mapping.column_of("case_id", table.columns)
    if patient_column is None:
        raise ValueError(f"{table.path}: a column patient_id is required; the table has {list(table.columns)}.")
    case_column = _case_column(mapping, table)
    nodule_column = mapping.column_of("nodule_id", table.columns) or "nodule_id"
    for choice in choices:
        choice.check_columns(table.columns)
    volumes = ct_series(export)
    readings: dict[str, list[Path]] = {}
    for path in export.others:
        if (uid := lidc_series_uid(path)) is not None:
            readings.setdefault(uid, []).append(path)
    sources = []
    for row in table.rows:
        patient_id = row.get(patient_column)
        source = RowSource(
            row,
            row.get(case_column) or patient_id,
            patient_id,
            row.get(STRUCTURE_COLUMN) or structures,
            is_empty=row.get(nodule_column).casefold() == NONE_ID,
        )
        candidates = [series for series in volumes if series.patient_id == patient_id]
        if named := row.get(SERIES_COLUMN):
            candidates = [series for series in candidates if series.uid == named]
        drawn = {series.uid: structures_of(export, series) for series in candidates}
        contoured = [series for series in candidates if drawn[series.uid] or series.uid in readings]
        if source.is_empty:
            contoured = []
        chosen = choose_series(contoured or candidates, choices, row)
        if len(chosen) == 1:
            (ct,) = chosen
            source = replace(source, ct=ct, drawn=drawn[ct.uid], readings=tuple(readings.get(ct.uid, ())))
        sources.append(replace(source, missing=_missing(source, chosen, export)))
    return sources


def _case_column(mapping: TableMapping, table: CsvTable) -> str:
    """Column that names the case: its own, else the patient's."""
    found = mapping.column_of("case_id", table.columns) or mapping.column_of("patient_id", table.columns)
    return found or "case_id"


def _missing(source: RowSource, chosen: Sequence[Series], export: Export) -> str:
    if not chosen:
        patients = sorted({series.patient_id for series in export.series})
        shown = f"{', '.join(patients[:5])}{', ...' if len(patients) > 5 else ''}"
        named = f" with series_uid {uid}" if (uid := source.row.get(SERIES_COLUMN)) else ""
        return f"a CT{named} of this patient; the export has patients {shown}."
    if len(chosen) > 1:
        listed = "; ".join(
            f"{series.uid}: {len(series.objects)} slices, {slice_distance_mm(series) or 0:.3g} mm, kernel "
            f"{series.kernel or 'not named'}, date {series.date}"
            for series in chosen
        )
        return f"a decision between {len(chosen)} CT series: use --choose, or a column series_uid ({listed})."
    if source.is_empty:
        return ""
    if not source.drawn and not source.readings:
        return "a contour (RTSTRUCT, SEG or LIDC XML) that refers to this series by its UID."
    names = [name for series in source.drawn for name in structure_names(series)]
    if not source.readings and not any(matches(name, source.pattern) for name in names):
        return f"a structure called '{source.pattern}'; there are {names}."
    contoured = [name for series in source.drawn for name in contoured_names(series)]
    fitting = [name for name in contoured if matches(name, source.pattern)]
    if len(fitting) > 1 and not all(source.row.get(column) for column in POSITION_COLUMNS):
        return (
            f"a decision between the structures {fitting}: name one in a column '{STRUCTURE_COLUMN}', or give the "
            f"position of the nodule ({', '.join(POSITION_COLUMNS)})."
        )
    return ""


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
) -> Path:
    """Converts a DICOM export and a table with one row a nodule.

    Names, birth dates and accession numbers stay behind: columns of the table that hold them are left out, and images
    are written without metadata. Which slices of the archive a case is (`scan_source`) goes into the data set, or, with
    pseudonyms, beside their file: UIDs lead back to the patient.

    Args:
        table: one row a nodule.
        sources: what `find_sources` found for its rows.
        dataset_id: 1 to 999.
        name: name of the data set, without `DatasetXXX_`.
        mapping: what the columns mean.
        pseudonyms: of the ids of patients, and by how many days their dates are moved; what it lacks is drawn.
        choices: rules by which `find_sources` decided; dataset.json keeps them.
        diameter_range, train_also_outside, raw_folder, overwrite: as for `convert_table`.

    Returns:
        The folder of the data set.

    Raises:
        ValueError: dates cannot be read, so that they cannot be moved.
        ConversionError: a row has no CT or contour, or something is wrong with them; it lists everything.
    """
    if problems := [Problem(f"missing: {one.missing}", one.row.line, one.case_id) for one in sources if one.missing]:
        raise ConversionError(table.path, problems)
    with TemporaryDirectory(prefix="dsmt-") as folder:
        staged_series = _stage(Path(folder), sources, table.path)
        images = {series.series_uid: name for name, series in staged_series.items()}
        staged = _staged_table(table, mapping, sources, images, pseudonyms)
        converted = convert_table(
            table=staged,
            images=Path(folder),
            masks=Path(folder),
            dataset_id=dataset_id,
            name=name,
            mapping=replace(mapping, columns={**mapping.columns, "image": "image", "mask": "mask", "mask_label": None}),
            diameter_range=diameter_range,
            train_also_outside=train_also_outside,
            raw_folder=raw_folder,
            overwrite=overwrite,
            sources=staged_series if pseudonyms is None else None,
            dataset_json_extra={CHOICE_KEY: [str(choice) for choice in choices]} if choices else None,
        )
    if pseudonyms is not None:
        _keep_sources(pseudonyms, staged, staged_series, _case_column(mapping, staged))
    return converted


def _keep_sources(pseudonyms: Pseudonyms, staged: CsvTable, series: Mapping[str, ScanSource], column: str) -> None:
    """Beside the pseudonyms: UIDs lead back to the patient."""
    cases = {row.get(column): row.get("image") for row in staged.rows}
    write_sources(pseudonyms.sources, {case: series[image] for case, image in cases.items()})


def _stage(folder: Path, sources: Sequence[RowSource], table: Path) -> dict[str, ScanSource]:
    """Writes the CT of every series and the mask of every row; name of the image -> its slices in the archive."""
    by_series: dict[str, list[RowSource]] = {}
    for source in sources:
        assert source.ct is not None
        by_series.setdefault(source.ct.uid, []).append(source)
    images = {uid: f"image{number}" for number, uid in enumerate(by_series)}
    problems = []
    found_slices = {}
    for uid, members in tqdm(by_series.items(), "Reading DICOM", unit="series", disable=None):
        first = members[0]
        assert first.ct is not None
        try:
            ct = read_ct(first.ct)
            pattern = "|".join(dict.fromkeys(source.pattern for source in members))
            structures = [found for series in first.drawn for found in read_structures(series, ct, pattern)]
            structures += [found for path in first.readings for found in lidc_structures(read_lidc(path, ct))]
        except ValueError as error:
            problems.append(Problem(str(error), first.row.line, first.case_id))
            continue
        sitk.WriteImage(ct.image, str(folder / f"{images[uid]}.mha"))
        found_slices[images[uid]] = ct.source
        for source in members:
            if source.is_empty:
                continue
            try:
                mask = sitk.GetImageFromArray(_meant(source, structures, ct).mask.astype(np.uint8))
                mask.CopyInformation(ct.image)
                sitk.WriteImage(mask, str(folder / f"mask{source.row.line}.mha"), useCompression=True)
            except ValueError as error:
                problems.append(Problem(str(error), source.row.line, source.case_id))
    if problems:
        raise ConversionError(table, problems)
    return found_slices


def _meant(source: RowSource, structures: Sequence[StructureMask], ct: CtVolume) -> StructureMask:
    """The one structure that a row means, by its name and position.

    Raises:
        ValueError: none, or several.
    """
    named = [found for found in structures if matches(found.name, source.pattern) and len(found.voxels_zyx)]
    texts = [source.row.get(column) for column in POSITION_COLUMNS]
    if all(texts) and len(named) > 1:
        point = np.array([float(text.replace(",", ".")) for text in texts])
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
            f"{[found.name for found in structures]}: name one in a column '{STRUCTURE_COLUMN}', or give its position "
            f"({', '.join(POSITION_COLUMNS)})."
        )
    return named[0]


def _staged_table(
    table: CsvTable,
    mapping: TableMapping,
    sources: Sequence[RowSource],
    images: Mapping[str, str],
    pseudonyms: Pseudonyms | None,
) -> CsvTable:
    """The table with the names of the staged files, without what tells who the patient is."""
    kept = {mapping.column_of(role, table.columns) for role in COLUMN_ROLES} | {task.column for task in mapping.tasks}
    identities = [(source.ct, source.row) for source in sources if source.ct is not None]
    left_out = {*identifying_columns(table, identities), *DICOM_COLUMNS} - kept
    case_column = _case_column(mapping, table)
    patient_column = mapping.column_of("patient_id", table.columns)
    cases = {} if pseudonyms is None else pseudonyms.of_cases((one.patient_id, one.case_id) for one in sources)
    columns = [name for name in table.columns if name not in left_out]
    dates = {}
    if pseudonyms is not None:
        free = [name for name in columns if name not in kept]
        dates = date_columns({name: [row.get(name) for row in table.rows] for name in free})
    rows = []
    for source in sources:
        assert source.ct is not None
        values = {name: source.row.get(name) for name in columns}
        if pseudonyms is not None:
            for column, written in dates.items():
                values[column] = shifted(values[column], written, pseudonyms.shift_of(source.patient_id))
            for column, value in values.items():
                if column == case_column and value:
                    values[column] = cases[source.patient_id, value]
                elif column == patient_column or value == source.patient_id:
                    values[column] = pseudonyms.replace(value, source.patient_id)
        image = images[source.ct.uid]
        mask = "" if source.is_empty else f"mask{source.row.line}"
        rows.append(CsvRow(source.row.line, {**values, "image": image, "mask": mask}))
    return CsvTable(table.path, tuple(dict.fromkeys([*columns, "image", "mask"])), tuple(rows))
