from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dsmt_nnunet.dataloading.sampling import NO_NODULE, SampledNodule
from dsmt_nnunet.plan import PLAN_KEY, DSMTPlan
from dsmt_nnunet.tasks import UNKNOWN_LABEL
from dsmt_nnunet.trainers.budgets import DSMTTrainer_5epochs
from dsmt_nnunet.trainers.dsmt_trainer import DSMTTrainer
from dsmt_nnunet.training.losses import MultiTaskLoss
from dsmt_nnunet.training.wide_part import NodulePatches, WidePart
from tests.unit.small_plans import CONFIGURATION, DATASET_JSON, SCHEMA, small_plan, stock_plans

CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("trainer_folders")


def plans(**training: Any) -> dict[str, Any]:
    made = stock_plans()
    made[PLAN_KEY] = small_plan(made, **{"joint_epochs": 4, "finetune_epochs": 2, **training}).to_block()
    return made


def trainer(initialise: bool = True, monkeypatch: pytest.MonkeyPatch | None = None, **training: Any) -> DSMTTrainer:
    own = DSMTTrainer(plans(**training), CONFIGURATION, 0, deepcopy(DATASET_JSON), CPU)
    if initialise:
        assert monkeypatch is not None
        # There are no preprocessed cases from which nnU-Net could tell their format.
        monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.infer_dataset_class", lambda _: None)
        own.initialize()
        weights = {task.name: [1.0] * len(task.classes) for task in SCHEMA.tasks}
        own.classification_loss = MultiTaskLoss(SCHEMA, {}, weights)
        own.wide_part = own.validation_wide_part = wide_part(own)
    return own


NODULES = (
    SampledNodule("a", (8.0, 8.0, 8.0), (0, 1), ((1.0, 0.0, 0.0), (0.0, 1.0)), 0),
    SampledNodule("b", (8.0, 8.0, 8.0), (UNKNOWN_LABEL, 0), (None, (1.0, 0.0)), 1),
    SampledNodule("c", (8.0, 8.0, 8.0), (UNKNOWN_LABEL, UNKNOWN_LABEL), (None, None), 2),
)


def wide_part(own: DSMTTrainer) -> WidePart:
    """What the trainer makes of its cases, without any."""
    patches = NodulePatches(None, own._context_store(), own.dsmt_plan, (16, 16, 16), CPU)
    return WidePart(own._bare_network(), own.dsmt_plan, NODULES, patches)


def batch() -> dict[str, Any]:
    return {
        "data": torch.randn(2, 1, 16, 16, 16),
        "target": [torch.randint(0, 2, (2, 1, n, n, n)).float() for n in (16, 8)],
        "context": torch.randn(2, 1, 16, 16, 16),
        "labels": torch.tensor([[0, 1], [UNKNOWN_LABEL, 0]]),
        "nodules": np.array([0, 1]),
        "keys": ["a", "b"],
    }


def test_a_step_waits_for_no_copy_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are asked for without blocking, and of pinned memory: of other memory they block all the same."""
    own, cuda, given = trainer(monkeypatch=monkeypatch), torch.device("cuda"), batch()
    pinned = [given["data"], given["context"], *given["target"]]  # nnU-Net's loader pins what it hands on
    copied: list[tuple[torch.Tensor, bool]] = []
    plain = torch.Tensor.to

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor)
        return tensor

    def to(tensor: torch.Tensor, *where: Any, **how: Any) -> torch.Tensor:
        if where != (cuda,):
            return plain(tensor, *where, **how)
        copied.append((tensor, how.get("non_blocking", False)))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", to)
    own.device = cuda
    own._forward(given)
    assert len(copied) == len(given["target"]) + 2 + 2 * len(SCHEMA.tasks)
    assert all(non_blocking for _, non_blocking in copied)
    assert all(any(tensor is own for own in pinned) for tensor, _ in copied)


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_batches_for_a_gpu_are_pinned(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    asked: dict[str, Any] = {}

    def augmenter(**options: Any) -> Iterator[None]:
        asked.update(options)
        return iter([None])

    monkeypatch.setattr("dsmt_nnunet.trainers.data_trainer.WatchedAugmenter", augmenter)
    monkeypatch.setattr("dsmt_nnunet.trainers.data_trainer.get_allowed_n_proc_DA", lambda: 1)
    own: Any = trainer(initialise=False)
    own.device = torch.device(kind)
    own._in_background(None, 1)
    assert asked["pin_memory"] is (kind == "cuda")


def test_stock_plans_get_a_block_that_is_saved_with_the_model() -> None:
    own = stock_plans()
    made = DSMTTrainer(own, CONFIGURATION, 0, deepcopy(DATASET_JSON), CPU)
    assert DSMTPlan.from_plans(made.plans_manager.plans) == made.dsmt_plan
    assert made.num_epochs == 250


def test_a_budget_overrides_the_plans_and_is_in_the_saved_block() -> None:
    made = DSMTTrainer_5epochs(plans(), CONFIGURATION, 0, deepcopy(DATASET_JSON), CPU)
    assert made.num_epochs == 5
    assert DSMTPlan.from_plans(made.plans_manager.plans).training.epochs == 5


def test_plans_made_for_other_tasks_are_refused() -> None:
    dataset_json = deepcopy(DATASET_JSON)
    dataset_json["classification"]["primary_task"] = "texture"
    with pytest.raises(ValueError, match="Plan again"):
        DSMTTrainer(plans(), CONFIGURATION, 0, dataset_json, CPU)


@pytest.mark.parametrize(
    "labels", [{"background": 0, "whole": [1, 2], "core": 2}, {"background": 0, "nodule": 1, "ignore": 2}]
)
def test_regions_and_ignore_labels_are_refused(labels: dict[str, Any]) -> None:
    dataset_json = {**deepcopy(DATASET_JSON), "labels": labels, "regions_class_order": [1, 2]}
    with pytest.raises(ValueError, match="no regions and no ignore label"):
        DSMTTrainer(plans(), CONFIGURATION, 0, dataset_json, CPU)


def begin(own: DSMTTrainer, epoch: int) -> None:
    own.current_epoch = epoch
    own.network.train()
    own.on_train_epoch_start()


def test_a_joint_step_moves_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    own = trainer(monkeypatch=monkeypatch)
    begin(own, 0)
    before = deepcopy(own.network.state_dict())
    result = own.train_step(batch())
    assert np.isfinite(result["loss"])
    assert result["task_losses"].shape == (2,)
    after = own.network.state_dict()
    for part in ("encoder", "decoder", "pooling", "context_encoder", "heads.0", "heads.1"):
        names = [name for name in before if name.startswith(part)]
        assert any(not torch.equal(before[name], after[name]) for name in names), part


def test_fine_tuning_changes_the_primary_head_alone_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    own = trainer(monkeypatch=monkeypatch)
    begin(own, 0)
    own.train_step(batch())
    before = deepcopy(own.network.state_dict())
    begin(own, 4)
    for _ in range(2):
        own.train_step(batch())
    own.network.eval()
    with torch.no_grad():
        own.validation_step(batch())
    changed = {name for name, value in own.network.state_dict().items() if not torch.equal(before[name], value)}
    assert changed
    assert all(name.startswith(f"heads.{SCHEMA.primary_index}.") for name in changed)


@pytest.mark.parametrize(("share", "iterations"), [(0.0, 1), (0.5, 7)])
def test_where_the_deep_part_has_no_share_fine_tuning_is_over_at_once(
    share: float, iterations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = trainer(monkeypatch=monkeypatch)
    own.num_iterations_per_epoch = 7
    own._bare_network().task_heads[SCHEMA.primary_index].share.fill_(share)
    begin(own, 0)
    assert own.num_iterations_per_epoch == 7
    begin(own, 4)
    assert own.num_iterations_per_epoch == iterations


def test_a_batch_without_any_known_label_is_a_step_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    own = trainer(monkeypatch=monkeypatch)
    for epoch in (0, 4):
        begin(own, epoch)
        unknown = {**batch(), "nodules": np.array([2, NO_NODULE])}
        result = own.train_step(unknown)
        assert np.isfinite(result["loss"])
        assert np.isnan(result["task_losses"]).all()
    assert all(torch.isfinite(parameter).all() for parameter in own.network.parameters())


def test_gradients_that_are_not_finite_end_the_training_before_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    own = trainer(monkeypatch=monkeypatch)
    begin(own, 1)
    before = deepcopy([parameter.detach() for parameter in own.network.parameters()])
    broken = batch()
    broken["data"][0, 0, 3, 3, 3] = np.nan
    with pytest.raises(RuntimeError, match=r"Epoch 1: the gradients are not finite .* --c"):
        own.train_step(broken)
    for parameter, kept in zip(own.network.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), kept)


def test_a_step_from_a_reloaded_checkpoint_equals_the_uninterrupted_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = trainer(monkeypatch=monkeypatch)
    begin(first, 3)
    first.train_step(batch())
    first._best_score = 0.75
    first.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert not list(tmp_path.glob("*.tmp"))
    second = trainer(monkeypatch=monkeypatch)
    second.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert (second.current_epoch, second._best_score) == (4, 0.75)
    fixed = batch()
    for own in (first, second):
        begin(own, 4)
        torch.manual_seed(1)
        own.train_step(fixed)
    torch.testing.assert_close(second.network.state_dict(), first.network.state_dict(), rtol=0, atol=0)


def test_an_interrupted_save_keeps_the_old_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = trainer(monkeypatch=monkeypatch)
    path = tmp_path / "checkpoint.pth"
    own.save_checkpoint(str(path))
    content = path.read_bytes()

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        own.save_checkpoint(str(path))
    assert path.read_bytes() == content
    assert own._best_ema == np.inf


def validation(labels: list[list[int]], nodules: list[int], score: list[float]) -> dict[str, Any]:
    logits = [np.zeros((len(score), 3)), np.stack([-np.array(score), np.array(score)], axis=1)]
    tasks = {
        "logits": logits,
        "labels": np.array(labels),
        "nodules": np.array(nodules),
        "losses": np.array([np.nan, 0.5]),
    }
    one = np.array([1.0])
    return {"loss": np.array(1.0), "tp_hard": one, "fp_hard": one, "fn_hard": one, "tasks": tasks}


def test_the_epochs_auc_counts_each_nodule_once_and_no_background(monkeypatch: pytest.MonkeyPatch) -> None:
    own = trainer(monkeypatch=monkeypatch)
    own.on_validation_epoch_end(
        [
            validation([[-1, 1], [-1, 0], [-1, 0]], [5, 3, 4], [0.9, 0.1, 0.95]),
            # Once more, and a background patch, which would change the AUC of 1/2 if they counted.
            validation([[-1, 0], [-1, 1]], [4, -1], [0.95, -5.0]),
        ]
    )
    assert own.logger.get_value("val_auc_invasiveness", -1) == pytest.approx(0.5)
    assert np.isnan(own.logger.get_value("val_auc_texture", -1))
    assert np.isnan(own.logger.get_value("val_loss_texture", -1))
    assert own.logger.get_value("val_loss_invasiveness", -1) == pytest.approx(0.5)


def test_the_last_picture_shows_the_whole_training(monkeypatch: pytest.MonkeyPatch) -> None:
    own = trainer(monkeypatch=monkeypatch)
    picture = Path(own.output_folder) / "progress.png"
    own.dataloader_train = own.dataloader_val = None
    for epochs in (1, 2):  # the second is not drawn after its epoch, the first was drawn a moment ago
        for values in own.logger.local_logger.my_fantastic_logging.values():
            values[:] = [0.5] * epochs
        own.logger.plot_progress_png(own.output_folder)
        before = picture.read_bytes()
    own.on_train_end()
    assert picture.read_bytes() != before


def test_the_validation_at_the_end_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AttributeError):  # nothing has been initialised that could be validated
        trainer(initialise=False).perform_actual_validation()
    own = trainer(monkeypatch=monkeypatch)
    folder = Path(own.output_folder) / "validation"
    folder.mkdir()
    (folder / "c.nii.gz").touch()  # of an earlier network
    monkeypatch.setenv("dsmt_validation", "off")
    own.perform_actual_validation()
    assert "dsmt_validation is off: no validation. What validation/ held" in Path(own.log_file).read_text()
    assert [path.name for path in folder.iterdir()] == ["summary.json"]


def test_a_validation_that_is_neither_on_nor_off_is_told_before_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("dsmt_validation", "no")
    with pytest.raises(ValueError, match="must be 'off', 'on' or unset, got 'no'"):
        trainer(initialise=False).initialize()


def test_a_cpu_works_with_the_threads_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        trainer(monkeypatch=monkeypatch)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("left", [0, 0.6], ids=["empty", "cut off"])
def test_a_training_goes_on_from_the_last_whole_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, left: float
) -> None:
    own = trainer(monkeypatch=monkeypatch)
    for epoch, name in ((0, "best"), (2, "joint"), (4, "latest")):
        own.current_epoch = epoch
        own.save_checkpoint(str(tmp_path / f"checkpoint_{name}.pth"))
    latest = tmp_path / "checkpoint_latest.pth"
    latest.write_bytes(latest.read_bytes()[: int(left * latest.stat().st_size)])
    told: list[str] = []
    monkeypatch.setattr(own, "print_to_log_file", told.append)
    with pytest.raises(ValueError, match=r"checkpoint_latest\.pth is damaged or cut off"):
        own.load_checkpoint(str(latest))  # as --val does
    own.is_continued = True
    own.load_checkpoint(str(latest))
    assert own.current_epoch == 3
    assert "latest.pth is damaged" in told[0]
    assert "Going on from checkpoint_joint.pth, after epoch 2" in told[0]
    for path in tmp_path.glob("*.pth"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="No other checkpoint in"):
        own.load_checkpoint(str(latest))


def test_a_continued_training_knows_it() -> None:
    made = plans()
    made["continue_training"] = True
    assert DSMTTrainer(made, CONFIGURATION, 0, deepcopy(DATASET_JSON), CPU).is_continued
    assert not trainer(initialise=False).is_continued
