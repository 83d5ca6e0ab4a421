"""Options of nnUNetv2_train that reach the trainer."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter

from dsmt_nnunet.dataloading.background import WatchedAugmenter
from dsmt_nnunet.inference.weights import weights_digest
from dsmt_nnunet.trainers.dsmt_trainer import DSMTTrainer
from tests.unit.small_plans import CONFIGURATION, DATASET_JSON
from tests.unit.trainers.test_dsmt_trainer import CPU, plans, trainer

pytestmark = pytest.mark.usefixtures("trainer_folders")


def test_no_checkpoint_is_written_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = trainer(monkeypatch=monkeypatch)
    own.disable_checkpointing = True  # --disable_checkpointing
    own.save_checkpoint(str(tmp_path / "checkpoint_final.pth"))
    assert list(tmp_path.glob("*.pth")) == []
    own.disable_checkpointing = False
    own.save_checkpoint(str(tmp_path / "checkpoint_final.pth"))
    assert [path.name for path in tmp_path.glob("*.pth")] == ["checkpoint_final.pth"]


def test_the_best_network_is_validated_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As --val_best has it, and the answers are told apart from those of the last network."""
    own = trainer(monkeypatch=monkeypatch)
    own.save_checkpoint(str(tmp_path / "checkpoint_best.pth"))
    best = weights_digest(own._bare_network().state_dict())
    with torch.no_grad():
        next(own._bare_network().parameters()).add_(1)
    assert weights_digest(own._bare_network().state_dict()) != best
    own.load_checkpoint(str(tmp_path / "checkpoint_best.pth"))
    asked: list[Any] = []
    monkeypatch.setattr(own, "do_split", lambda: ([], ["case"]))
    monkeypatch.setattr(own, "_nodule_table", lambda: None)
    monkeypatch.setattr("dsmt_nnunet.trainers.dsmt_trainer.forget_places", lambda _: None)
    monkeypatch.setattr(
        "dsmt_nnunet.trainers.dsmt_trainer.classify_validation_cases",
        lambda own, cases, _: asked.append((weights_digest(own._bare_network().state_dict()), cases)),
    )
    own._classify_validation(0.0)
    assert asked == [(best, ["case"])]


def test_all_cases_are_learnt_from_and_validated_in_the_fold_all(trainer_folders: Path) -> None:
    own = DSMTTrainer(plans(), CONFIGURATION, "all", deepcopy(DATASET_JSON), CPU)  # type: ignore[arg-type]
    own.dataset_class = lambda *_: SimpleNamespace(identifiers=["a", "b"])  # type: ignore[assignment]
    own.dataset_class.get_identifiers = lambda _: ["a", "b"]
    assert own.do_split() == (["a", "b"], ["a", "b"])
    assert not list(trainer_folders.rglob("splits_final.json")), "a fold's cases are not dealt without need"


class _Endless:
    def set_thread_id(self, _: int) -> None: ...

    def __iter__(self) -> _Endless:
        return self

    def __next__(self) -> dict[str, int]:
        return {"data": 1}


@pytest.mark.parametrize(("workers", "kind"), [("0", SingleThreadedAugmenter), ("1", WatchedAugmenter)])
def test_batches_are_made_by_as_many_processes_as_nnunet_is_told(
    workers: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_n_proc_DA", workers)
    made: Any = trainer(initialise=False)._in_background(_Endless(), int(workers))  # type: ignore[arg-type]
    assert type(made) is kind
    assert next(made) == {"data": 1}
    if workers != "0":
        made._finish()
