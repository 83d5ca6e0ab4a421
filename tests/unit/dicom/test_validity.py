"""What is exported, judged by an independent validator: dciodvfy of dicom3tools."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from dsmt_nnunet.dicom.export import read_export
from dsmt_nnunet.dicom.series import ct_series, read_ct
from dsmt_nnunet.predictions.results import read_case, write_case
from tests.unit.dicom.made_series import write_ct
from tests.unit.dicom.test_results import export, write_prediction

DCIODVFY = shutil.which("dciodvfy")
pytestmark = pytest.mark.skipif(
    DCIODVFY is None, reason="dciodvfy is not installed (Debian: apt-get install dicom3tools)"
)


def errors(path: Path) -> list[str]:
    """Lines in which dciodvfy calls an object wrong."""
    ended = subprocess.run([str(DCIODVFY), str(path)], capture_output=True, text=True, check=False)
    return [line for line in (ended.stdout + ended.stderr).splitlines() if line.startswith("Error")]


def test_what_is_exported_is_valid(tmp_path: Path) -> None:
    write_ct(tmp_path / "ct", heights=(0, 3, 6, 9, 12))
    predicted = write_prediction(tmp_path / "out", read_ct(ct_series(read_export(tmp_path / "ct"))[0]))
    (tmp_path / "page.pdf").write_bytes(b"%PDF-1.4 odd")
    assert export(predicted, "--cards", "--pdf", str(tmp_path / "page.pdf")) == 0
    written = sorted((predicted / "dicom").iterdir())
    assert [path.name for path in written] == [
        f"c1_{name}.dcm" for name in ("card1", "card2", "document", "report", "seg")
    ]
    assert [line for path in written for line in errors(path)] == []


def test_the_report_of_a_scan_without_nodules_is_valid(tmp_path: Path) -> None:
    write_ct(tmp_path / "ct", heights=(0, 3, 6, 9, 12))
    predicted = write_prediction(tmp_path / "out", read_ct(ct_series(read_export(tmp_path / "ct"))[0]))
    write_case(replace(read_case(predicted / "c1.json"), nodules=()), predicted / "c1.json")
    assert export(predicted) == 0
    names = ["c1_report.dcm", "c1_seg.dcm"]  # what is drawn and was not classified
    assert [path.name for path in sorted((predicted / "dicom").iterdir())] == names
    assert [line for name in names for line in errors(predicted / "dicom" / name)] == []


def test_the_validator_finds_what_is_wrong(tmp_path: Path) -> None:
    write_ct(tmp_path / "ct", ImageType=["WHATEVER"])
    assert errors(next((tmp_path / "ct").iterdir()))
