"""What `--c` and `--val` take for a checkpoint of their training."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsmt_nnunet.trainers.comparisons import DSMTTrainerNoContext
from tests.unit.trainers.test_dsmt_trainer import trainer

pytestmark = pytest.mark.usefixtures("trainer_folders")


def test_a_checkpoint_of_another_trainer_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own, path = trainer(monkeypatch=monkeypatch), tmp_path / "checkpoint_final.pth"
    own.save_checkpoint(str(path))
    own.load_checkpoint(str(path))
    own.__class__ = DSMTTrainerNoContext
    with pytest.raises(ValueError, match="was trained by DSMTTrainer, not by DSMTTrainerNoContext"):
        own.load_checkpoint(str(path))


def test_a_checkpoint_that_does_not_fit_on_the_disk_is_told_and_the_one_before_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own, path = trainer(monkeypatch=monkeypatch), tmp_path / "checkpoint_latest.pth"
    own.save_checkpoint(str(path))
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 1485632 vs 1485524")

    monkeypatch.setattr("torch.save", full)
    with pytest.raises(OSError, match=r"checkpoint_latest\.pth was not written whole .* disk full\? .* go on with --c"):
        own.save_checkpoint(str(path))
    assert path.read_bytes() == before
