"""What runs inside a job: one command, alone with what it makes, and not twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsmt_nnunet.environment import die_with_parent


@dataclass(frozen=True)
class CommandJob:
    """A command, as submitit hands it to a job.

    Attributes:
        words: of the command.
        made: files that are there when it is done.
        lock: file that is locked while it runs.
        begun: files of which one is there when the command has been begun; none where it finds out itself.
        words_if_begun: of the command that goes on from there.
        variables: of the environment, beside those of the job.
    """

    words: Sequence[str]
    made: Sequence[Path]
    lock: Path
    begun: Sequence[Path] = ()
    words_if_begun: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def __call__(self) -> None:
        """Runs it unless it is done, after any other job that makes the same.

        Raises:
            OSError: it failed, or left undone what it should make.
        """
        with alone(self.lock):
            if self.is_done():
                print("Another job has made this already.")
                return
            goes_on = any(path.is_file() for path in self.begun)
            words = self.words_if_begun if goes_on else self.words
            print("Running:", *words, flush=True)
            variables = {**os.environ, **self.variables}
            status = subprocess.run(words, env=variables, preexec_fn=die_with_parent, check=False).returncode
            if status:
                raise OSError(f"This command ended with status {status}: {' '.join(words)}")
            if not self.is_done():
                raise OSError(
                    f"This command ended well, but {', '.join(self.missing())} is not there: {' '.join(words)}"
                )

    def is_done(self) -> bool:
        return not self.missing()

    def missing(self) -> list[str]:
        """What is not made yet."""
        return [str(path) for path in self.made if not path.is_file()]

    def checkpoint(self) -> Any:
        """Asked by submitit when a job reaches its time limit or is preempted: the same again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@contextmanager
def alone(lock: Path, waits: bool = True) -> Iterator[None]:
    """Holds a lock on a file, which ends with this process whatever ends it. It is not inherited by child processes.

    Args:
        lock: file, made if need be.
        waits: for another process that holds it.

    Raises:
        BlockingIOError: another process holds it, and this one does not wait.
    """
    if sys.platform == "win32":  # no jobs there, and no such locks
        yield
        return
    import fcntl

    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waits:
                raise
            print(f"{lock} is held by another process; waiting for it.", flush=True)
            fcntl.lockf(stream, fcntl.LOCK_EX)
        yield
