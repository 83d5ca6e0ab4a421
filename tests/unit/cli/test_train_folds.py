"""`dsmt train --folds`, with a queue that notes its jobs instead of running them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dsmt_nnunet.cli import train_folds
from dsmt_nnunet.cli.main import main
from dsmt_nnunet.environment import EXT_TRAINER, FOLDERS
from dsmt_nnunet.study.command_job import CommandJob

NAME = "Dataset777_Nodules"


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, CommandJob]:
    """Jobs by their names, of a planned data set with three folds."""
    import nnunetv2.paths

    monkeypatch.setenv(EXT_TRAINER, "")
    for variable in FOLDERS:
        (tmp_path / variable / NAME).mkdir(parents=True)
        monkeypatch.setenv(variable, str(tmp_path / variable))
        monkeypatch.setattr(nnunetv2.paths, variable, str(tmp_path / variable))
    folds = [{"train": ["a", "b"], "val": ["c"]}] * 3
    (tmp_path / "nnUNet_preprocessed" / NAME / "splits_final.json").write_text(json.dumps(folds))
    jobs: dict[str, CommandJob] = {}

    class Queue:
        def __init__(self, args: Any, folder: Path) -> None:
            self.folder = folder

        def run(self, given: Mapping[str, CommandJob]) -> Iterator[str]:
            jobs.update(given)
            return iter(given)

    monkeypatch.setattr(train_folds, "queue_of", Queue)
    return jobs


def train(*words: str) -> int:
    return main(["train", NAME, "3d_fullres", "-p", "DSMTPlans", *words])


def test_each_fold_is_a_job_that_goes_on_where_it_was(noted: dict[str, CommandJob], tmp_path: Path) -> None:
    assert train("--folds", "all", "--cluster", "local", "--jobs", "2", "--npz") == 0
    assert list(noted) == ["fold_0", "fold_1", "fold_2"]
    job = noted["fold_2"]
    assert list(job.words)[1:] == f"train {NAME} 3d_fullres 2 -tr DSMTTrainer -p DSMTPlans --npz".split()
    assert job.words_if_begun == [*job.words, "--c"]
    fold = tmp_path / "nnUNet_results" / NAME / "DSMTTrainer__DSMTPlans__3d_fullres/fold_2"
    assert job.made == [fold / "checkpoint_final.pth", fold / "validation/summary.json"]
    assert {path.name for path in job.begun} >= {"checkpoint_latest.pth", "checkpoint_final.pth"}


def test_weights_to_start_from_are_left_out_when_it_goes_on(noted: dict[str, CommandJob]) -> None:
    assert train("--folds=1", "--cluster=local", "-pretrained_weights", "w.pth", "-tr", "DSMTTrainerJointOnly") == 0
    (job,) = noted.values()
    assert list(job.words)[-2:] == ["-pretrained_weights", "w.pth"]
    assert "-pretrained_weights" not in job.words_if_begun
    assert "DSMTTrainerJointOnly" in job.words


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--folds all", "needs --cluster local or --cluster slurm"),
        ("--folds 0,7 --cluster local", "numbers of 0 to 2 with commas, each once, got '0,7'"),
        ("--folds 0,0 --cluster local", "each once, got '0,0'"),
        ("--folds all --cluster local --c", "--c does not go with --folds"),
        ("--folds all --cluster local --val", "--val does not go with --folds"),
    ],
)
def test_what_does_not_fit_is_told(noted: dict[str, CommandJob], words: str, told: str, capsys: Any) -> None:
    assert train(*words.split()) == 2
    assert told in capsys.readouterr().err
    assert not noted


def test_a_data_set_without_folds_is_told(noted: dict[str, CommandJob], tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "nnUNet_preprocessed" / NAME / "splits_final.json").unlink()
    assert train("--folds", "all", "--cluster", "local") == 2
    assert f"Run first: dsmt plan -d {NAME}" in capsys.readouterr().err
