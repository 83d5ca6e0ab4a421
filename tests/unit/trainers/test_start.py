"""`-pretrained_weights` of nnU-Net's training command, through nnU-Net's own function."""

from __future__ import annotations

import inspect
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.run import run_training
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from dsmt_nnunet import shipped_models
from dsmt_nnunet.inference import nnunet_hook
from dsmt_nnunet.inference.model_zip import export_model
from dsmt_nnunet.plan import PLAN_KEY, DSMTPlan
from dsmt_nnunet.trainers.dsmt_trainer import DSMTTrainer
from dsmt_nnunet.trainers.planned_trainer import START
from dsmt_nnunet.training.checkpoints import TRAINING_CASES, cases_digest
from tests.unit.small_plans import CONFIGURATION, DATASET_JSON, small_plan, stock_plans

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _folders(trainer_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # There are no preprocessed cases from which nnU-Net could tell their format.
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda _: None)
    monkeypatch.setattr(run_training, "maybe_load_checkpoint", inspect.unwrap(run_training.maybe_load_checkpoint))
    nnunet_hook.install()


def dsmt_trainer(fold: int = 0, **training: Any) -> DSMTTrainer:
    plans = stock_plans()
    plans[PLAN_KEY] = small_plan(plans, **training).to_block()
    return DSMTTrainer(plans, CONFIGURATION, fold, deepcopy(DATASET_JSON), CPU)


def saved(trainer: nnUNetTrainer, path: Path) -> Path:
    """What a training leaves behind, with its log."""
    trainer.initialize()
    trainer.logger.log("train_losses", 0.5, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    trainer.save_checkpoint(str(path))
    return path


def stock_checkpoint(folder: Path) -> Path:
    plans = {**stock_plans(), "continue_training": False}
    return saved(nnUNetTrainer(plans, CONFIGURATION, 0, deepcopy(DATASET_JSON), CPU), folder / "stock.pth")


def test_nnunets_function_is_still_the_one_this_was_written_against() -> None:
    parameters = inspect.signature(run_training.maybe_load_checkpoint).parameters
    assert list(parameters) == ["nnunet_trainer", "continue_training", "validation_only", "pretrained_weights_file"]


def log_of(trainer: nnUNetTrainer) -> str:
    return Path(trainer.log_file).read_text()


def test_a_dsmt_training_starts_from_a_stock_checkpoint_and_says_so(tmp_path: Path) -> None:
    checkpoint = stock_checkpoint(tmp_path)
    own = dsmt_trainer()
    run_training.maybe_load_checkpoint(own, False, False, str(checkpoint))
    given = torch.load(checkpoint, weights_only=False)["network_weights"]
    name = "decoder.stages.0.convs.0.conv.weight"
    torch.testing.assert_close(own.network.state_dict()[name], given[name])
    assert "Start from stock.pth of nnUNetTrainer (SHA-256" in log_of(own)
    assert "Left at their start: segmentation layers (of other labels)" in log_of(own)
    of_saved_plans = DSMTPlan.from_plans(own.plans_manager.plans)
    assert of_saved_plans.decisions[START].startswith("from stock.pth of nnUNetTrainer")
    assert str(tmp_path) not in of_saved_plans.decisions[START]


def test_what_it_started_from_is_still_known_when_the_training_goes_on(tmp_path: Path) -> None:
    first = dsmt_trainer()
    run_training.maybe_load_checkpoint(first, False, False, str(stock_checkpoint(tmp_path)))
    first.save_checkpoint(str(Path(first.output_folder) / "checkpoint_latest.pth"))
    second = dsmt_trainer()
    run_training.maybe_load_checkpoint(second, True, False)
    assert second.dsmt_plan.decisions[START] == first.dsmt_plan.decisions[START]
    assert START not in dsmt_trainer().dsmt_plan.decisions


@pytest.mark.parametrize(
    ("fold", "learnt_from", "doubted"), [(0, "a b", False), (0, "a c", True), (1, "a b", True), ("all", "a b c", True)]
)
def test_weights_that_may_know_the_validation_cases_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fold: Any, learnt_from: str, doubted: bool
) -> None:
    source = dsmt_trainer(fold)
    source.my_init_kwargs[TRAINING_CASES] = cases_digest(learnt_from.split())
    checkpoint = saved(source, tmp_path / "other.pth")
    own = dsmt_trainer()
    monkeypatch.setattr(own, "do_split", lambda: (["b", "a"], ["c"]))
    run_training.maybe_load_checkpoint(own, False, False, str(checkpoint))
    told = f"trained on {own.plans_manager.dataset_name}, fold {fold}, and may know validation cases of fold 0"
    assert (told in log_of(own)) == (told in own.dsmt_plan.decisions[START]) == doubted


def test_nothing_goes_on_with_other_cases_or_plans_than_it_began_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = dsmt_trainer()
    own.my_init_kwargs[TRAINING_CASES] = cases_digest(["a", "b"])
    path = str(saved(own, tmp_path / "checkpoint_latest.pth"))
    monkeypatch.setattr(own, "do_split", lambda: (["b", "a"], ["c"]))
    own.load_checkpoint(path)
    monkeypatch.setattr(own, "do_split", lambda: (["a", "c"], ["b"]))
    with pytest.raises(ValueError, match="learnt from other cases than fold 0 trains on now"):
        own.load_checkpoint(path)
    monkeypatch.setattr(own, "do_split", lambda: (["b", "a"], ["c"]))
    own.plans_manager.plans["foreground_intensity_properties_per_channel"]["0"]["mean"] += 1
    with pytest.raises(ValueError, match=r"other plans than nnUNetPlans\.json holds: they differ in foreground"):
        own.load_checkpoint(path)


@pytest.mark.parametrize("form", ["checkpoint", "folder", "zip", "name"])
def test_it_starts_from_a_dsmt_model_in_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    folder = tmp_path / "Dataset902_Other" / "DSMTTrainer__P__3d_fullres"
    source = dsmt_trainer()
    checkpoint = saved(source, folder / "fold_0" / "checkpoint_final.pth")
    save_json(source.plans_manager.plans, str(folder / "plans.json"), sort_keys=False)
    save_json(source.dataset_json, str(folder / "dataset.json"), sort_keys=False)
    monkeypatch.setattr(shipped_models, "FOLDER", tmp_path)
    archive = tmp_path / "other-xs.zip"
    export_model(folder, archive)
    place = {"checkpoint": checkpoint, "folder": folder, "zip": archive, "name": "other-xs"}[form]
    own = dsmt_trainer()
    run_training.maybe_load_checkpoint(own, False, False, str(place))
    taken, given = own.network.state_dict(), source.network.state_dict()
    for name in given:
        if not name.startswith("heads.") or ".deep." in name:
            torch.testing.assert_close(taken[name], given[name])
    assert "head of invasiveness (5 of 5 tensors)" in log_of(own)
    assert "Left at their start: nothing." in log_of(own)


def test_weights_that_are_not_there_or_not_plain_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped_models, "FOLDER", tmp_path)
    own = dsmt_trainer()
    with pytest.raises(FileNotFoundError, match="No model comes with this version"):
        own.start_from("lidc-xs")
    torch.save({"network_weights": {"encoder.x": torch.zeros(1)}, "made_by": Path("x")}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"could run code.*keep its weights alone"):
        own.start_from(str(tmp_path / "odd.pth"))
    torch.save({"network_weights": {"encoder.x": torch.tensor(torch.nan)}}, tmp_path / "nan.pth")
    with pytest.raises(ValueError, match=r"nan.pth: 1 of its tensors hold NaN"):
        own.start_from(str(tmp_path / "nan.pth"))
    torch.save({"state_dict": {}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="holds no weights"):
        own.start_from(str(tmp_path / "other.pth"))


def test_continuing_validation_and_stock_trainers_are_nnunets_own_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(run_training, "maybe_load_checkpoint", lambda *given: seen.append(given))
    nnunet_hook.install()
    own = dsmt_trainer()
    monkeypatch.setattr(own, "start_from", lambda _: seen.append(("start",)))
    stock = object()
    calls = [(own, True, False, None), (own, False, True, "w"), (own, True, False, "w"), (stock, False, False, "w")]
    for call in calls:
        run_training.maybe_load_checkpoint(*call)
    assert seen == calls
