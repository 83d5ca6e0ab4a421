"""Runs commands in forks of a process that has imported torch and nnU-Net once.

Each fork is a process of its own that runs the command's entry point; only the seconds of importing are shared. One
request a line on standard input: {"words", "variables", "output"}; one exit status a line on standard output.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from importlib.metadata import entry_points

IMPORTED_ONCE = (
    "nnunetv2.run.run_training",
    "nnunetv2.inference.predict_from_raw_data",
    "dsmt_nnunet.trainers.comparisons",
    "dsmt_nnunet.inference.predictor",
)
SECONDS_AT_MOST = 900


def serve() -> None:
    """Answers requests until standard input ends."""
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    commands = {command.name: command for command in entry_points(group="console_scripts")}
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _become_a_command(request["variables"], request["output"])
            sys.argv = request["words"]
            sys.exit(commands[request["words"][0]].load()())
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become_a_command(variables: dict[str, str], output: str) -> None:
    """A session, streams and a time limit of its own."""
    os.setsid()
    signal.alarm(SECONDS_AT_MOST)
    os.environ.update(variables)
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for source, stream in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(source, stream)


if __name__ == "__main__":
    serve()
