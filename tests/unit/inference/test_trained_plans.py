from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dsmt_nnunet.api.examples import example_model
from dsmt_nnunet.inference.model_files import load_predictor
from dsmt_nnunet.inference.model_zip import export_model, install_model
from dsmt_nnunet.inference.trained_plans import check_trained_by

Plans = dict[str, Any]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model whose checkpoint keeps the plans of its training, as nnU-Net's trainer writes them."""
    folder = example_model(tmp_path / "Dataset501_A" / "DSMTTrainer__P__3d_fullres")
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    content["init_args"]["plans"] = json.loads((folder / "plans.json").read_text())
    torch.save(content, path)
    return folder


def change(folder: Path, name: str, edit: Callable[[Plans], object]) -> None:
    content = json.loads((folder / name).read_text())
    edit(content)
    (folder / name).write_text(json.dumps(content))


def with_classes_swapped(folder: Path) -> None:
    """As planning anew with classes in another order leaves the folder: plans.json and dataset.json agree."""

    def swap(classification: Plans) -> None:
        classification["tasks"][classification["primary_task"]]["classes"].reverse()

    change(folder, "plans.json", lambda plans: swap(plans["dsmt"]["classification"]))
    change(folder, "dataset.json", lambda dataset: swap(dataset["classification"]))


def test_classes_in_another_order_than_those_of_the_training_are_refused(model: Path) -> None:
    load_predictor(model, device="cpu")
    with_classes_swapped(model)
    with pytest.raises(ValueError, match=r"trained with other plans .* they differ in dsmt\.classification"):
        load_predictor(model, device="cpu")


def test_plans_stay_with_a_model_that_is_handed_on(model: Path, tmp_path: Path) -> None:
    export_model(model, tmp_path / "model.zip")
    (installed,) = install_model(tmp_path / "model.zip", tmp_path / "results")
    load_predictor(installed, device="cpu")
    with_classes_swapped(installed)
    with pytest.raises(ValueError, match="trained with other plans"):
        load_predictor(installed, device="cpu")


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda plans: plans["foreground_intensity_properties_per_channel"]["0"].update(mean=1.0), "foreground_int"),
        (lambda plans: plans["configurations"]["3d_fullres"].update(spacing=[2.0, 2.0, 2.0]), "spacing"),
        (lambda plans: plans["configurations"]["3d_fullres"].update(batch_size=1), None),
        (lambda plans: plans["dsmt"].update(decisions={}, mirror_scans=True), None),
        (lambda plans: plans["dsmt"]["heads"].pop("dropout"), None),
    ],
)
def test_what_answers_rest_on_may_not_change_and_the_rest_may(
    model: Path, edit: Callable[[Plans], object], named: str | None
) -> None:
    change(model, "plans.json", edit)
    if named is None:
        load_predictor(model, device="cpu")
        return
    with pytest.raises(ValueError, match=f"they differ in {named}"):
        load_predictor(model, device="cpu")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"trainer_name": "nnUNetTrainer"}, "was trained by nnUNetTrainer, not by DSMTTrainer"),
        ({"network_weights": {"a": torch.tensor([1.0, math.nan])}}, "1 of its tensors hold NaN"),
        ({"optimizer_state": None}, "it lacks optimizer_state"),
    ],
)
def test_a_training_goes_on_from_its_own_checkpoints(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    content = dict.fromkeys(("optimizer_state", "init_args", "current_epoch", "logging"), 1)
    whole = {**content, "trainer_name": "DSMTTrainer", "network_weights": {"a": torch.ones(2)}}
    path = tmp_path / "checkpoint_latest.pth"
    torch.save(whole, path)
    check_trained_by(path, "DSMTTrainer")
    torch.save({key: value for key, value in {**whole, **change}.items() if value is not None}, path)
    with pytest.raises(ValueError, match=told):
        check_trained_by(path, "DSMTTrainer")


def second_fold(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Another fold, of other weights, in which `change` makes something else."""
    content = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=False)
    next(iter(content["network_weights"].values())).mul_(1.5)
    change(content)
    (folder / "fold_1").mkdir()
    torch.save(content, folder / "fold_1" / "checkpoint_final.pth")


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("trainer_name", "DSMTTrainerJointOnly", "trainers"),
        ("inference_allowed_mirroring_axes", (0,), "axes of mirroring"),
    ],
)
def test_folds_of_two_trainings_are_no_model(model: Path, key: str, value: object, what: str) -> None:
    second_fold(model, lambda content: content.__setitem__(key, value))
    with pytest.raises(ValueError, match=rf"fold_0.*fold_1.* have different {what}"):
        load_predictor(model, device="cpu")


def test_a_copy_of_a_fold_does_not_count_as_another(model: Path) -> None:
    second_fold(model, lambda content: None)
    assert len(load_predictor(model, device="cpu").networks) == 2
    (model / "fold_2").mkdir()
    shutil.copy(model / "fold_1" / "checkpoint_final.pth", model / "fold_2")
    with pytest.raises(ValueError, match=r"fold_2.* holds the same weights as .*fold_1"):
        load_predictor(model, device="cpu")
