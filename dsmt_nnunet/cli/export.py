"""`dsmt export`: hands predictions on in the formats of others."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `export dicom`."""
    parser = subparsers.add_parser("export", help="hand predictions on to an archive")
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    dicom = formats.add_parser(
        "dicom",
        help="as DICOM SEG and structured report",
        description="Writes the nodules of one case as DICOM SEG and a structured report (TID 1500), in the study of "
        "the CT. Needs pip install 'dsmt-nnunet[dicom]'. docs/dicom.md describes it.",
    )
    dicom.add_argument("predictions", type=Path, help="folder with CASE.json and CASE.nii.gz")
    dicom.add_argument("--series", type=Path, required=True, metavar="DIR", help="folder or zip with the CT")
    dicom.add_argument("--case", metavar="CASE", help="which case, where the folder holds several")
    dicom.add_argument("-o", type=Path, dest="output", metavar="DIR", help="default: PREDICTIONS/dicom")
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
    import SimpleITK as sitk

    from dsmt_nnunet.dicom.export import read_export
    from dsmt_nnunet.dicom.scan_source import SOURCES_FOLDER, read_source
    from dsmt_nnunet.dicom.sending import parse_archive, send
    from dsmt_nnunet.dicom.series import ct_series, read_ct
    from dsmt_nnunet.predictions.results import read_folder

    archive = parse_archive(args.send, args.own_title) if args.send else None
    try:
        from dsmt_nnunet.dicom.results import make_report, make_segmentation, split_mask
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'dsmt-nnunet[dicom]'.") from error

    cases = [case for case in read_folder(args.predictions) if args.case in (None, case.case_id)]
    if len(cases) != 1:
        raise ValueError(f"{args.predictions} holds {len(cases)} cases that fit; name one with --case.")
    series = ct_series(read_export(args.series))
    noted = args.predictions / SOURCES_FOLDER / f"{cases[0].case_id}.json"
    if len(series) > 1 and noted.is_file():
        uid = read_source(noted).series_uid
        series = tuple(own for own in series if own.uid == uid)
    if len(series) != 1:
        raise ValueError(f"{args.series} holds {len(series)} CT series; give the one from which the case was made.")
    (case,), ct = cases, read_ct(series[0])
    parts = split_mask(sitk.ReadImage(str(args.predictions / f"{case.case_id}.nii.gz")), case, ct)
    order = {uid: index for index, uid in enumerate(ct.source.sop_uids)}
    sources = sorted((item.read() for item in ct.series.objects), key=lambda one: order[str(one.SOPInstanceUID)])
    model = str(case.model.get("name") or "DSMT")
    segmentation = make_segmentation(parts, sources, model)
    report = make_report(case, segmentation, sources, model)
    output = args.output or args.predictions / "dicom"
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for dataset, ending in ((segmentation, "seg"), (report, "report")):
        path = output / f"{case.case_id}_{ending}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        written.append(pydicom.dcmread(path))
        print(f"Wrote {path}")
    if archive is not None:
        for uid in send(written, archive):
            print(f"{args.send} keeps {uid}")
    return 0
