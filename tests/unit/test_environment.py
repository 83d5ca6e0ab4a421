from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path

import pytest

from dsmt_nnunet import environment as env
from dsmt_nnunet.cli import env as env_command

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*FOLDERS, env.EXT_TRAINER):
        monkeypatch.delenv(name, raising=False)


def test_unset_folders_lie_below_the_base(tmp_path: Path) -> None:
    variables = env.environment(tmp_path)
    assert {name: variables[name] for name in FOLDERS} == {name: str(tmp_path / name) for name in FOLDERS}
    assert variables[env.EXT_TRAINER] == str(env.plugin_folder())


def test_folders_that_are_set_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_raw", "/elsewhere")
    assert set(env.environment(tmp_path)) == {env.EXT_TRAINER, "nnUNet_preprocessed", "nnUNet_results"}


def test_other_trainer_folders_are_kept_and_ours_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = str(env.plugin_folder())
    monkeypatch.setenv(env.EXT_TRAINER, os.pathsep.join(["/other", plugin, "/third", ""]))
    assert env.environment(tmp_path)[env.EXT_TRAINER].split(os.pathsep) == [plugin, "/other", "/third"]


def test_a_shell_reads_back_folders_with_blanks_and_quotes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    base = tmp_path / "a folder with 'quotes' and $HOME"
    assert env_command.run(argparse.Namespace(base=base, shell="bash")) == 0
    script = capsys.readouterr().out + 'printf "%s" "$nnUNet_raw"'
    read = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={})
    assert read.stdout == str(base / "nnUNet_raw")


def test_applying_sets_the_variables_and_makes_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    env.apply_environment(tmp_path)
    assert os.environ["nnUNet_results"] == str(tmp_path / "nnUNet_results")
    assert all((tmp_path / name).is_dir() for name in FOLDERS)


def test_the_plugin_folder_holds_the_trainers_and_nothing_else() -> None:
    assert sorted(path.name for path in env.plugin_folder().glob("*.py")) == ["__init__.py", "dsmt_trainers.py"]
    assert [path.name for path in env.plugin_folder().iterdir() if path.is_dir()] in ([], ["__pycache__"])
