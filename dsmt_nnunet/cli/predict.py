"""`dsmt predict`: nnUNetv2_predict with the environment set and the device chosen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsmt_nnunet.cli.stock import add_stock_parser, run_stock, with_trainer
from dsmt_nnunet.environment import prepare


def add_parser(subparsers: Any) -> None:
    """Adds `predict`."""
    add_stock_parser(
        subparsers, "predict", run, "; checkpoints that could run code are refused unless --trust is given"
    )


def run(args: argparse.Namespace) -> int:
    arguments = with_trainer(args.arguments)
    prepare()
    trust = "--trust" in arguments
    arguments = [word for word in arguments if word != "--trust"]
    if not trust:
        _check_model(arguments)
    from nnunetv2.inference.predict_from_raw_data import predict_entry_point as entry_point

    from dsmt_nnunet.inference.folder_run import CasesFailed

    try:
        return run_stock("nnUNetv2_predict", entry_point, arguments)
    except CasesFailed as error:
        print(f"dsmt predict: {error}", file=sys.stderr)
        return 1


def _check_model(arguments: Sequence[str]) -> None:
    """Looks at the model before nnU-Net reads it, which runs whatever code a checkpoint or the plans bring.

    Raises:
        ValueError: they bring some.
    """
    parser = argparse.ArgumentParser(add_help=False)
    for option, default in (("-d", None), ("-c", None), ("-tr", None), ("-p", "nnUNetPlans"), ("-chk", None)):
        parser.add_argument(option, default=default)
    parser.add_argument("-f", nargs="+", default=None)
    known, _ = parser.parse_known_args(arguments)
    if known.d is None or known.c is None:
        return  # nnU-Net says what is missing
    from nnunetv2.utilities.file_path_utilities import get_output_folder

    from dsmt_nnunet.inference.model_files import DEFAULT_CHECKPOINT, check_model

    dataset = int(known.d) if known.d.isdigit() else known.d
    folder = Path(get_output_folder(dataset, known.tr, known.p, known.c))
    check_model(folder, known.f, known.chk or DEFAULT_CHECKPOINT)
