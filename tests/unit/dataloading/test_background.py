from __future__ import annotations

import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from batchgenerators.dataloading import nondet_multi_threaded_augmenter as upstream

from dsmt_nnunet.dataloading.background import WatchedAugmenter, WorkersEnded, why_workers_ended
from dsmt_nnunet.dataloading.dual_scale_loader import DualScaleDataLoader

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="workers are forks of this process on Linux alone"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),  # upstream's own thread
]


class Batches:
    """Batches as a loader in a worker process gives them; the third meets with an end."""

    third = 3

    def __init__(self, end: Callable[[], None]) -> None:
        self.end, self.given = end, 0

    def set_thread_id(self, thread_id: int) -> None:
        self.number = thread_id

    def __next__(self) -> dict[str, Any]:
        self.given += 1
        if self.given == self.third and self.number == 0:
            self.end()
        return {"data": self.given}


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_while_it_writes() -> None:
    """Leaves the length of a batch in the queue, and not the batch."""
    queue = sys._getframe(2).f_locals["queue"]
    queue._writer._send(struct.pack("!i", 10**6))
    killed()


def failed() -> None:
    raise ZeroDivisionError


def out_of_shared_memory() -> None:
    os.kill(os.getpid(), signal.SIGBUS)


def batches_for(seconds: float, augmenter: WatchedAugmenter) -> None:
    """Takes batches; on a busy machine one worker gives thousands before the other gives its third."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        next(augmenter)


def end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstream waits ten seconds for its thread, which here waits for the rest of a batch."""
    finish = upstream.NonDetMultiThreadedAugmenter._finish
    monkeypatch.setattr(upstream.NonDetMultiThreadedAugmenter, "_finish", lambda own, *_: finish(own, timeout=0.3))


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (killed, "killed (signal 9), as a system does that runs out of memory; there are 2. Use fewer"),
        (killed_while_it_writes, "killed (signal 9)"),
        (failed, "ended by an error, which is printed above"),
        (out_of_shared_memory, "--shm-size"),
    ],
)
def test_the_end_of_a_worker_ends_the_training_and_says_what_to_do(
    end: Callable[[], None], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_soon(monkeypatch)
    augmenter = WatchedAugmenter(Batches(end), None, 2, num_cached=3, seeds=[0, 1], wait_time=0.002)
    with pytest.raises(WorkersEnded, match="then go on with --c") as caught:
        batches_for(60.0, augmenter)
    assert told in str(caught.value)
    assert "nnUNet_n_proc_DA=1" in str(caught.value)


def test_nobody_reads_the_half_of_a_batch_that_a_killed_worker_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when upstream's thread, which reads the batches, sees first that it is to end."""

    def too_long(signum: int, frame: object) -> None:
        pytest.fail("The rest of a batch is waited for, which nobody writes.")

    end_soon(monkeypatch)
    monkeypatch.setattr(upstream, "results_loop", lambda *_: None)
    monkeypatch.setattr(Batches, "third", 1)
    augmenter = WatchedAugmenter(Batches(killed_while_it_writes), None, 1, num_cached=3, seeds=[0], wait_time=0.002)
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(30)
    try:
        with pytest.raises(WorkersEnded, match="killed"):
            next(augmenter)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_worker_that_was_asked_to_end_is_not_what_ended_the_others() -> None:
    assert "signal 11" in why_workers_ended([-signal.SIGTERM, -signal.SIGSEGV, None])


class EndlessBatches(DualScaleDataLoader):
    """The loader itself, but for what it reads."""

    infinite = True

    def __init__(self) -> None: ...

    def __next__(self) -> dict[str, Any]:
        return {"data": 0}


def test_workers_end_with_a_training_that_was_killed() -> None:
    held, holds = os.pipe()
    training = os.fork()
    if not training:
        with suppress(Exception):
            augmenter = WatchedAugmenter(EndlessBatches(), None, 2, num_cached=3, seeds=[0, 1], wait_time=0.002)
            next(augmenter)
            os.write(holds, b"started")
            signal.pause()
        os._exit(1)
    os.close(holds)
    assert os.read(held, 7) == b"started"
    os.kill(training, signal.SIGKILL)
    os.waitpid(training, 0)
    # The workers hold the other end until they end.
    assert select.select([held], [], [], 10)[0], "a worker is left"
    assert os.read(held, 1) == b""
    os.close(held)
