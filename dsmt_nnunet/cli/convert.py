"""`dsmt convert`: makes nnU-Net raw data sets with a table of nodules."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dsmt_nnunet.cli.arguments import count, file_to_read, file_to_write, seed
from dsmt_nnunet.tasks import NODULE_TABLE_NAME, TEST_NODULE_TABLE_NAME, ClassificationSchema

if TYPE_CHECKING:
    from dsmt_nnunet.covariates import Covariate
    from dsmt_nnunet.dataset_conversion.mapping import TableMapping
    from dsmt_nnunet.dataset_conversion.problems import Problem
    from dsmt_nnunet.dataset_conversion.row_sources import RowSource
    from dsmt_nnunet.nodules import NoduleTable

PREPROCESSED_VARIABLE = "nnUNet_preprocessed"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `convert table`, `convert dicom` and `convert phantom`."""
    parser = subparsers.add_parser("convert", help="make an nnU-Net raw data set from a table, or of phantoms")
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")
    _add_table_parser(sources)
    _add_dicom_parser(sources)
    _add_phantom_parser(sources)


def _add_table_parser(sources: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = sources.add_parser(
        "table",
        help="from a table with one row a nodule, CTs and masks",
        description="Converts a table with one row a nodule, CTs and masks. Nothing is written unless all of it is "
        "right. docs/data-format.md describes the columns and the mapping file.",
    )
    parser.add_argument("table", type=file_to_read, help="CSV, .xlsx or .ods, one row a nodule")
    parser.add_argument(
        "--suggest",
        nargs="?",
        const=Path(),
        type=Path,
        metavar="FILE.yaml",
        help="only write the mapping file that the table seems to need, with a count for every term "
        "(default: TABLE-mapping.yaml)",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the CTs")
    parser.add_argument("--masks", type=Path, metavar="DIR", help="folder of the nodule masks")
    _add_data_set_arguments(parser, required=False)
    _add_reading_arguments(parser)
    parser.add_argument(
        "--images-anywhere", action="store_true", help="let the table name files outside of --images and --masks"
    )
    parser.add_argument(
        "--force-intensities", action="store_true", help="take images that do not look like HU; NaN is refused still"
    )
    parser.set_defaults(run=run_table)


def _add_dicom_parser(sources: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = sources.add_parser(
        "dicom",
        help="from a DICOM export and a table with one row a nodule",
        description="Converts a DICOM export with contours (RTSTRUCT, SEG, LIDC XML) and a table with one row a "
        "nodule. Prints first what each row was found to mean. docs/dicom.md describes it.",
    )
    parser.add_argument("export", type=Path, help="folder or zip as the archive exported it")
    parser.add_argument("table", type=file_to_read, help="CSV, .xlsx or .ods, one row a nodule")
    _add_data_set_arguments(parser)
    _add_reading_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="print what each row means, and end")
    parser.add_argument(
        "--choose",
        action="append",
        default=[],
        metavar="RULE",
        help="decides between several series: thinnest, latest, earliest, kernel=PATTERN, description=PATTERN, "
        "before=COLUMN; may be given several times, the first counts first",
    )
    parser.add_argument(
        "--structures", default="*", metavar="PATTERN", help="names of the contours, e.g. 'GTV*|nodule*'"
    )
    parser.add_argument(
        "--pseudonyms",
        type=file_to_write,
        metavar="FILE.csv",
        help="replace patient ids by the names in this file and move dates; patients that it lacks are added to it",
    )
    parser.set_defaults(run=run_dicom)


def _add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mapping", type=file_to_read, metavar="FILE.yaml", help="what the columns mean, if not the usual"
    )
    parser.add_argument("--sheet", metavar="NAME", help="of a workbook; default: the first one that holds a table")
    parser.add_argument(
        "--grades",
        action="store_true",
        help="keep the grades of adenocarcinoma, AAH < AIS < MIA < IAC, as an ordered task",
    )
    parser.add_argument("--encoding", metavar="NAME", help="of a CSV table that is no UTF-8, e.g. gb18030 or cp1252")
    parser.add_argument(
        "--diameter-range",
        type=float,
        nargs=2,
        metavar=("MIN", "MAX"),
        help="keep nodules of these diameters only, in mm, e.g. 10 20",
    )
    parser.add_argument(
        "--look-alike-patients",
        choices=("same", "different"),
        help="what patient_ids are that differ in spelling only, such as A01 and a01, or 1 and 01",
    )
    parser.add_argument(
        "--train-also-outside",
        action="store_true",
        help="learn from the training nodules of other diameters too; no evaluation asks of them",
    )


def _add_phantom_parser(sources: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = sources.add_parser(
        "phantom", help="of simulated chest CTs", description="Simulates a cohort of chest CTs."
    )
    _add_data_set_arguments(parser, default_name="Phantom")
    parser.add_argument("--cases", type=int, default=48, metavar="N", help="training cases (default: %(default)s)")
    parser.add_argument("--test-cases", type=int, default=0, metavar="N", help="further cases of the same protocols")
    parser.add_argument("--external-cases", type=int, default=0, metavar="N", help="test cases of another protocol")
    parser.add_argument(
        "--seed", type=seed, default=1, help="the same seed makes the same cohort (default: %(default)s)"
    )
    parser.add_argument("--size", type=int, default=112, help="voxels a side (default: %(default)s)")
    parser.add_argument(
        "-np", type=count, default=1, dest="processes", metavar="N", help="processes (default: %(default)s)"
    )
    parser.set_defaults(run=run_phantom)


def _add_data_set_arguments(
    parser: argparse.ArgumentParser, default_name: str | None = None, required: bool = True
) -> None:
    parser.add_argument(
        "-d", type=int, required=required, dest="dataset_id", metavar="ID", help="data set id, 1 to 999"
    )
    needed = required and default_name is None
    parser.add_argument("-n", default=default_name, required=needed, dest="name", metavar="NAME", help="data set name")
    parser.add_argument("--overwrite", action="store_true", help="replace a data set of the same id and name")


def run_table(args: argparse.Namespace) -> int:
    """Runs `dsmt convert table`."""
    from dsmt_nnunet.csv_table import read_table
    from dsmt_nnunet.dataset_conversion.table import convert_table
    from dsmt_nnunet.intensities import FORCE_VARIABLE

    if args.suggest is not None:
        return _suggest(args)
    needed = {"--images": args.images, "--masks": args.masks, "-d": args.dataset_id, "-n": args.name}
    lacking = [name for name, value in needed.items() if value is None]
    if lacking:
        raise ValueError(f"{', '.join(lacking)} must be given, or --suggest for a mapping file alone.")
    if args.force_intensities:
        os.environ[FORCE_VARIABLE] = "1"

    folder = convert_table(
        table=read_table(args.table, args.sheet, args.encoding) if args.sheet else args.table,
        images=args.images,
        masks=args.masks,
        dataset_id=args.dataset_id,
        name=args.name,
        mapping=_chosen_mapping(args),
        diameter_range=tuple(args.diameter_range) if args.diameter_range else None,
        train_also_outside=args.train_also_outside,
        overwrite=args.overwrite,
        look_alike_patients=args.look_alike_patients,
        encoding=args.encoding,
        images_anywhere=args.images_anywhere,
    )
    print(describe(folder, args.dataset_id))
    return 0


def _chosen_mapping(args: argparse.Namespace) -> TableMapping | None:
    from dsmt_nnunet.dataset_conversion.mapping import GRADED_MAPPING
    from dsmt_nnunet.dataset_conversion.mapping_file import read_mapping

    if args.mapping and args.grades:
        raise ValueError("--grades is for tables without a mapping file; in one, say 'ordered: true' of the task.")
    if args.grades:
        return GRADED_MAPPING
    return read_mapping(args.mapping) if args.mapping else None


def _suggest(args: argparse.Namespace) -> int:
    from dsmt_nnunet.csv_table import read_table
    from dsmt_nnunet.dataset_conversion.suggestion import suggest
    from dsmt_nnunet.files import write_text

    path = Path(f"{args.table.stem}-mapping.yaml") if args.suggest == Path() else args.suggest
    if path.exists() and not args.overwrite:
        raise FileExistsError(f"{path} exists already, and may have been corrected. Replace it with --overwrite.")
    found = suggest(read_table(args.table, args.sheet, args.encoding), args.grades)
    write_text(path, found.text)
    print("\n".join(found.lines))
    if found.unsorted:
        print(f"Not known, see '# Not sorted' in the file: {', '.join(found.unsorted)}")
    sheet = f' --sheet "{args.sheet}"' if args.sheet else ""
    print(f"Wrote {path}. Read and correct it, then convert with --mapping {path}{sheet}")
    return 0


def run_dicom(args: argparse.Namespace) -> int:
    """Runs `dsmt convert dicom`."""
    from dsmt_nnunet.csv_table import read_table
    from dsmt_nnunet.dataset_conversion.archive import convert_dicom, problems_of_rows
    from dsmt_nnunet.dataset_conversion.deidentification import Pseudonyms
    from dsmt_nnunet.dataset_conversion.mapping import DEFAULT_MAPPING
    from dsmt_nnunet.dataset_conversion.raw_dataset import dataset_folder_name
    from dsmt_nnunet.dataset_conversion.row_sources import find_sources
    from dsmt_nnunet.dataset_conversion.series_choice import Choice
    from dsmt_nnunet.dicom.export import read_export

    mapping = _chosen_mapping(args) or DEFAULT_MAPPING
    choices = [Choice.parse(text) for text in args.choose]
    table = mapping.spelt(read_table(args.table, args.sheet, args.encoding))
    sources = find_sources(read_export(args.export), table, mapping, choices, args.structures)
    for source in sources:
        print(source)
    pseudonyms = Pseudonyms.read(args.pseudonyms) if args.pseudonyms else None
    diameter_range = tuple(args.diameter_range) if args.diameter_range else None
    if args.dry_run:
        dataset_folder_name(args.dataset_id, args.name)
        problems = problems_of_rows(table, sources, mapping, pseudonyms, diameter_range, args.look_alike_patients)
        return _end_dry_run(sources, problems)
    folder = convert_dicom(
        table=table,
        sources=sources,
        dataset_id=args.dataset_id,
        name=args.name,
        mapping=mapping,
        pseudonyms=pseudonyms,
        choices=choices,
        diameter_range=diameter_range,
        train_also_outside=args.train_also_outside,
        overwrite=args.overwrite,
        look_alike_patients=args.look_alike_patients,
    )
    if pseudonyms is not None:
        pseudonyms.save()
    print(describe(folder, args.dataset_id))
    return 0


def _end_dry_run(sources: Sequence[RowSource], problems: Sequence[Problem]) -> int:
    """Prints what is wrong with the table itself and how many rows are complete; 0 when all is well."""
    for problem in problems:
        print(f"WRONG {problem}")
    wrong = {problem.line for problem in problems}
    complete = [source for source in sources if not source.missing and source.row.line not in wrong]
    print(f"{len(complete)} of {len(sources)} rows are complete; nothing was written.")
    return int(len(complete) < len(sources) or bool(problems))


def run_phantom(args: argparse.Namespace) -> int:
    """Runs `dsmt convert phantom`."""
    from dsmt_nnunet.dataset_conversion.phantom import convert_phantom

    folder = convert_phantom(
        dataset_id=args.dataset_id,
        name=args.name,
        cases=args.cases,
        test_cases=args.test_cases,
        external_cases=args.external_cases,
        seed=args.seed,
        size=args.size,
        overwrite=args.overwrite,
        processes=args.processes,
    )
    print(describe(folder, args.dataset_id))
    return 0


def describe(folder: Path, dataset_id: int) -> str:
    """What a raw data set holds, and the command that comes next."""
    from dsmt_nnunet.nodules import NoduleTable

    dataset_json = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    schema = ClassificationSchema.from_dataset_json(dataset_json)
    lines = [f"Wrote {folder}"]
    for split, table_name, images in (
        ("train", NODULE_TABLE_NAME, "imagesTr"),
        ("test", TEST_NODULE_TABLE_NAME, "imagesTs"),
    ):
        if (folder / images).is_dir() and any((folder / images).iterdir()):
            lines += _describe_split(split, NoduleTable.read(folder / table_name, schema), schema)
    if dataset_json["numTraining"]:
        lines += _next_steps(folder.name, dataset_id)
    else:
        lines.append(f"There are no training cases. Next: dsmt predict -i {folder / 'imagesTs'}")
    return "\n".join(lines)


def _describe_split(split: str, table: NoduleTable, schema: ClassificationSchema) -> list[str]:
    without = f" ({len(table.empty)} without a nodule)" if table.empty else ""
    counted = f"{len(table.case_ids)} cases{without}, {len(table)} nodules, {len(table.patient_ids)} patients"
    lines = [f"  {split}: {counted}"]
    if schema.asked is not None:
        asked = sum(schema.asked.holds(nodule.diameter_mm) for nodule in table.nodules)
        lines.append(f"    asked about: {asked} nodules of {schema.asked}; the others are learnt from")
    for task in schema.tasks:
        counts = Counter(nodule.labels[task.name] for nodule in table.nodules)
        parts = [f"{counts[name]} {name}" for name in task.classes]
        parts += [f"{counts[None]} not known"] if counts[None] else []
        lines.append(f"    {task.name}: {', '.join(parts)}")
    lines += [f"    {_describe_covariate(covariate, table)}" for covariate in schema.covariates]
    return lines


def _describe_covariate(covariate: Covariate, table: NoduleTable) -> str:
    values = [nodule.covariates.get(covariate.name) for nodule in table.nodules]
    numbers = [value for value in values if isinstance(value, float)]
    parts = [f"{values.count(name)} {name}" for name in covariate.categories]
    if numbers:
        parts.append(f"{min(numbers):g} to {max(numbers):g} {covariate.unit}".strip())
    parts += [f"{values.count(None)} not known"] if None in values else []
    return f"{covariate.name}: {', '.join(parts)}"


def _next_steps(folder_name: str, dataset_id: int) -> list[str]:
    lines = [f"Next: dsmt plan -d {dataset_id}"]
    preprocessed = os.environ.get(PREPROCESSED_VARIABLE)
    if preprocessed and (old := Path(preprocessed) / folder_name).is_dir():
        lines.append(
            f"{old} comes from an earlier version of this data set. dsmt plan makes again what has changed; folds of "
            f"other cases it refuses: remove splits_final.json then, or the whole folder before stock planning."
        )
    return lines
