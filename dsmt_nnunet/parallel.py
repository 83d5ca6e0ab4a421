"""Work on many cases, in several processes, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from tqdm import tqdm

Result = TypeVar("Result")


def in_processes(
    function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], processes: int, description: str
) -> list[Result]:
    """Results of a function for each job, in the order of the jobs; the first error ends the work.

    Few jobs run in this process: a spawned one takes seconds to start. (Forked ones would be unsafe beside threads.)

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
        if processes <= 1 or len(jobs) < 2 * processes:
            for position, job in enumerate(jobs):
                results[position] = function(*job)
                progress.update()
            return results
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            positions = {pool.submit(function, *job): position for position, job in enumerate(jobs)}
            try:
                for future in as_completed(positions):
                    results[positions[future]] = future.result()
                    progress.update()
            except BrokenProcessPool as error:
                raise OSError(
                    f"{description}: a worker process died, killed for want of memory perhaps. What is done is kept; "
                    f"go on with fewer processes (-np {max(1, processes // 2)})."
                ) from error
    return results
