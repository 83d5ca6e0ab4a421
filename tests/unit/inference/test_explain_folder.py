from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk
import torch

import dsmt_nnunet as dsmt
from dsmt_nnunet.cli.main import main
from dsmt_nnunet.inference.explain_folder import explain_folder
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.predictions.explanation import Explanation, explanation_path
from dsmt_nnunet.predictions.results import read_case
from tests.unit.inference.small_predictor import predictor, run
from tests.unit.small_plans import SCHEMA


def test_another_image_or_another_model_than_that_of_the_prediction_is_refused(scans: Any, tmp_path: Path) -> None:
    source, world = scans
    (source / "b_0000.nii.gz").unlink()
    NoduleTable((Nodule("a", "1", "p", world),)).write(source / "nodules.csv", SCHEMA)
    own, output = predictor(), tmp_path / "out"
    run(own, source, output)
    assert explain_folder(own, source, output) == 1
    assert Explanation.read(explanation_path(output, "a", "1")).is_of(read_case(output / "a.json"))
    with pytest.raises(ValueError, match="predicted by another model"):
        explain_folder(predictor(), source, output)
    path = str(source / "a_0000.nii.gz")
    sitk.WriteImage(sitk.ReadImage(path) + 5, path)
    with pytest.raises(ValueError, match="not the image that was predicted"):
        explain_folder(own, source, output)


class Touch:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_model_that_would_run_code_is_explained_on_trust_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path))
        monkeypatch.setattr(f"nnunetv2.paths.nnUNet_{name}", str(tmp_path))
    monkeypatch.setattr("nnunetv2.utilities.file_path_utilities.nnUNet_results", str(tmp_path))
    model = tmp_path / "Dataset901_Tiny" / "DSMTTrainer__nnUNetPlans__3d_fullres"
    shutil.copytree(dsmt.example_model(tmp_path / "example"), model)
    path = next(model.glob("fold_*/checkpoint_final.pth"))
    content = torch.load(path, weights_only=False)
    torch.save({**content, "logging": Touch(tmp_path / "ran")}, path)
    command = f"explain -i {tmp_path} -o {tmp_path} -d Dataset901_Tiny -device cpu"
    assert main(command.split()) == 2
    assert "could run code" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    assert main([*command.split(), "--trust"]) == 2  # there is nothing to explain
    assert "holds no DSMT prediction" in capsys.readouterr().err
    assert (tmp_path / "ran").exists()
