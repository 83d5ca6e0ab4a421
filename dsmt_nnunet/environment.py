"""The environment of nnU-Net's commands: variables, folders, device and the number of workers."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import dsmt_nnunet

EXT_TRAINER = "nnUNet_extTrainer"
PROCESSES_VARIABLE = "nnUNet_def_n_proc"
"""How many processes nnU-Net starts; eight where it is not set."""
_SET_PARENT_DEATH_SIGNAL = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


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
    return {**variables, PROCESSES_VARIABLE: str(processes), "nnUNet_n_proc_DA": str(augmentation)}


def worker_processes() -> int:
    """One a core, eight at most."""
    return min(8, usable_cores())


def usable_cores() -> int:
    """Those that this process may use: a job of a cluster has a share of its machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def die_with_parent() -> None:
    """For `preexec_fn`: the child ends with the thread that started it, even if that is killed (Linux alone)."""
    if _LIBC is not None:
        _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def apply_environment(base: Path | None = None) -> None:
    """Sets the variables for this process and its children, and makes nnU-Net's folders."""
    os.environ.update(environment(base or Path.cwd()))
    for name in FOLDERS:
        Path(os.environ[name]).mkdir(parents=True, exist_ok=True)


def best_device() -> str:
    """cuda, mps or cpu: the first that is there."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def prepare(folders: bool = True) -> None:
    """Sets the environment; to be called before nnunetv2 is imported.

    Args:
        folders: whether nnU-Net's folders are made; a model that lies elsewhere needs none.
    """
    if folders:
        apply_environment()
    else:
        os.environ.update(environment(Path.cwd()))


def resolved(command: str) -> list[str]:
    """The command's words, its program taken from the environment that runs this one."""
    program, *arguments = shlex.split(command)
    beside = Path(sys.executable).with_name(program)
    return [str(beside) if beside.exists() else program, *arguments]
