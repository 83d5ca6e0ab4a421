"""From a table of nodules, CTs and masks to an nnU-Net raw data set."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dsmt_nnunet.csv_table import CsvTable, read_table
from dsmt_nnunet.dataset_conversion.case_rows import CaseRows, NoduleRow
from dsmt_nnunet.dataset_conversion.cases import CaseReader, LoadedCase
from dsmt_nnunet.dataset_conversion.images import VolumeFinder
from dsmt_nnunet.dataset_conversion.mapping import DEFAULT_MAPPING, TableMapping
from dsmt_nnunet.dataset_conversion.problems import ConversionError, Problem
from dsmt_nnunet.dataset_conversion.raw_dataset import RawDatasetWriter
from dsmt_nnunet.dataset_conversion.remarks import with_hints
from dsmt_nnunet.dataset_conversion.row_rules import LookAlike
from dsmt_nnunet.dataset_conversion.rows import parse_cases
from dsmt_nnunet.diameter_range import DiameterRange
from dsmt_nnunet.dicom.scan_source import ScanSource
from dsmt_nnunet.nnunet_files import Json
from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.reader_masks import ReaderMasks
from dsmt_nnunet.tasks import ClassificationSchema

logger = logging.getLogger(__name__)

_ONE_UNIT = (0.2, 5.0)


def convert_table(
    table: Path | CsvTable,
    images: Path,
    masks: Path,
    dataset_id: int,
    name: str,
    mapping: TableMapping | None = None,
    diameter_range: tuple[float, float] | None = None,
    train_also_outside: bool = False,
    raw_folder: Path | None = None,
    overwrite: bool = False,
    look_alike_patients: LookAlike | None = None,
    encoding: str | None = None,
    images_anywhere: bool = False,
    sources: Mapping[str, ScanSource] | None = None,
    dataset_json_extra: Json | None = None,
    readings: Mapping[str, ReaderMasks] | None = None,
) -> Path:
    """Converts a table with one row a nodule (docs/data-format.md); nothing is written unless everything is right.

    Args:
        table: CSV file or workbook (its first sheet), or a table that was read already.
        images, masks: folders of the CTs and of the masks.
        dataset_id, name: of the data set, 1 to 999 and without `DatasetXXX_`.
        mapping: what the columns mean; by default `DEFAULT_MAPPING`.
        diameter_range: keep nodules from the first to the second diameter (both included), in mm. A case stays as long
            as one of its nodules does; the others remain in its mask.
        train_also_outside: keep the other nodules of training cases too, to learn from: no evaluation asks of them.
        raw_folder: where data sets live; by default the environment variable nnUNet_raw.
        overwrite: replace a data set of the same id and name.
        look_alike_patients: whether identifiers that differ in spelling only are one person; None asks.
        encoding: of a CSV file; None to find out.
        images_anywhere: whether the table may name images and masks outside of their folders.
        sources: name of an image -> what of the archive it is.
        readings: name of a mask that is of one nodule -> what each reader drew of it.
        dataset_json_extra: as for `RawDatasetWriter`.

    Returns:
        The folder of the data set.

    Raises:
        ConversionError: something is wrong with the table or the files; it lists everything.
        ValueError: the table cannot be read, or id, name or diameter range are wrong.
        FileExistsError: the data set exists, or its id has another name.
    """
    asked = _asked(diameter_range, train_also_outside)
    rows, mapping = _read_rows(table, mapping or DEFAULT_MAPPING, encoding)
    schema = replace(mapping.schema, asked=asked if train_also_outside else None)
    writer = RawDatasetWriter(dataset_id, name, schema, raw_folder, overwrite, dataset_json_extra)
    cases, problems = parse_cases(rows, mapping, look_alike_patients)
    reader = CaseReader(VolumeFinder(images, images_anywhere), VolumeFinder(masks, images_anywhere))
    kept, problems = _all_problems(cases, problems, reader, schema, asked)
    if problems:
        raise ConversionError(rows.path, with_hints(problems, rows))
    with writer:
        for case in tqdm([case for case in cases if case.case_id in kept], "Writing cases", unit="case", disable=None):
            loaded = _read_again(case, reader, rows.path)
            source = (sources or {}).get(case.image, loaded.source)
            _add(writer, case, replace(loaded, source=source), kept[case.case_id], readings or {})
    return writer.folder


def table_problems(
    table: CsvTable,
    mapping: TableMapping,
    diameter_range: tuple[float, float] | None = None,
    look_alike_patients: LookAlike | None = None,
) -> list[Problem]:
    """What is wrong with a table by itself, before any image or mask is opened.

    Args:
        table, mapping, diameter_range, look_alike_patients: as for `convert_table`. Whether the classes are there to
            learn from is not asked with a diameter range, which masks may decide.
    """
    rows, mapping = _read_rows(table, mapping, None)
    cases, problems = parse_cases(rows, mapping, look_alike_patients)
    if not problems and diameter_range is None:
        named = {case.case_id: [] if case.is_empty else case.rows for case in cases}
        problems = _check_data_set(cases, named, mapping.schema, None)
    return with_hints(problems, rows)


def _add(
    writer: RawDatasetWriter,
    case: CaseRows,
    loaded: LoadedCase,
    nodules: list[Nodule],
    readings: Mapping[str, ReaderMasks],
) -> None:
    kept = {nodule.nodule_id for nodule in nodules}
    drawn = {row.nodule_id: readings[row.mask] for row in case.rows if row.mask in readings and row.nodule_id in kept}
    image, mask = loaded.image, loaded.mask
    writer.add_case(case.case_id, image, mask, nodules, case.split, loaded.source, loaded.empty, drawn)


def _asked(diameter_range: tuple[float, float] | None, train_also_outside: bool) -> DiameterRange | None:
    if train_also_outside and diameter_range is None:
        raise ValueError("train_also_outside needs a diameter range: outside of what?")
    return DiameterRange.of(diameter_range)


def _all_problems(
    cases: Sequence[CaseRows],
    problems: Sequence[Problem],
    reader: CaseReader,
    schema: ClassificationSchema,
    asked: DiameterRange | None,
) -> tuple[dict[str, list[Nodule]], list[Problem]]:
    """The nodules to keep, and what is wrong with rows, files or, where these are right, with them together."""
    kept, of_files = _check_files(cases, reader, asked, schema.asked is not None)
    found = [*problems, *of_files]
    return kept, found or _check_data_set(cases, kept, schema, asked)


def _read_again(case: CaseRows, reader: CaseReader, table: Path) -> LoadedCase:
    loaded, changed = reader.read(case)
    if loaded is None:
        raise ConversionError(table, changed)
    return loaded


def _read_rows(table: Path | CsvTable, mapping: TableMapping, encoding: str | None) -> tuple[CsvTable, TableMapping]:
    """The rows, their columns spelt as the mapping spells them, and what the mapping says of the columns there are."""
    rows = mapping.spelt(table if isinstance(table, CsvTable) else read_table(table, encoding=encoding))
    for column in mapping.missing_votes(rows.columns):
        logger.warning("%s has no column '%s' with the readers' votes: the label stands for them.", table, column)
    return rows, mapping.restrict_to(rows.columns)


def _check_files(
    cases: Sequence[CaseRows], reader: CaseReader, asked: DiameterRange | None, train_also_outside: bool
) -> tuple[dict[str, list[Nodule]], list[Problem]]:
    """Reads every case; the nodules to keep of each case that keeps any, and everything that is wrong."""
    kept: dict[str, list[Nodule]] = {}
    problems: list[Problem] = []
    warnings: list[str] = []
    ratios: list[float] = []
    for case in tqdm(cases, "Checking cases", unit="case", disable=None):
        loaded, found = reader.read(case)
        problems += found
        if loaded is None:
            continue
        warnings += loaded.warnings
        ratios += loaded.diameter_ratios
        everything = train_also_outside and case.split == "train"
        nodules = [
            nodule for nodule in loaded.nodules if asked is None or everything or asked.holds(nodule.diameter_mm)
        ]
        if nodules or case.is_empty:
            kept[case.case_id] = nodules
    for text in warnings:
        logger.warning("%s", text)
    return kept, problems + _check_unit(ratios)


def _check_unit(ratios: Sequence[float]) -> list[Problem]:
    """Whether the diameters of the table are in mm, by what they are of those of the masks."""
    low, high = _ONE_UNIT
    if len(ratios) and not low <= float(np.median(ratios)) <= high:
        return [
            Problem(
                f"the diameters are in the median {np.median(ratios):.2g} times those of the masks: they seem to be in "
                f"another unit (0.1 is cm, 0.04 inches). diameter_mm is in mm."
            )
        ]
    return []


def _check_data_set(
    cases: Sequence[CaseRows],
    kept: Mapping[str, Sequence[Nodule | NoduleRow]],
    schema: ClassificationSchema,
    asked: DiameterRange | None,
) -> list[Problem]:
    if not any(kept.values()):
        what = "row names a nodule" if asked is None else f"nodule has a diameter of {asked}"
        return [Problem(f"no {what}; nothing is left of the table.")]
    if asked is not None and not any(asked.holds(nodule.diameter_mm) for own in kept.values() for nodule in own):
        return [Problem(f"no nodule has a diameter of {asked}; nothing is left of the table to ask about.")]
    training = [nodule for case in cases if case.split == "train" for nodule in kept.get(case.case_id, ())]
    primary = schema.primary_task
    known = sorted({label for nodule in training if (label := nodule.labels[primary]) is not None})
    teaching = any(case.split == "train" and case.case_id in kept for case in cases)
    if teaching and len(known) < 2:
        return [
            Problem(
                f"the training nodules show {len(known)} of the classes {list(schema.primary.classes)} of {primary} "
                f"({', '.join(known) or 'none is known'}); at least two are needed to learn from."
            )
        ]
    return _check_covariates(training, schema) if training else []


def _check_covariates(training: Sequence[Nodule | NoduleRow], schema: ClassificationSchema) -> list[Problem]:
    problems = []
    for covariate in schema.covariates:
        known = {value for nodule in training if (value := nodule.covariates.get(covariate.name)) is not None}
        if len(known) < 2:
            problems.append(
                Problem(
                    f"covariate {covariate.name}: the training nodules show {len(known)} different values, and two are "
                    f"needed to learn from. Take it out of the mapping."
                )
            )
    return problems
