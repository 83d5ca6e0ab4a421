"""The folders of platforms, with a model that has learnt nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

import dsmt_nnunet as dsmt
from dsmt_nnunet.cli.main import main
from dsmt_nnunet.inference.scan_predictor import ScanPredictor
from dsmt_nnunet.predictions.results import read_folder
from tests.unit.dicom.made_series import write_ct
from tests.unit.inference.small_predictor import bell

NAME = "0d8a7f0e-1b6f"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """It takes for a nodule what is bright: searching a scan with the network is not what is tested here."""
    monkeypatch.setattr(ScanPredictor, "_segment", lambda self, data, region=None: bell(data))
    return dsmt.example_model(tmp_path / "model")


def test_an_image_of_grand_challenge_is_answered(model: Path, tmp_path: Path) -> None:
    image, _ = dsmt.example_scan()
    folder = tmp_path / "input" / "images" / "ct"
    folder.mkdir(parents=True)
    sitk.WriteImage(image, str(folder / f"{NAME}.mha"))
    out = tmp_path / "output"
    assert main(["container", "--input", str(tmp_path / "input"), "--output", str(out), "--model", str(model)]) == 0
    mask = sitk.ReadImage(str(out / "images" / "nodule-segmentation" / f"{NAME}.mha"))
    assert mask.GetSize() == image.GetSize()
    assert mask.GetOrigin() == pytest.approx(image.GetOrigin())
    (case,) = json.loads((out / "nodule-classification.json").read_text())
    assert case["case_id"] == NAME
    assert isinstance(case["nodules"], list)


def test_two_images_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, _ = dsmt.example_scan()
    for interface in ("ct", "other-ct"):
        (tmp_path / "images" / interface).mkdir(parents=True)
        sitk.WriteImage(image, str(tmp_path / "images" / interface / f"{NAME}.mha"))
    assert main(["container", "--input", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert f"['{NAME}'] in several folders" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_series_of_mhub_is_answered_in_dicom(model: Path, tmp_path: Path) -> None:
    image, _ = dsmt.example_scan()
    hu = np.rint(sitk.GetArrayFromImage(image)).astype(np.int16)
    write_ct(tmp_path / "in" / "a", heights=[1.5 * index for index in range(len(hu))], hu=hu)
    out = tmp_path / "out"
    assert main(["container", "--input", str(tmp_path / "in"), "--output", str(out), "--model", str(model)]) == 0
    (case,) = read_folder(out)
    assert case.nodules
    assert sorted(pydicom.dcmread(path).Modality for path in out.glob("dicom/*.dcm")) == ["SEG", "SR"]


def test_a_series_without_a_nodule_has_a_report(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScanPredictor, "_segment", lambda self, data, region=None: 0 * bell(data))
    image, _ = dsmt.example_scan()
    hu = np.rint(sitk.GetArrayFromImage(image)).astype(np.int16)
    write_ct(tmp_path / "in", heights=[1.5 * index for index in range(len(hu))], hu=hu)
    out = tmp_path / "out"
    assert main(["container", "--input", str(tmp_path / "in"), "--output", str(out), "--model", str(model)]) == 0
    assert not read_folder(out)[0].nodules
    assert [pydicom.dcmread(path).Modality for path in out.glob("dicom/*.dcm")] == ["SR"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--input", "{folder}"], "name with --output"),
        (["--input", "{folder}/nowhere", "--output", "{folder}"], "There is no input folder"),
        (["--input", "{folder}", "--output", "{folder}/out"], "holds no image"),
    ],
)
def test_what_is_missing_is_said(
    words: list[str], reason: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in" / "images" / "ct").mkdir(parents=True)
    filled = [word.format(folder=tmp_path / "in") for word in words]
    assert main(["container", *filled, "--model", str(model)]) == 2
    assert reason in capsys.readouterr().err
