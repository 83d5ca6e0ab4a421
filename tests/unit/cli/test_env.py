"""The lines that set nnU-Net's variables, in each shell's own words."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.environment import FOLDERS


def lines(base: Path, shell: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["env", "--base", str(base), "--shell", shell]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose name needs quotes."""
    for name in FOLDERS:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "it's $HOME"
    folder.mkdir()
    return folder


def test_bash_reads_back_what_was_said(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = "\n".join([*lines(base, "bash", capsys), 'printf %s "$nnUNet_raw"'])
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == str(base / "nnUNet_raw")


def test_powershell_and_cmd_quote_in_their_way(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doubled = str(base / "nnUNet_raw").replace("'", "''")
    assert f"$env:nnUNet_raw = '{doubled}'" in lines(base, "powershell", capsys)
    assert f'set "nnUNet_raw={base / "nnUNet_raw"}"' in lines(base, "cmd", capsys)
