from __future__ import annotations

import math
from pathlib import Path

import pytest
from nnunetv2.training.logging.nnunet_logger import LocalLogger, MetaLogger

from dsmt_nnunet.training.logger import DSMTLogger, task_keys
from tests.unit.small_plans import SCHEMA

STOCK_KEYS = tuple(LocalLogger().my_fantastic_logging)


def logger(epochs: int = 0) -> DSMTLogger:
    made = DSMTLogger(SCHEMA.task_names, SCHEMA.primary_task, joint_epochs=2)
    for epoch in range(epochs):
        for key in made.my_fantastic_logging:
            made.log(key, 0.0 if key == "lrs" and epoch >= 2 else 0.5 + 0.1 * epoch, epoch)
    return made


def test_every_task_has_its_keys() -> None:
    expected = {f"{kind}_{name}" for name in SCHEMA.task_names for kind in ("train_loss", "val_loss", "val_auc")}
    assert set(task_keys(SCHEMA.task_names)) == {*expected, "train_seg_loss", "selection_score"}
    assert set(logger().my_fantastic_logging) == {*STOCK_KEYS, *task_keys(SCHEMA.task_names)}


def test_a_log_without_the_tasks_is_filled_up() -> None:
    stock = LocalLogger()
    for epoch in range(3):
        for key in STOCK_KEYS:
            stock.log(key, 0.1, epoch)
    own = logger()
    own.load_checkpoint(stock.get_checkpoint())
    assert own.get_value("train_losses", None) == [0.1] * 3
    assert all(math.isnan(value) for value in own.get_value("val_auc_invasiveness", None))
    for key in (*STOCK_KEYS, *task_keys(SCHEMA.task_names)):
        own.log(key, 0.2, 3)
        assert len(own.get_value(key, None)) == 4


def test_its_own_log_is_taken_as_it_is() -> None:
    own = logger()
    own.load_checkpoint(logger(epochs=3).get_checkpoint())
    assert own.get_value("val_auc_texture", None) == pytest.approx([0.5, 0.6, 0.7])


@pytest.mark.parametrize("epochs", [1, 4])
def test_progress_is_drawn_also_with_gaps_and_a_rate_of_zero(tmp_path: Path, epochs: int) -> None:
    own = logger(epochs)
    own.my_fantastic_logging["val_auc_texture"][0] = math.nan
    own.draw_progress(str(tmp_path))
    content = (tmp_path / "progress.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 20_000


def test_pictures_take_little_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, now, drawn = logger(), [1000.0], []

    def draw(_: str) -> None:
        drawn.append(now[0])
        now[0] += 2

    monkeypatch.setattr(own, "draw_progress", draw)
    monkeypatch.setattr("dsmt_nnunet.training.logger.time.monotonic", lambda: now[0])
    for _ in range(25):
        own.plot_progress_png(str(tmp_path))
        now[0] += 10
    assert drawn == [1000.0, 1000.0 + 2 + 10 * 10, 1000.0 + 2 * (2 + 10 * 10)]


def test_nnunets_logger_takes_it_in(tmp_path: Path) -> None:
    meta = MetaLogger(str(tmp_path), False)
    meta.local_logger = logger()
    meta.log("val_auc_texture", 0.75, 0)
    meta.log("mean_fg_dice", 0.4, 0)
    assert meta.get_value("val_auc_texture", -1) == 0.75
    assert meta.get_value("ema_fg_dice", -1) == 0.4
