"""In which order a study's trainings come: several in this process's children, or as jobs of a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from dsmt_nnunet.study.command_job import CommandJob
from dsmt_nnunet.study.jobs import JobQueue
from dsmt_nnunet.study.runner import Trainings, name_of


def in_parallel(study: Trainings, wanted: Sequence[tuple[str, int]]) -> Generator[list[Any], None, None]:
    """The runs of each trainer and seed as they end. After a failure none is begun, and those under way end first."""
    failed = threading.Event()

    def runs(trainer: str, seed: int) -> list[Any]:
        # Asked here, in the worker: it may take up the next training before the pool can be told of a failure.
        if failed.is_set():
            return []
        try:
            return study.runs(trainer, seed)
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(study.jobs) as pool:
        futures = [pool.submit(runs, trainer, seed) for trainer, seed in wanted]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            failed.set()
            raise


def on_cluster(
    study: Trainings,
    wanted: Sequence[tuple[str, int]],
    queue: JobQueue,
    words: Callable[[str, int, int], Sequence[str]],
) -> Generator[list[Any], None, None]:
    """The runs of each trainer and seed as their folds are trained and asked, each in a job of its own.

    Args:
        study: what is trained.
        wanted: trainers and seeds.
        queue: sees to the jobs.
        words: command that trains and asks a trainer, seed and fold.
    """
    jobs: dict[str, CommandJob] = {}
    open_folds: dict[tuple[str, int], set[str]] = {}
    for trainer, seed in wanted:
        names = {fold: name_of(trainer, seed, fold) for fold in study.folds()}
        open_folds[trainer, seed] = set(names.values())
        for fold, name in names.items():
            made = study.made_by(trainer, seed, fold)
            jobs[name] = CommandJob(words(trainer, seed, fold), made, study.lock(trainer, seed, fold))
    for name in queue.run(jobs):
        for (trainer, seed), left in open_folds.items():
            if name in left:
                left.remove(name)
                if not left:
                    yield study.runs(trainer, seed)
