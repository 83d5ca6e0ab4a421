"""`dsmt env`: the export lines that nnU-Net needs to find DSMT and its folders."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsmt_nnunet.environment import environment


def _bash(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _powershell(name: str, value: str) -> str:
    quoted = value.replace("'", "''")
    return f"$env:{name} = '{quoted}'"


def _cmd(name: str, value: str) -> str:
    return f'set "{name}={value}"'


SHELLS: dict[str, Callable[[str, str], str]] = {"bash": _bash, "powershell": _powershell, "cmd": _cmd}
"""Shell -> the line that sets a variable."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "env",
        help="print the environment that nnU-Net's commands need",
        description='Use it as: eval "$(dsmt env)". Folders that are set already are left as they are.',
    )
    parser.add_argument("--shell", choices=list(SHELLS), default="bash", help="whose lines to print (default: bash)")
    parser.add_argument(
        "--base", type=Path, default=Path.cwd(), help="where nnU-Net's folders go when unset (default: here)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    for name, value in environment(args.base).items():
        print(SHELLS[args.shell](name, value))
    return 0
