"""`dsmt`: one command with sub-commands, one module each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE, __version__

COMMANDS = (
    *("demo", "env", "convert", "plan", "train", "predict", "explain"),
    *("evaluate", "report", "export", "model", "study", "container"),
)
"""Modules of this package; each has `add_parser(subparsers)`, which sets `run` as a default: args -> exit status."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `dsmt`. Errors of the user's input end in one message and exit status 2.

    nnU-Net's training keeps its tracebacks.
    """
    parser = argparse.ArgumentParser(
        prog="dsmt",
        description="Dual-scale multi-task classification of pulmonary nodules with nnU-Net v2.",
        epilog=NOT_A_MEDICAL_DEVICE,
    )
    parser.add_argument("--version", action="version", version=f"dsmt-nnunet {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"dsmt_nnunet.cli.{name}").add_parser(subparsers)
    args = parser.parse_args(argv)
    if args.command == "train":
        return int(args.run(args) or 0)
    try:
        return int(args.run(args) or 0)
    except (ValueError, OSError) as error:
        print(f"dsmt {args.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
