"""Workers of the commands that one process runs, without seconds of importing for each.

nnU-Net spawns the workers of planning, validation, export and evaluation: new interpreters that import torch before
they do anything. Where many commands run one after the other, all of their workers can be forks of one process that
has imported once and done nothing else: the fork server of Python's multiprocessing, itself a fork of the process that
the commands are forks of, so that nothing is imported twice.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.context import BaseContext, ForkServerContext
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

from dsmt_nnunet.parallel import come_here

_STANDARD_ERROR = 2
_USER_TIME_OF_CHILDREN = 13
"""Among the fields behind the name of a process, see proc(5)."""


class WarmContext(ForkServerContext):
    """The fork server in place of spawning; its workers have the environment and the folder of who asks for them."""

    workers_start_s = 0.3
    """They have nothing to import; see `parallel.py`."""

    def Pool(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
    ) -> Pool:
        here = (dict(os.environ), os.getcwd(), initializer, tuple(initargs))
        return super().Pool(processes, _begin, here, maxtasksperchild)


def _begin(
    variables: dict[str, str], folder: str, initializer: Callable[..., Any] | None, arguments: Sequence[Any]
) -> None:
    come_here(variables, folder)
    if initializer is not None:
        initializer(*arguments)


def start_warm_workers() -> None:
    """Starts the fork server, a fork of this process, which has imported what is needed and will fork the commands."""
    resource_tracker.ensure_running()
    started_anew = util.spawnv_passfds
    util.spawnv_passfds = _forked  # type: ignore[assignment]
    try:
        forkserver.set_forkserver_preload([])
        forkserver.ensure_running()
    finally:
        util.spawnv_passfds = started_anew


def _forked(_program: bytes, arguments: Sequence[str], kept: Sequence[int]) -> int:
    """In place of a new interpreter: a fork that runs the code the interpreter was to be given, its last argument."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        for below, above in pairwise([_STANDARD_ERROR, *sorted(kept), os.sysconf("SC_OPEN_MAX")]):
            os.closerange(below + 1, above)
        exec(arguments[-1], {})
    except SystemExit:
        status = 0
    finally:
        os._exit(status)


def seconds_of_workers() -> float:
    """Processor seconds of all workers that have ended, as their parent, the fork server, was told; no system calls."""
    parent = vars(forkserver._forkserver)["_forkserver_pid"]
    fields = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()
    return int(fields[_USER_TIME_OF_CHILDREN]) / os.sysconf("SC_CLK_TCK")


def share_warm_workers() -> None:
    """In a fork: whoever asks for spawned workers gets some of the fork server that its parent has started."""
    # It would ask whether its child still runs, and it is its parent's child.
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[method-assign]
    context, original = WarmContext(), multiprocessing.get_context

    def get_context(method: str | None = None) -> BaseContext:
        return context if method in ("spawn", "forkserver") else original(method)

    multiprocessing.get_context = get_context  # type: ignore[assignment]
