"""What stays of a validation where the next training leaves it out."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from dsmt_nnunet.inference.validation import leave_out_validation
from dsmt_nnunet.predictions.results import CasePrediction, write_case
from tests.unit.small_plans import SCHEMA


def write_answer(folder: Path, weights: str) -> None:
    folder.mkdir(parents=True)
    write_case(CasePrediction("c", SCHEMA, (), {"weights": [weights]}), folder / "c.json")


def test_answers_of_this_network_stay(tmp_path: Path) -> None:
    write_answer(tmp_path / "validation", "now")
    assert leave_out_validation(tmp_path / "validation", "now") == ""
    assert (tmp_path / "validation" / "c.json").is_file()


def test_answers_of_an_earlier_network_go(tmp_path: Path) -> None:
    write_answer(tmp_path / "validation", "then")
    assert "earlier training was removed" in leave_out_validation(tmp_path / "validation", "now")
    assert json.loads((tmp_path / "validation" / "summary.json").read_text())["metric_per_case"] == []
    assert not (tmp_path / "validation" / "c.json").exists()


def test_nnunet_exports_a_model_that_was_not_validated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunetv2.model_sharing import model_export

    model = tmp_path / "Dataset501_A" / "DSMTTrainer__P__3d_fullres"
    (model / "fold_0").mkdir(parents=True)
    for name in ("plans.json", "dataset.json", "dataset_fingerprint.json"):
        (model / name).write_text("{}")
    for name in ("checkpoint_final.pth", "progress.png"):
        (model / "fold_0" / name).touch()
    monkeypatch.setattr(model_export, "nnUNet_results", str(tmp_path))
    monkeypatch.setattr(model_export, "maybe_convert_to_dataset_name", lambda name: name)
    monkeypatch.setattr(model_export, "get_output_folder", lambda *_: str(model))
    leave_out_validation(model / "fold_0" / "validation", "now")
    model_export.export_pretrained_model("Dataset501_A", str(tmp_path / "m.zip"), ("3d_fullres",), folds=(0,))
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        assert any(name.endswith("validation/summary.json") for name in archive.namelist())
