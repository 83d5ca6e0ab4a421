"""Batches that other processes make, whose end is noticed and told of."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from multiprocessing import Process, connection, parent_process
from multiprocessing.synchronize import Event
from threading import Thread
from typing import Any

from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter

_WORKERS_VARIABLE = "nnUNet_n_proc_DA"
_BY_US = (0, -signal.SIGTERM)
"""How workers end that were asked to, or that have printed why."""


class WorkersEnded(RuntimeError):
    """Processes that prepare data for another one have ended before their work was done."""


class WatchedAugmenter(NonDetMultiThreadedAugmenter):
    """nnU-Net's background processes; one that is killed ends the training with a message.

    Upstream asks whether workers live while it waits for their queue. One that was killed while it wrote leaves half a
    batch there, at which whoever reads it waits for ever; so another thread waits for the processes themselves, and
    once one has ended nobody empties the queue.
    """

    def _start(self) -> None:
        super()._start()
        arguments = (tuple(self._processes), self.abort_event)
        Thread(target=_abort_when_one_ends, args=arguments, daemon=True).start()

    def __next__(self) -> Any:
        """
        Raises:
            WorkersEnded: a worker was killed, or ended with an error.
        """
        if not self.initialized:
            self._start()
        workers = tuple(self._processes)
        try:
            return super().__next__()
        except RuntimeError as error:
            raise WorkersEnded(why_workers_ended([worker.exitcode for worker in workers])) from error

    def _finish(self, timeout: float = 10, force: bool = False) -> None:
        if not all(worker.is_alive() for worker in self._processes):
            for worker in self._processes:
                worker.terminate()
                worker.join(timeout=1)
            self._queue = None
        super()._finish(timeout, force)


def _abort_when_one_ends(workers: Sequence[Process], abort: Event) -> None:
    connection.wait([worker.sentinel for worker in workers])
    abort.set()


def end_with_parent() -> None:
    """Lets a worker end when the process that it makes batches for has, however that came about.

    Upstream's workers are told so by the one that started them, and one that was killed tells nobody: they would wait
    for a place in their queue for ever.
    """
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def why_workers_ended(exit_codes: Sequence[int | None]) -> str:
    """What ended the processes that make batches, and what to do.

    Args:
        exit_codes: of each, the negative number of a signal where one ended it.
    """
    signals = sorted({-code for code in exit_codes if code is not None and code < 0 and code not in _BY_US})
    if signal.SIGKILL in signals:
        why = "killed (signal 9), as a system does that runs out of memory"
    elif signal.SIGBUS in signals:
        why = "ended by a bus error, as when shared memory is full (start a container with --shm-size or --ipc=host)"
    elif signals:
        why = f"ended by signal {signals[0]}"
    else:
        why = "ended by an error, which is printed above"
    return (
        f"A process that makes batches was {why}; there are {len(exit_codes)}. Use fewer "
        f"({_WORKERS_VARIABLE}={max(0, len(exit_codes) // 2)}) or give them more memory, then go on with --c."
    )
