"""Model folders and zip files: whole, damaged, foreign."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dsmt_nnunet as dsmt
from dsmt_nnunet.api.examples import example_scan
from dsmt_nnunet.inference.weights import weights_digest
from dsmt_nnunet.predictions.operating_point import OperatingPoint, TaskOperatingPoint

IMAGE, CENTRE = example_scan()
CHECKPOINT = Path("fold_0") / "checkpoint_final.pth"


def test_an_exported_zip_is_loaded_with_its_operating_point(folder: Path, tmp_path: Path) -> None:
    inside = tmp_path / "export" / "Dataset000_Example" / "DSMTTrainer__nnUNetPlans__3d_fullres"
    shutil.copytree(folder, inside)
    weights = weights_digest(torch.load(inside / CHECKPOINT, weights_only=True)["network_weights"])
    OperatingPoint({"invasiveness": TaskOperatingPoint(1.5, 0.001)}, {}, (weights,)).write(inside)
    archive = shutil.make_archive(str(tmp_path / "model"), "zip", tmp_path / "export")
    prediction = dsmt.load_model(archive, device="cpu").predict(IMAGE, CENTRE)
    assert prediction.nodules[0].tasks["invasiveness"].threshold == 0.001


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no plans\.json"):
        dsmt.load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"folds \['4'\]; there are \['0'\]"):
        dsmt.load_model(folder, folds=[4])
    with pytest.raises(FileNotFoundError, match="Was the training finished"):
        dsmt.load_model(folder, checkpoint="checkpoint_best.pth")


@pytest.mark.parametrize("keep", [0, 0.5, 1])
def test_a_damaged_checkpoint_is_refused(folder: Path, tmp_path: Path, keep: float) -> None:
    damaged = tmp_path / "model"
    shutil.copytree(folder, damaged)
    content = bytearray((damaged / CHECKPOINT).read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 41):
        content[place] ^= 0xFF
    (damaged / CHECKPOINT).write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match=r"checkpoint_final\.pth is damaged"):
        dsmt.load_model(damaged, device="cpu")


def test_plans_that_are_cut_off_are_named(folder: Path, tmp_path: Path) -> None:
    cut = shutil.copytree(folder, tmp_path / "model")
    (cut / "plans.json").write_text((cut / "plans.json").read_text()[:-100])
    with pytest.raises(ValueError, match=r"plans\.json is cut off or damaged"):
        dsmt.load_model(cut, device="cpu")


def test_a_checkpoint_of_nan_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    shutil.copytree(folder, broken)
    content = torch.load(broken / CHECKPOINT, weights_only=False)
    next(iter(content["network_weights"].values())).view(-1)[0] = torch.nan
    torch.save(content, broken / CHECKPOINT)
    with pytest.raises(ValueError, match=r"checkpoint_final\.pth: \d+ of its tensors hold NaN"):
        dsmt.load_model(broken, device="cpu")


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_checkpoint_that_runs_code_is_refused(folder: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "model"
    shutil.copytree(folder, foreign)
    content = torch.load(foreign / CHECKPOINT, weights_only=False)
    torch.save({**content, "logging": Touch(tmp_path / "ran")}, foreign / CHECKPOINT, pickle_module=pickle)
    with pytest.raises(ValueError, match="trust=True"):
        dsmt.load_model(foreign, device="cpu")
    assert not (tmp_path / "ran").exists()
    dsmt.load_model(foreign, device="cpu", trust=True)
    assert (tmp_path / "ran").exists()


def test_the_log_of_a_training_is_no_code(folder: Path, tmp_path: Path) -> None:
    trained = tmp_path / "model"
    shutil.copytree(folder, trained)
    content = torch.load(trained / CHECKPOINT, weights_only=False)
    content["logging"] = {"losses": [np.float32(0.5), np.float64(0.25)]}
    content["init_args"]["device"] = torch.device("cpu")
    torch.save(content, trained / CHECKPOINT)
    assert len(dsmt.load_model(trained, device="cpu").tasks) == 2


def test_plans_that_import_from_elsewhere_are_refused(folder: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "model"
    shutil.copytree(folder, foreign)
    plans = json.loads((foreign / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["conv_op"] = "evil.Net"
    (foreign / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(ValueError, match=r"evil\.Net"):
        dsmt.load_model(foreign, device="cpu")


def swap_classes(folder: Path) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    content["classification"]["tasks"]["invasiveness"]["classes"].reverse()
    (folder / "dataset.json").write_text(json.dumps(content))


def change_checkpoint(change: Any) -> Any:
    def changed(folder: Path) -> None:
        content = torch.load(folder / CHECKPOINT, weights_only=False)
        torch.save(change(content), folder / CHECKPOINT)

    return changed


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (swap_classes, "different tasks or classes"),
        (change_checkpoint(lambda content: [1]), "no checkpoint of nnU-Net"),
        (change_checkpoint(lambda content: {**content, "network_weights": None}), "no checkpoint of nnU-Net"),
        (change_checkpoint(lambda content: {"network_weights": {}}), "it lacks"),
        (change_checkpoint(lambda content: {**content, "network_weights": {}}), "does not fit its plans"),
    ],
)
def test_a_model_whose_files_do_not_fit_each_other_is_refused(
    folder: Path, tmp_path: Path, change: Any, match: str
) -> None:
    changed = tmp_path / "model"
    shutil.copytree(folder, changed)
    change(changed)
    with pytest.raises(ValueError, match=match):
        dsmt.load_model(changed, device="cpu")


def test_a_fold_counts_once(folder: Path) -> None:
    with pytest.raises(ValueError, match="counts once"):
        dsmt.load_model(folder, folds=[0, 0], device="cpu")
