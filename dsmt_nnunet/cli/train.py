"""`dsmt train`: nnUNetv2_train with the environment set and the device chosen."""

from __future__ import annotations

import argparse
from typing import Any

from dsmt_nnunet.cli.stock import add_stock_parser, run_stock, with_trainer
from dsmt_nnunet.environment import prepare


def add_parser(subparsers: Any) -> None:
    """Adds `train`."""
    add_stock_parser(subparsers, "train", run)


def run(args: argparse.Namespace) -> int:
    arguments = with_trainer(args.arguments)
    prepare()
    from nnunetv2.run.run_training import run_training_entry as entry_point

    return run_stock("nnUNetv2_train", entry_point, arguments)
