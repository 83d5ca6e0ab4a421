"""Running commands of this package and of nnU-Net one after the other, as if each was typed.

`WarmCommands` runs them in forks of a process that has imported torch and nnU-Net once: each fork is a process of its
own that runs the command's entry point, only the seconds of importing are shared; so are those of the workers that
nnU-Net spawns (`warm_workers.py`). `PlainCommands` starts each from
nothing, as a GPU needs it (a fork cannot use one that its parent has asked about), and systems that do not fork well.
"""

from __future__ import annotations

import gc
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from dsmt_nnunet.cli.warm_workers import seconds_of_workers, share_warm_workers, start_warm_workers
from dsmt_nnunet.environment import resolved

IMPORTED_ONCE = (
    "nnunetv2.run.run_training",
    "nnunetv2.inference.predict_from_raw_data",
    "dsmt_nnunet.trainers.comparisons",
    "dsmt_nnunet.inference.predictor",
    "nnunetv2.training.nnUNetTrainer.primus.primus_trainers",  # who names a trainer has nnU-Net import all of its own
)


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit status, and seconds of processors that it, its children and workers used."""

    status: int
    cpu_seconds: float


class Commands(Protocol):
    """Something that runs commands."""

    def run(self, command: str) -> Ended:
        """Runs a command to its end."""


@contextmanager
def commands_with(variables: Mapping[str, str], device: str) -> Iterator[Commands]:
    """The quickest safe way to run commands in an environment, for commands that use a device."""
    if sys.platform != "linux" or device != "cpu":
        yield PlainCommands(variables)
        return
    warm = WarmCommands(variables)
    try:
        yield warm
    finally:
        warm.close()


class PlainCommands:
    """Starts each command from nothing."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """
        Args:
            variables: the environment.
        """
        self._variables = dict(variables)

    def run(self, command: str) -> Ended:
        """Runs a command to its end."""
        before = os.times().children_user
        status = subprocess.run(resolved(command), env=self._variables, check=False).returncode
        return Ended(status, os.times().children_user - before)


@dataclass(frozen=True)
class _Request:
    """What a fork is to become.

    Attributes:
        words: of the command.
        variables: beside those of the environment.
        output: file for what it prints; None for where this process prints.
        at_most_s: after so many seconds it is ended; 0 for never.
    """

    words: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    output: str | None = None
    at_most_s: int = 0


class WarmCommands:
    """Runs commands in forks of a process that has imported torch and nnU-Net once."""

    def __init__(
        self, variables: Mapping[str, str], folder: Path | None = None, imported: Sequence[str] = IMPORTED_ONCE
    ) -> None:
        """
        Args:
            variables: the environment.
            folder: where commands run; None for here.
            imported: modules that are imported once.
        """
        read, write = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(write), *imported],
            env=dict(variables),
            cwd=folder,
            text=True,
            stdin=subprocess.PIPE,
            pass_fds=[write],
        )
        os.close(write)
        self._answers = os.fdopen(read)

    def run(
        self,
        command: str,
        output: Path | None = None,
        variables: Mapping[str, str] | None = None,
        at_most_s: int = 0,
    ) -> Ended:
        """Runs a command to its end; see `_Request`.

        Raises:
            OSError: the process that makes the forks has died.
        """
        assert self._process.stdin is not None
        sys.stdout.flush()
        request = _Request(
            shlex.split(command), dict(variables or {}), None if output is None else str(output), at_most_s
        )
        with suppress(BrokenPipeError):  # there is no answer then
            print(json.dumps(asdict(request)), file=self._process.stdin, flush=True)
        answer = self._answers.readline()
        if not answer:
            raise OSError(f"The process that runs commands ended with status {self._process.wait()} at: {command}")
        return Ended(**json.loads(answer))

    def close(self) -> None:
        """Ends the process that makes the forks."""
        self._process.communicate()
        self._answers.close()


def serve(answers: int, imported: Sequence[str]) -> None:
    """Answers requests, one a line on standard input, until it ends; a line of JSON each to the file `answers`."""
    for name in imported:
        import_module(name)
    gc.freeze()  # else each fork copies, at its end, all that was imported, to look for garbage: a second and more
    start_warm_workers()
    for line in sys.stdin:
        request, before = _Request(**json.loads(line)), seconds_of_workers()
        child = os.fork()
        if child == 0:
            os.close(answers)
            become(request)
        _, status, used = os.wait4(child, 0)
        ended = Ended(os.waitstatus_to_exitcode(status), used.ru_utime + seconds_of_workers() - before)
        os.write(answers, (json.dumps(asdict(ended)) + "\n").encode())


def become(request: _Request) -> None:
    """Runs the entry point of a command in this process and ends it."""
    os.environ.update(request.variables)
    share_warm_workers()
    _redirect(request.output)
    if request.at_most_s:
        os.setsid()
        signal.alarm(request.at_most_s)
    sys.argv = request.words
    (command,) = (own for own in entry_points(group="console_scripts") if own.name == request.words[0])
    sys.exit(command.load()())


def _redirect(output: str | None) -> None:
    """Nothing is read, and what is printed goes to a file where one is named."""
    streams = [(os.open(os.devnull, os.O_RDONLY), 0)]
    if output is not None:
        written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        streams += [(written, 1), (written, 2)]
    for source, stream in streams:
        os.dup2(source, stream)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2:])
