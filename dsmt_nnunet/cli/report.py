"""`dsmt report`: one self-contained HTML page from the folders of `dsmt evaluate`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE
from dsmt_nnunet.cli.arguments import file_to_write


def add_parser(subparsers: Any) -> None:
    """Adds `report`."""
    parser = subparsers.add_parser(
        "report",
        help="write one HTML page from the results of 'dsmt evaluate'",
        description="One self-contained page with figures, tables and the nodules, and its figures as SVG and PDF.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="OUT", help="folders written by 'dsmt evaluate'")
    parser.add_argument(
        "-o", dest="out", type=file_to_write, default=Path("report.html"), help="page (default: report.html)"
    )
    parser.add_argument("--title", default=None, help="heading of the page")
    for option, what in (
        ("images", "images, CASE_0000.nii.gz: the nodules are shown"),
        ("labels", "reference masks, CASE.nii.gz: true contours"),
        ("predictions", "predicted masks, CASE.nii.gz (or a model folder): predicted contours"),
        ("sources", "CASE.json of 'dsmt convert dicom --pseudonyms': where the nodules are in the archive"),
    ):
        parser.add_argument(f"--{option}", action="append", default=[], type=Path, metavar="FOLDER", help=what)
    parser.add_argument(
        "--max-cards", type=int, default=None, metavar="N", help="nodules shown, the largest errors first (100)"
    )
    parser.add_argument(
        "--checklist",
        action="store_true",
        help="also the flow of cases, the cohort, CLAIM 2024 and TRIPOD+AI, on the page and as CSV beside it",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """`dsmt report`."""
    from tqdm import tqdm

    from dsmt_nnunet.report.image_folders import ImageFolders
    from dsmt_nnunet.report.page import DEFAULT_MAX_CARDS, DEFAULT_TITLE, ReportOptions, write_report

    options = ReportOptions(
        title=args.title or DEFAULT_TITLE,
        folders=ImageFolders(tuple(args.images), tuple(args.labels), tuple(args.predictions), tuple(args.sources)),
        max_cards=DEFAULT_MAX_CARDS if args.max_cards is None else args.max_cards,
        checklist=args.checklist,
    )
    with tqdm(desc="nodules", unit="nodule", disable=not (args.images and sys.stderr.isatty())) as bar:
        page = write_report(args.folders, args.out, options, bar.update)
    print(f"{page} ({page.stat().st_size / 1e6:.1f} MB)\n{NOT_A_MEDICAL_DEVICE}")
    return 0
