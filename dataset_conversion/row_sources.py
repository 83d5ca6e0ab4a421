"""Which CT and which contour of a DICOM export each row of a table means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from dsmt_nnunet.csv_table import CsvRow, CsvTable
from dsmt_nnunet.dataset_conversion.mapping import COLUMN_ROLES, TableMapping
from dsmt_nnunet.dataset_conversion.remarks import remark_hints
from dsmt_nnunet.dataset_conversion.series_choice import Choice, choose_series
from dsmt_nnunet.dataset_conversion.terms import SERIES_ROLE, STRUCTURE_ROLE
from dsmt_nnunet.dicom.export import Export, Series
from dsmt_nnunet.dicom.lidc import described, lidc_series_uid, read_lidc
from dsmt_nnunet.dicom.packed_files import PackedFile
from dsmt_nnunet.dicom.planes import check_headers
from dsmt_nnunet.dicom.series import CT, ct_series, read_ct
from dsmt_nnunet.dicom.slice_grid import grid_of_headers, pixel_spacing_mm, slice_distance_mm
from dsmt_nnunet.dicom.structures import (
    RTSTRUCT,
    SEG,
    DrawnStructure,
    check_frame,
    drawn_structures,
    matches,
    structures_of,
)
from dsmt_nnunet.nodules import NONE_ID
from dsmt_nnunet.tasks import POSITION_COLUMNS

HOW_TO_DECIDE = (
    f"name one in a column '{STRUCTURE_ROLE}' (or in any that the mapping calls so), or give the position of the "
    f"nodule ({', '.join(POSITION_COLUMNS)})"
)


@dataclass(frozen=True)
class RowSource:
    """What a row of the table was found to mean.

    Attributes:
        row: the row.
        case_id: nnU-Net's case identifier, before pseudonyms.
        patient_id: as the table and the archive have it.
        pattern: names of structures that the row may mean.
        series_uid: of the CT, as the row names it, "" where it does not.
        position: (x, y, z) as the row writes them, () where it does not.
        ct: the series; None when none could be told.
        drawn: structure sets and segmentations of that series.
        structures: what is drawn in them, by their UIDs.
        readings: LIDC files of that series.
        read_nodules: the nodules in these files, name -> size, place and readers.
        missing: what is missing, "" when nothing is.
        is_damaged: whether a contour cannot be read.
        is_empty: whether the row says that its scan holds no nodule, and needs no contour.
    """

    row: CsvRow
    case_id: str
    patient_id: str
    pattern: str
    series_uid: str = ""
    position: tuple[str, ...] = ()
    ct: Series | None = None
    drawn: tuple[Series, ...] = ()
    structures: Mapping[str, Sequence[DrawnStructure]] = field(default_factory=dict)
    readings: tuple[PackedFile, ...] = ()
    read_nodules: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    is_damaged: bool = False
    is_empty: bool = False

    @cached_property
    def contour(self) -> str:
        """Kind of contour and names of the structures that the row may mean."""
        parts = []
        for series in self.drawn if not self.is_damaged else ():
            names = [one.name for one in self.structures.get(series.uid, ()) if matches(one.name, self.pattern)]
            parts.append(f"{series.modality} {', '.join(names)}")
        found = [f"{name} ({what})" for name, what in self.read_nodules.items() if matches(name, self.pattern)]
        return "; ".join([*parts, *([f"LIDC {', '.join(found)}"] if found else [])])

    def __str__(self) -> str:
        start = f"line {self.row.line}, patient {self.patient_id}: "
        if self.ct is None:
            return f"{start}MISSING {self.missing}"
        distance, spacing = slice_distance_mm(self.ct), pixel_spacing_mm(self.ct)
        facts = [
            f"series {self.ct.text('SeriesNumber') or self.ct.uid}",
            f"{len(self.ct.images)} {'slices' if distance else 'images'}",
            *([f"{distance:.3g} mm apart"] if distance else []),
            *([f"{' x '.join(f'{value:.3g}' for value in spacing)} mm in plane"] if spacing else []),
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
    case_column = case_column_of(mapping, table)
    for choice in choices:
        choice.check_columns(table.columns)
    finder = _Finder(export, choices)
    sources = []
    for row in table.rows:
        patient_id = row.get(patient_column)
        told = {role: row.get(mapping.column_of(role, table.columns) or "") for role in COLUMN_ROLES}
        position = tuple(told[role] for role in POSITION_COLUMNS)
        source = RowSource(
            row,
            row.get(case_column) or patient_id,
            patient_id,
            pattern=told[STRUCTURE_ROLE] or structures,
            series_uid=told[SERIES_ROLE],
            position=position if all(position) else (),
            is_empty=told["nodule_id"].casefold() == NONE_ID,
        )
        sources.append(finder.completed(source))
    hints = remark_hints(table)
    return [
        replace(one, missing=f"{one.missing} {hints[one.row.line]}") if one.missing and one.row.line in hints else one
        for one in _of_one_scan(sources)
    ]


def _of_one_scan(sources: Sequence[RowSource]) -> Iterator[RowSource]:
    """The rows; of one case those that mean another scan than the first of them lack a case of their own."""
    first: dict[str, tuple[int, str]] = {}
    for source in sources:
        if source.ct is not None and not source.missing:
            line, uid = first.setdefault(source.case_id, (source.row.line, source.ct.uid))
            if uid != source.ct.uid:
                source = replace(
                    source,
                    missing=f"a case of its own: it means series {source.ct.uid}, and line {line} of the same case "
                    f"'{source.case_id}' series {uid}. Give rows of different scans different case_ids.",
                )
        yield source


class _Finder:
    """Looks through an export for what rows mean; what several rows share is read once."""

    def __init__(self, export: Export, choices: Sequence[Choice]) -> None:
        self.export = export
        self.choices = choices
        self.volumes = ct_series(export)
        self.readings: dict[str, list[PackedFile]] = {}
        for file in export.others:
            if (uid := lidc_series_uid(file)) is not None:
                self.readings.setdefault(uid, []).append(file)
        self.read_nodules: dict[str, dict[str, str]] = {}
        self.unreadable: dict[str, str] = {}
        self.structures: dict[str, Sequence[DrawnStructure]] = {}

    def completed(self, source: RowSource) -> RowSource:
        """A row with its CT and contours, or with what is missing of them."""
        candidates = [series for series in self.volumes if series.patient_id == source.patient_id]
        if source.series_uid:  # which leads to a scan whose Patient ID was taken away, too
            own = [series for series in self.volumes if series.patient_id in (source.patient_id, "")]
            candidates = [series for series in own if series.uid == source.series_uid]
        drawn = {series.uid: structures_of(self.export, series) for series in candidates}
        contoured = [series for series in candidates if drawn[series.uid] or series.uid in self.readings]
        if source.is_empty:
            contoured = []
        chosen = choose_series(contoured or candidates, self.choices, source.row)
        try:
            if len({series.uid for series in chosen}) == 1:  # divided among studies it may stand there twice
                ct = chosen[0]
                readings = tuple(self.readings.get(ct.uid, ()))
                source = replace(source, ct=ct, drawn=drawn[ct.uid], readings=readings)
                source = replace(source, structures={own.uid: self._structures_of(own) for own in source.drawn})
                if why := self._why_unreadable(ct):
                    return replace(source, missing=f"a CT that can be read: {why}")
                for structures in source.structures.values() if not source.is_empty else ():
                    check_frame(structures, ct, source.pattern)
                if ct.uid not in self.read_nodules:
                    self.read_nodules[ct.uid] = _read_nodules(source)
                source = replace(source, read_nodules=self.read_nodules[ct.uid])
            return replace(source, missing=_missing(source, chosen, self.export))
        except ValueError as error:
            return replace(source, missing=f"a contour that can be read: {error}", is_damaged=True)

    def _structures_of(self, series: Series) -> Sequence[DrawnStructure]:
        if series.uid not in self.structures:
            self.structures[series.uid] = drawn_structures(series)
        return self.structures[series.uid]

    def _why_unreadable(self, ct: Series) -> str:
        """Why the headers of a series make no volume, "" where they do."""
        if ct.uid not in self.unreadable:
            try:
                check_headers(ct)
                self.unreadable[ct.uid] = ""
            except ValueError as error:
                self.unreadable[ct.uid] = str(error)
        return self.unreadable[ct.uid]


def _read_nodules(source: RowSource) -> dict[str, str]:
    """The nodules of the LIDC files of a row's series, name -> size, place and readers."""
    if source.ct is None or not source.readings:
        return {}
    grid = grid_of_headers(source.ct) or read_ct(source.ct).grid
    return {name: what for file in source.readings for name, what in described(read_lidc(file, grid), grid)}


def case_column_of(mapping: TableMapping, table: CsvTable) -> str:
    """Column that names the case: its own, else the patient's."""
    found = mapping.column_of("case_id", table.columns) or mapping.column_of("patient_id", table.columns)
    return found or "case_id"


def _missing(source: RowSource, chosen: Sequence[Series], export: Export) -> str:
    if not source.patient_id:
        return "the patient: the row names none."
    if not chosen:
        if kinds := {series.modality or "not named" for series in export.of_patient(source.patient_id)} - {CT}:
            return f"a CT of this patient; there are objects of modality {', '.join(sorted(kinds))}."
        patients = sorted({series.patient_id or "'' (no Patient ID)" for series in export.series})
        shown = f"{', '.join(patients[:5])}{', ...' if len(patients) > 5 else ''}"
        named = f" with series_uid {source.series_uid}" if source.series_uid else ""
        return f"a CT{named} of this patient; the export has patients {shown}."
    if len(chosen) > 1:
        listed = "; ".join(
            f"{series.uid}: {len(series.images)} slices, {slice_distance_mm(series) or 0:.3g} mm, kernel "
            f"{series.kernel or 'not named'}, date {series.date}, '{series.text('SeriesDescription')}'"
            for series in chosen
        )
        return f"a decision between {len(chosen)} CT series: use --choose, or a column series_uid ({listed})."
    if source.is_empty:
        return ""
    if not source.drawn and not source.readings:
        others = _other_contours(source, export)
        return f"a contour (RTSTRUCT, SEG or LIDC XML) that refers to this series by its UID{others}."
    return _missing_structure(source)


def _other_contours(source: RowSource, export: Export) -> str:
    """Which images the contours of the patient refer to instead."""
    told = []
    for series in export.of_patient(source.patient_id):
        if series.modality in (RTSTRUCT, SEG):
            images = [
                f"{uid} ({', '.join(one.modality for one in export.series if one.uid == uid) or 'not in the export'})"
                for uid in sorted(series.referenced_series)
            ]
            told.append(f"{series.modality} {series.uid} refers to {', '.join(images) or 'no series'}")
    return f"; {'; '.join(told)}" if told else ""


def _missing_structure(source: RowSource) -> str:
    """What is missing of the structure that a row means, "" where nothing is."""
    drawn = [one for structures in source.structures.values() for one in structures]
    names = [one.name for one in drawn] + list(source.read_nodules)
    if not any(matches(name, source.pattern) for name in names):
        return f"a structure called '{source.pattern}'; there are {names}."
    contoured = [one.name for one in drawn if one.is_closed] + list(source.read_nodules)
    fitting = [name for name in contoured if matches(name, source.pattern)]
    meant = [one for one in drawn if matches(one.name, source.pattern)]
    if not fitting and all(one.kinds is not None for one in meant):
        kinds = sorted({kind for one in meant for kind in one.kinds or ()})
        return f"a closed contour of {[one.name for one in meant]}; drawn are {kinds or 'no contours'}."
    if len(fitting) > 1 and len(set(fitting)) == 1 and len(source.drawn) > 1:
        sets = ", ".join(f"{series.uid} of {series.date or 'no date'}" for series in source.drawn)
        return (
            f"a decision between several contours called '{fitting[0]}', in the series {sets}: take out of the export "
            f"what does not count."
        )
    if len(fitting) > 1 and not source.position:
        return f"a decision between the structures {fitting}: {HOW_TO_DECIDE}."
    return ""
