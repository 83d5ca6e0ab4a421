"""What `--c` and `--val` take for a checkpoint of their training."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsmt_nnunet.trainers.comparisons import DSMTTrainerNoContext
from tests.unit.trainers.test_dsmt_trainer import trainer


def test_a_checkpoint_of_another_trainer_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own, path = trainer(monkeypatch=monkeypatch), tmp_path / "checkpoint_final.pth"
    own.save_checkpoint(str(path))
    own.load_checkpoint(str(path))
    own.__class__ = DSMTTrainerNoContext
    with pytest.raises(ValueError, match="was trained by DSMTTrainer, not by DSMTTrainerNoContext"):
        own.load_checkpoint(str(path))
