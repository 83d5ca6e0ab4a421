"""`dsmt predict`: nnUNetv2_predict with the environment set and the device chosen."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from dsmt_nnunet.cli.stock import run_stock
from dsmt_nnunet.environment import prepare


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "predict",
        add_help=False,
        prefix_chars="\0",  # argparse would take a leading option for its own; all of them are nnU-Net's
        help="the same as nnUNetv2_predict, environment and device set, -tr DSMTTrainer unless given",
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    arguments = list(args.arguments)
    if "-tr" not in arguments:
        arguments += ["-tr", "DSMTTrainer"]
    prepare()
    from nnunetv2.inference.predict_from_raw_data import predict_entry_point as entry_point

    from dsmt_nnunet.inference.folder_run import CasesFailed

    try:
        return run_stock("nnUNetv2_predict", entry_point, arguments)
    except CasesFailed as error:
        print(f"dsmt predict: {error}", file=sys.stderr)
        return 1
