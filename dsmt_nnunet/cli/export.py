"""`dsmt export`: hands predictions on in the formats of others."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dsmt_nnunet.cli.arguments import file_to_read, folder_to_write

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dsmt_nnunet.dicom.series import CtVolume
    from dsmt_nnunet.predictions.results import CasePrediction


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `export dicom`."""
    parser = subparsers.add_parser("export", help="hand predictions on to an archive")
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    dicom = formats.add_parser(
        "dicom",
        help="as DICOM SEG and structured report",
        description="Writes the nodules of one case as DICOM SEG and a structured report (TID 1500), in the study of "
        "the CT, and with --cards and --pdf what people look at. Needs pip install 'dsmt-nnunet[dicom]'. "
        "docs/dicom.md describes it.",
    )
    dicom.add_argument("predictions", type=Path, help="folder with CASE.json and CASE.nii.gz")
    dicom.add_argument("--series", type=Path, required=True, metavar="DIR", help="folder or zip with the CT")
    dicom.add_argument(
        "--same-scan",
        action="store_true",
        help="the CT is the scan that was predicted, though its voxels differ: another program made the image of it",
    )
    dicom.add_argument("--case", metavar="CASE", help="which case, where the folder holds several")
    dicom.add_argument(
        "--cards", action="store_true", help="also a picture of each nodule with its answers (secondary captures)"
    )
    dicom.add_argument(
        "--pdf",
        type=file_to_read,
        metavar="FILE",
        help="also this PDF, of this patient alone, as an encapsulated document",
    )
    dicom.add_argument("-o", type=folder_to_write, dest="output", metavar="DIR", help="default: PREDICTIONS/dicom")
    dicom.add_argument(
        "--send",
        metavar="ARCHIVE",
        help="hand them to an archive as well: https://HOST/dicom-web (STOW-RS; name and password in ~/.netrc) or "
        "TITLE@HOST:PORT (C-STORE)",
    )
    dicom.add_argument("--own-title", default="DSMT", metavar="TITLE", help="by which a DICOM node knows us (DSMT)")
    dicom.set_defaults(run=run_dicom)


def run_dicom(args: argparse.Namespace) -> int:
    """Runs `dsmt export dicom`."""
    import pydicom

    from dsmt_nnunet.dicom.sending import parse_archive, send
    from dsmt_nnunet.files import whole_file

    archive = parse_archive(args.send, args.own_title) if args.send else None
    try:
        from dsmt_nnunet.dicom.results import UTF_8
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'dsmt-nnunet[dicom]'.") from error
    case = _only_case(args.predictions, args.case)
    objects = _objects(args, case, _predicted_ct(args, case))
    output = args.output or args.predictions / "dicom"
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for ending, dataset in objects.items():
        path = output / f"{case.case_id}_{ending}.dcm"
        dataset.SpecificCharacterSet = UTF_8
        with whole_file(path) as place:
            dataset.save_as(place, enforce_file_format=True)
        written.append(pydicom.dcmread(path))
        print(f"Wrote {path}")
    if archive is not None:
        for uid in send(written, archive):
            print(f"{args.send} keeps {uid}")
    return 0


def _only_case(predictions: Path, name: str | None) -> CasePrediction:
    """The case of that name; without a name the only one.

    Raises:
        ValueError: none, or several.
    """
    from dsmt_nnunet.predictions.results import read_folder

    cases = read_folder(predictions)
    fitting = [case for case in cases if name in (None, case.case_id)]
    if len(fitting) != 1:
        there = ", ".join(case.case_id for case in cases[:5]) + (", ..." if len(cases) > 5 else "")
        raise ValueError(f"{predictions} holds {len(fitting)} cases that fit; name one with --case. There are {there}.")
    return fitting[0]


def _predicted_ct(args: argparse.Namespace, case: CasePrediction) -> CtVolume:
    """The CT of a case, by the UID where its prediction noted one.

    Raises:
        ValueError: the export holds none, several, not the one that was noted, or one of other voxels, which may be of
            another patient: findings in a wrong record are not easily taken back.
    """
    import SimpleITK as sitk

    from dsmt_nnunet.dicom.export import read_export
    from dsmt_nnunet.dicom.scan_source import SOURCES_FOLDER, read_source
    from dsmt_nnunet.dicom.series import ct_series, read_ct
    from dsmt_nnunet.image_files import voxel_checksum

    series = ct_series(read_export(args.series))
    noted = args.predictions / SOURCES_FOLDER / f"{case.case_id}.json"
    if noted.is_file():
        uid, there = read_source(noted).series_uid, [own.uid for own in series]
        series = tuple(own for own in series if own.uid == uid)
        if not series:
            raise ValueError(f"case '{case.case_id}' was made from the series {uid}, and {args.series} holds {there}.")
    if len(series) != 1:
        raise ValueError(f"{args.series} holds {len(series)} CT series; give the one from which the case was made.")
    ct = read_ct(series[0])
    known = bool(case.image_crc32) and not args.same_scan
    if known and voxel_checksum(sitk.GetArrayViewFromImage(ct.image)) != case.image_crc32:
        raise ValueError(
            f"The voxels of {ct.series.where} are not those that were predicted in case '{case.case_id}': it may be "
            f"another phase, or another patient. Give the series of the prediction, or say --same-scan if another "
            f"program made the image of this very scan."
        )
    return ct


def _objects(args: argparse.Namespace, case: CasePrediction, ct: CtVolume) -> dict[str, Dataset]:
    """What is exported, by the ending of its file's name."""
    import warnings

    import SimpleITK as sitk

    from dsmt_nnunet.dicom.captures import make_captures, make_document
    from dsmt_nnunet.dicom.results import make_report, make_segmentation, split_mask, with_what_is_required
    from dsmt_nnunet.image_files import check_whole_image

    file = args.predictions / f"{case.case_id}.nii.gz"
    check_whole_image(file)
    mask = sitk.ReadImage(str(file))
    parts = split_mask(mask, case, ct)
    if without := [nodule.nodule_id for nodule in case.nodules if nodule.nodule_id not in parts]:
        print(
            f"The nodules {without} have no part of the mask to themselves: the report has them without a segment.",
            file=sys.stderr,
        )
    order = {uid: index for index, uid in enumerate(ct.source.sop_uids)}
    read = [with_what_is_required(item.read(), ct.series.where) for item in ct.series.objects]
    sources = sorted(read, key=lambda one: order[str(one.SOPInstanceUID)])
    warnings.filterwarnings("ignore", ".*person name")  # highdicom prints the name in it
    model = str(case.model.get("name") or "DSMT")
    segmentation = make_segmentation(parts, sources, model) if parts else None
    if segmentation is None:
        print("The mask is empty, so that there is no segmentation; the report says what was found.", file=sys.stderr)
    report = make_report(case, segmentation, list(parts), sources, model)
    objects: dict[str, Dataset] = {} if segmentation is None else {"seg": segmentation}
    objects["report"] = report
    if args.cards:
        from dsmt_nnunet.report.nodule_capture import nodule_capture

        pictures = [nodule_capture(ct.image, mask, nodule, case.schema, ct.source) for nodule in case.nodules]
        captures = make_captures(pictures, sources[0], model)
        objects |= {f"card{number}": capture for number, capture in enumerate(captures, start=1)}
    if args.pdf:
        try:
            objects["document"] = make_document(args.pdf.read_bytes(), sources[0], "Nodules (DSMT)")
        except ValueError as error:
            raise ValueError(f"{args.pdf}: {error}") from error
    return objects
