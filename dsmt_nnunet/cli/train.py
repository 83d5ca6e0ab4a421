"""`dsmt train`: nnUNetv2_train with the environment set, the device chosen and, with --start, weights to start from.

With --folds it trains several folds, each in a job of its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from dsmt_nnunet.cli.stock import add_stock_parser, is_word, run_stock, take_option, with_trainer
from dsmt_nnunet.cli.train_folds import FOLDS_OPTION, train_folds
from dsmt_nnunet.environment import prepare
from dsmt_nnunet.shipped_models import card_of, model_place, what_a_start_should_know

START_OPTION = "--start"
_PRETRAINED = "-pretrained_weights"


def add_parser(subparsers: Any) -> None:
    """Adds `train`."""
    add_stock_parser(
        subparsers,
        "train",
        run,
        f"; {START_OPTION} NAME starts from a model that comes with the package ('dsmt model list'), or from a model's "
        f"zip file, folder or checkpoint; {FOLDS_OPTION} all --cluster local|slurm trains each fold in a job "
        f"(dsmt train {FOLDS_OPTION} all --help)",
    )


def run(args: argparse.Namespace) -> int:
    try:
        if is_word(args.arguments, FOLDS_OPTION):
            return train_folds(started(args.arguments))
        arguments = started(with_trainer(args.arguments))
    except (ValueError, OSError) as error:
        print(f"dsmt train: {error}", file=sys.stderr)
        return 2
    prepare()
    from nnunetv2.run.run_training import run_training_entry as entry_point

    return run_stock("nnUNetv2_train", entry_point, arguments)


def started(arguments: Sequence[str]) -> list[str]:
    """The words, with what --start names as nnU-Net's -pretrained_weights; what a user should know of it is printed.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: --start without a name, or beside -pretrained_weights or --c.
    """
    name, others = take_option(arguments, START_OPTION)
    if name is None:
        return others
    heads = [word.split("=")[0] for word in others]
    clashing = [head for head in heads if head == "--c" or (head.startswith("-pr") and _PRETRAINED.startswith(head))]
    if clashing:
        raise ValueError(f"{START_OPTION} says with which weights training begins; it does not go with {clashing[0]}.")
    place = model_place(name)
    print("\n".join([f"{START_OPTION} {name}:", *what_a_start_should_know(card_of(place))]))
    return [*others, _PRETRAINED, str(place)]
