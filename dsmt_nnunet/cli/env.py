"""`dsmt env`: the export lines that nnU-Net needs to find DSMT and its folders."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from dsmt_nnunet.environment import environment


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "env",
        help="print the environment that nnU-Net's commands need",
        description='Use it as: eval "$(dsmt env)". Folders that are set already are left as they are.',
    )
    parser.add_argument(
        "--base", type=Path, default=Path.cwd(), help="where nnU-Net's folders go when unset (default: here)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    for name, value in environment(args.base).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0
