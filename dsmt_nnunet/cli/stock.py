"""Running nnU-Net's own commands with the environment set and the device chosen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from dsmt_nnunet.environment import best_device


def add_stock_parser(subparsers: Any, name: str, run: Callable[[argparse.Namespace], int], differs: str = "") -> None:
    """Adds the command that stands for `nnUNetv2_NAME`; all of its arguments are nnU-Net's.

    Args:
        subparsers: of `dsmt`.
        name: of the command.
        run: what it runs.
        differs: what else is not as in nnU-Net, for the help.
    """
    parser = subparsers.add_parser(
        name,
        add_help=False,
        prefix_chars="\0",  # argparse would take a leading option for its own
        help=f"the same as nnUNetv2_{name}, environment and device set, -tr DSMTTrainer unless given{differs}",
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.set_defaults(run=run)


def with_trainer(arguments: Sequence[str]) -> list[str]:
    """The words, with DSMTTrainer where they name no trainer."""
    return [*arguments] if is_given(arguments, "-tr") else [*arguments, "-tr", "DSMTTrainer"]


def is_given(arguments: Sequence[str], option: str) -> bool:
    """Whether an option is among the words, as `-tr X`, as `-tr=X` or cut short, as nnU-Net's parser allows."""
    heads = [word.split("=")[0] for word in arguments if word.startswith("-") and word != "-d"]
    return any(len(head) > 1 and option.startswith(head) for head in heads)


def is_word(arguments: Sequence[str], option: str) -> bool:
    """Whether an option of ours is among the words, as `--x V` or `--x=V`."""
    return any(word.partition("=")[0] == option for word in arguments)


def take_option(arguments: Sequence[str], option: str) -> tuple[str | None, list[str]]:
    """The value of an option of ours (`--x V` or `--x=V`), None where it is absent, and the other words.

    Raises:
        ValueError: it has no value, or is given twice.
    """
    values, others, words = [], [], iter(arguments)
    for word in words:
        head, equals, value = word.partition("=")
        if head != option:
            others.append(word)
            continue
        value = value if equals else next(words, "")
        if not value or value.startswith("-"):
            raise ValueError(f"{option} needs a value.")
        values.append(value)
    if len(values) > 1:
        raise ValueError(f"{option} is given {len(values)} times: {', '.join(values)}.")
    return (values[0] if values else None), others


def run_stock(command: str, entry_point: Callable[[], Any], arguments: Sequence[str]) -> int:
    """Runs an entry point of nnU-Net as if `command` had been typed with these arguments.

    Args:
        command: name for usage messages.
        entry_point: reads sys.argv.
        arguments: as typed; `-device` is added when absent.
    """
    chosen = list(arguments)
    if not is_given(chosen, "-device") and not {"-h", "--help"} & set(chosen):
        chosen += ["-device", best_device()]
    before = sys.argv
    sys.argv = [command, *chosen]
    try:
        entry_point()
    finally:
        sys.argv = before
    return 0
