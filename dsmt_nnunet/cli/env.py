"""`dsmt env`: the export lines that nnU-Net needs to find DSMT and its folders."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dsmt_nnunet

EXT_TRAINER = "nnUNet_extTrainer"
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


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


def plugin_folder() -> Path:
    """The folder that `nnUNet_extTrainer` must name, in an editable install and in a wheel alike."""
    return Path(dsmt_nnunet.__file__).resolve().parent / "nnunet_plugin"


def environment(base: Path) -> dict[str, str]:
    """nnUNet_extTrainer with our folder added, and each of nnU-Net's folders that is unset, below `base`."""
    plugin = str(plugin_folder())
    others = [path for path in os.environ.get(EXT_TRAINER, "").split(os.pathsep) if path and path != plugin]
    variables = {EXT_TRAINER: os.pathsep.join([plugin, *others])}
    for name in FOLDERS:
        if not os.environ.get(name):
            variables[name] = str(base.resolve() / name)
    return variables


def variables_of_children(base: Path, folders: Sequence[str] = FOLDERS) -> dict[str, str]:
    """The environment of commands that work below `base`, with few workers, since small volumes do not repay more.

    Args:
        base: where the folders go.
        folders: those of nnU-Net's folders that are set to lie below `base`, and made.
    """
    processes = worker_processes()
    variables = {**os.environ, **environment(base), **{name: str(base.resolve() / name) for name in folders}}
    for name in folders:
        Path(variables[name]).mkdir(parents=True, exist_ok=True)
    augmentation = 1 if processes <= 2 else processes
    return {**variables, "nnUNet_def_n_proc": str(processes), "nnUNet_n_proc_DA": str(augmentation)}


def worker_processes() -> int:
    """One a core, eight at most."""
    return min(8, os.cpu_count() or 1)


def apply_environment(base: Path | None = None) -> None:
    """Sets the variables for this process and its children, and makes nnU-Net's folders."""
    os.environ.update(environment(base or Path.cwd()))
    for name in FOLDERS:
        Path(os.environ[name]).mkdir(parents=True, exist_ok=True)
