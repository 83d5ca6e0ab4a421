"""`dsmt train`: nnUNetv2_train with the environment set and the device chosen."""

from __future__ import annotations

import argparse
from typing import Any

from dsmt_nnunet.cli.stock import is_given, run_stock
from dsmt_nnunet.environment import prepare


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "train",
        add_help=False,
        prefix_chars="\0",  # argparse would take a leading option for its own; all of them are nnU-Net's
        help="the same as nnUNetv2_train, environment and device set, -tr DSMTTrainer unless given",
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    arguments = list(args.arguments)
    if not is_given(arguments, "-tr"):
        arguments += ["-tr", "DSMTTrainer"]
    prepare()
    from nnunetv2.run.run_training import run_training_entry as entry_point

    return run_stock("nnUNetv2_train", entry_point, arguments)
