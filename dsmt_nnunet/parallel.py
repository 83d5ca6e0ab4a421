"""Work on many cases, in several processes, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_all_start_methods
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from tqdm import tqdm

Result = TypeVar("Result")

WORKERS_START_S = 4.0
"""About what the start of workers takes, nearly all of it imports; a context may know better (`workers_start_s`)."""

IMPORTED_ONCE = ("torch", "SimpleITK", "nnunetv2.preprocessing.preprocessors.default_preprocessor")
"""Modules of seconds; where this process has them, its workers are forks of one process that imported them once."""


def in_processes(
    function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], processes: int, description: str
) -> list[Result]:
    """Results of a function for each job, in the order of the jobs; the first error ends the work.

    The first jobs run in this process, and all of them where they take no longer than others take to start. Workers are
    no forks of this process, which would be unsafe beside its threads, but of one that has imported what they need and
    done nothing else.

    Args:
        function: can be pickled.
        jobs: its arguments.
        processes: at work together.
        description: of the progress bar, which is shown in a terminal.

    Raises:
        OSError: a worker process died.
    """
    results: list[Any] = [None] * len(jobs)
    with tqdm(total=len(jobs), desc=description, disable=None if jobs else True) as progress:
        context = _context(function)
        start_s = getattr(context, "workers_start_s", WORKERS_START_S)
        begun, alone = time.monotonic(), 0
        while alone < len(jobs) and not _others_pay(time.monotonic() - begun, alone, len(jobs), processes, start_s):
            results[alone] = function(*jobs[alone])
            alone += 1
            progress.update()
        if alone == len(jobs):
            return results
        here = (dict(os.environ), os.getcwd())
        with ProcessPoolExecutor(processes, context, come_here, here) as pool:
            positions = {pool.submit(function, *jobs[position]): position for position in range(alone, len(jobs))}
            try:
                for future in as_completed(positions):
                    results[positions[future]] = future.result()
                    progress.update()
            except BrokenProcessPool as error:
                raise OSError(
                    f"{description}: a worker process died, killed for want of memory perhaps. What is done is kept; "
                    f"go on with fewer processes (-np {max(1, processes // 2)}, in a training nnUNet_def_n_proc)."
                ) from error
    return results


def _others_pay(elapsed_s: float, done: int, jobs: int, processes: int, start_s: float) -> bool:
    """Whether other processes, which take `start_s` to start, would be done sooner with what is left."""
    if processes <= 1 or not done:
        return False
    left_s = elapsed_s / done * (jobs - done)
    return left_s > start_s + left_s / min(processes, jobs - done)


def _context(function: Callable[..., Any]) -> BaseContext:
    if "forkserver" not in get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([name for name in IMPORTED_ONCE if name in sys.modules] + [function.__module__])
    return context


def come_here(variables: dict[str, str], folder: str) -> None:
    """Gives a worker the environment of this process now; the one it is forked from may be older."""
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
