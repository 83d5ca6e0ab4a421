"""Commands of a demo: the same, whether forked or started from nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsmt_nnunet import __version__
from dsmt_nnunet.cli import commands
from dsmt_nnunet.cli.commands import PlainCommands, WarmCommands, commands_with

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands are forked on Linux alone")


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[WarmCommands]:
    """With nothing imported before, which is all that takes time."""
    made = WarmCommands(os.environ, tmp_path, imported=())
    yield made
    made.close()


def test_a_forked_command_prints_and_ends_as_when_it_is_typed(
    capfd: pytest.CaptureFixture[str], warm: WarmCommands, tmp_path: Path
) -> None:
    output = tmp_path / "printed.txt"
    assert warm.run("dsmt --version", output).status == 0
    assert output.read_text() == f"dsmt-nnunet {__version__}\n"
    assert warm.run("dsmt model path 'no such model'", output).status == 2
    assert "'no such model' is no file" in output.read_text()
    assert PlainCommands(os.environ).run("dsmt model path 'no such model'").status == 2
    assert "'no such model' is no file" in capfd.readouterr().err


def test_it_runs_where_and_in_the_environment_it_is_told_and_its_work_is_counted(
    warm: WarmCommands, tmp_path: Path
) -> None:
    output = tmp_path / "printed.txt"
    ended = warm.run("dsmt env", output, {"nnUNet_raw": "elsewhere"})
    printed = output.read_text()
    assert f"nnUNet_results={tmp_path}/nnUNet_results" in printed
    assert "nnUNet_raw=" not in printed
    assert ended.cpu_seconds > 0


def test_the_end_of_the_process_that_forks_is_told(warm: WarmCommands) -> None:
    warm._process.kill()
    with pytest.raises(OSError, match="ended with status -9 at: dsmt env"):
        warm.run("dsmt env")


@pytest.mark.parametrize(("platform", "device"), [("linux", "cuda"), ("darwin", "cpu"), ("win32", "cpu")])
def test_nothing_is_forked_beside_a_gpu_or_where_forks_are_not_safe(
    platform: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands.sys, "platform", platform)
    with commands_with({}, device) as chosen:
        assert isinstance(chosen, PlainCommands)


TELLER = """
import json, multiprocessing, os

def of_worker():
    import slow

    return os.getppid(), os.environ.get("DSMT_TEST_VALUE"), os.getcwd()

def busy():
    while os.times().user < 1:
        pass

def main():
    import slow

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        parent, heard, folder = pool.apply(of_worker)
        pool.apply(busy)
        pool.close()
        pool.join()
    print(json.dumps([parent, os.getpid(), heard, folder]))
"""


def test_spawned_workers_are_forks_of_one_process_and_know_the_environment_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "teller.py").write_text(TELLER)
    (tmp_path / "slow.py").write_text(f"open({str(tmp_path / 'imports')!r}, 'a').write('imported ')")
    entry_points = tmp_path / "teller-0.dist-info" / "entry_points.txt"
    entry_points.parent.mkdir()
    entry_points.write_text("[console_scripts]\ntell-of-workers = teller:main\n")
    output, told = tmp_path / "told.txt", []
    warm = WarmCommands({**os.environ, "PYTHONPATH": str(tmp_path)}, tmp_path, imported=("slow",))
    for value in ("one", "two"):
        ended = warm.run("tell-of-workers", output, {"DSMT_TEST_VALUE": value}, at_most_s=60)
        assert ended.status == 0, output.read_text()
        parent, command, heard, folder = json.loads(output.read_text())
        assert (heard, folder) == (value, str(tmp_path))
        assert ended.cpu_seconds >= 1, "the work of workers counts"
        assert parent != command, "a fork of the command would be unsafe beside its threads"
        told.append(parent)
    warm.close()
    assert told[0] == told[1]
    assert (tmp_path / "imports").read_text() == "imported ", "one import for commands and workers together"
