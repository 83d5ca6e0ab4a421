from __future__ import annotations

import importlib.util
import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.environment import EXT_TRAINER, FOLDERS
from dsmt_nnunet.planners import preprocessing
from dsmt_nnunet.study import answers as study_answers
from dsmt_nnunet.study import data_sets, runner
from dsmt_nnunet.study import tables as study_tables

PLANS = '{"configurations": {"3d_fullres": {"data_identifier": "DSMTPlansXS_3d_fullres"}}}'
TRAINERS = ("DSMTTrainer", "DSMTTrainerNoContext")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int | None, str]]:
    """Commands that were run and questions that were asked, which leave behind what the real ones would."""
    noted: list[tuple[int | None, str]] = []
    out = tmp_path / "study"

    def call(self: Any, command: str, seed: int | None = None) -> tuple[float, float]:
        noted.append((seed, command))
        words = shlex.split(command)
        if words[:3] == ["dsmt", "convert", "phantom"]:
            self.raw.mkdir(parents=True)
        elif words[:2] == ["dsmt", "plan"]:
            (out / "nnUNet_preprocessed" / data_sets.DATASET).mkdir(parents=True)
            (out / "nnUNet_preprocessed" / data_sets.DATASET / "splits_final.json").write_text(
                '[{"train": ["a"], "val": ["v1"]}]'
            )
            (out / "nnUNet_preprocessed" / data_sets.DATASET / "DSMTPlansXS.json").write_text(PLANS)
        elif words[0] == "nnUNetv2_train":
            name = f"{words[words.index('-tr') + 1]}__DSMTPlansXS__3d_fullres"
            fold = Path(self.variables(seed)["nnUNet_results"]) / words[1] / name / f"fold_{words[3]}"
            fold.mkdir(parents=True, exist_ok=True)
            (fold / "checkpoint_final.pth").touch()
        return 2.0, 1.5

    def answer(fold: Path, checkpoint: str, unseen: Any, folder: Path, device: str) -> None:
        noted.append((None, f"asked {fold.parent.name.split('__')[0]} {checkpoint} {' '.join(unseen.case_ids)}"))
        folder.mkdir(parents=True)
        (folder / "classification.csv").write_text("case_id\n")

    def preprocess(raw: Path, preprocessed: Path, plans: str, processes: int) -> Path:
        folder = preprocessed / "test"
        folder.mkdir(exist_ok=True)
        (folder / "t1.pkl").touch()
        return folder

    monkeypatch.setattr(runner.Trainings, "call", call)
    monkeypatch.setattr(study_answers, "answer", answer)
    monkeypatch.setattr(preprocessing, "preprocess_test_cases", preprocess)
    monkeypatch.setattr(study_tables, "write_tables", lambda _, runs, *more: noted.append((None, f"{len(runs)} runs")))
    monkeypatch.setattr(study_tables, "floors_of", lambda *more: {})
    monkeypatch.setattr(study_tables.Question, "of_test_cases", lambda raw, folds: None)
    return noted


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment as it was before: a study sets nnU-Net's folders."""
    for name in (*FOLDERS, EXT_TRAINER, "nnUNet_def_n_proc", "nnUNet_n_proc_DA"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


def run(tmp_path: Path, *more: str) -> int:
    options = ["-o", str(tmp_path / "study"), "--jobs", "1", "--trainers", *TRAINERS, "--seeds", "0", "1"]
    return main(["study", *options, *more])


def starting(calls: Any, word: str) -> list[str]:
    return [command for _, command in calls if command.startswith(word)]


def test_every_trainer_is_trained_with_every_seed_and_asked(calls: Any, tmp_path: Path) -> None:
    assert run(tmp_path) == 0
    trained = [(seed, command.split()[5]) for seed, command in calls if command.startswith("nnUNetv2_train")]
    assert sorted(trained) == sorted((seed, trainer) for seed in (0, 1) for trainer in TRAINERS)
    asked = [command for command in starting(calls, "asked") if command.endswith(" t1")]
    assert len(starting(calls, "asked")) == 2 * len(asked), "the validation cases too, for the temperature"
    assert asked.count("asked DSMTTrainer checkpoint_joint.pth t1") == 2, "DSMTTrainer before fine-tuning too"
    assert len(asked) == 6
    assert [command for _, command in calls if command.endswith(" runs")] == [
        "2 runs",
        "3 runs",
        "5 runs",
        "6 runs",
        "6 runs",
    ]


@pytest.mark.parametrize("covariates", [[], [{"name": "age"}]])
@pytest.mark.parametrize("named", [["DSMTTrainer"], ["DSMTTrainer", runner.NO_COVARIATES]])
def test_data_with_covariates_are_learnt_with_and_without_them(
    calls: Any, tmp_path: Path, covariates: list[dict[str, str]], named: list[str]
) -> None:
    raw = tmp_path / "study" / "nnUNet_raw" / data_sets.DATASET
    raw.mkdir(parents=True)
    (raw / "dataset.json").write_text(json.dumps({"classification": {"covariates": covariates}}))
    options = ["--jobs", "1", "--seeds", "0", "--trainers", *named]
    assert main(["study", "-o", str(tmp_path / "study"), *options]) == 0
    trained = {command.split()[5] for command in starting(calls, "nnUNetv2_train")}
    assert trained == {"DSMTTrainer", *([runner.NO_COVARIATES] if covariates else [])}
    assert [command for _, command in calls if command.endswith(" runs")][-1] == f"{3 if covariates else 2} runs"


def test_trainings_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "best_device", lambda: "cpu")
    monkeypatch.setattr(runner, "usable_cores", lambda: 6)
    monkeypatch.setattr(runner, "worker_processes", lambda: 6)
    variables = data_sets.PhantomTrainings(tmp_path, "XS", 3, {}).variables(seed=4)
    assert (variables["OMP_NUM_THREADS"], variables["dsmt_seed"], variables["dsmt_validation"]) == ("2", "4", "off")
    assert data_sets.PhantomTrainings(tmp_path, "XS", None, {}).jobs == 6
    monkeypatch.setattr(runner, "best_device", lambda: "cuda")
    assert data_sets.PhantomTrainings(tmp_path, "XS", None, {}).jobs == 1


def test_what_is_done_is_not_done_again(calls: Any, tmp_path: Path) -> None:
    run(tmp_path)
    calls.clear()
    run(tmp_path)
    assert [command for _, command in calls] == ["6 runs"]


def test_runs_of_earlier_calls_stay_in_the_tables(calls: Any, tmp_path: Path) -> None:
    run(tmp_path)
    calls.clear()
    options = ["--trainers", "DSMTTrainerNoSigns", "--seeds", "1", "--jobs", "1"]
    assert main(["study", "-o", str(tmp_path / "study"), *options]) == 0
    assert [command for _, command in calls if command.endswith(" runs")] == ["7 runs", "7 runs"]


def test_a_folder_holds_one_study(calls: Any, tmp_path: Path, capsys: Any) -> None:
    run(tmp_path)
    calls.clear()
    assert run(tmp_path, "--cases", "7") == 2
    assert "Name another folder with -o" in capsys.readouterr().err
    assert run(tmp_path, "--preset", "standard") == 2
    assert run(tmp_path, "--cohort-seed", "2") == 2
    assert calls == []


def test_densenet_is_left_out_where_it_cannot_run(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert runner.possible(["DSMTTrainer", "DSMTTrainerDenseNet"]) == ["DSMTTrainer"]
    assert "DSMTTrainerDenseNet is left out: MONAI is not installed" in capsys.readouterr().out
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "there")
    assert runner.possible(["DSMTTrainerDenseNet"]) == ["DSMTTrainerDenseNet"]


def test_an_interrupted_training_is_continued(calls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    fold = tmp_path / "study/nnUNet_results/seed_1" / data_sets.DATASET / "DSMTTrainer__DSMTPlansXS__3d_fullres/fold_0"
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")
    asked: list[str] = []

    def noting(self: Any, command: str, seed: int | None = None) -> tuple[float, float]:
        asked.append(command)
        return 1.0, 1.0

    monkeypatch.setattr(runner.Trainings, "call", noting)
    run(tmp_path)
    assert len(asked) == 1
    assert asked[0].endswith(" --c")


def test_a_command_that_fails_is_named(tmp_path: Path) -> None:
    own = data_sets.PhantomTrainings(tmp_path, "XS", 1, {})
    with pytest.raises(OSError, match="run 'dsmt study' again"):
        own.call("false")
    minutes, memory_gb = own.call("true")
    assert minutes < 1
    assert memory_gb > 0


def test_a_failure_ends_the_study(calls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def failing(self: Any, command: str, seed: int | None = None) -> tuple[float, float]:
        calls.append((seed, command))
        raise OSError("this command failed")

    run(tmp_path)
    calls.clear()
    monkeypatch.setattr(runner.Trainings, "call", failing)
    assert run(tmp_path, "--trainers", "DSMTTrainerNoSigns", "DSMTTrainerJointOnly") == 2
    assert "this command failed" in capsys.readouterr().err
    assert len(starting(calls, "nnUNetv2_train")) == 1, "the others are not begun"


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A planned data set of the user's own, with two folds; its folder of preprocessed data."""
    name = "Dataset777_Nodules"
    for variable in ("nnUNet_raw", "nnUNet_preprocessed"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        (tmp_path / variable / name).mkdir(parents=True)
    folder = tmp_path / "nnUNet_preprocessed" / name
    (folder / "splits_final.json").write_text('[{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]')
    (folder / "DSMTPlansXS.json").write_text(PLANS)
    return folder


def test_own_data_are_cross_validated(
    own_data: Path, calls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(study_tables.Question, "of_folds", lambda raw, folds: asked.append((raw.name, folds)))
    assert run(tmp_path, "-d", "777") == 0
    assert asked == [(own_data.name, [{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}])]
    trained = [(seed, *command.split()[1:6:2]) for seed, command in calls if command.startswith("nnUNetv2_train")]
    assert sorted(trained) == [
        (seed, own_data.name, str(fold), trainer) for seed in (0, 1) for fold in (0, 1) for trainer in TRAINERS
    ]
    asked = starting(calls, "asked DSMTTrainerNoContext")
    assert asked == [f"asked DSMTTrainerNoContext checkpoint_final.pth {case}" for case in ("b", "a")] * 2
    assert [command for _, command in calls if command.endswith(" runs")] == [
        "2 runs",
        "3 runs",
        "5 runs",
        "6 runs",
        "6 runs",
    ]


def test_own_data_must_be_planned_and_have_the_folds(own_data: Path, calls: Any, tmp_path: Path, capsys: Any) -> None:
    assert run(tmp_path, "-d", "777", "-f", "0", "5") != 0
    assert "has the folds 0 to 1, not [5]" in capsys.readouterr().err
    (own_data / "splits_final.json").unlink()
    assert run(tmp_path, "-d", "777") != 0
    assert "Run first: dsmt plan -d Dataset777_Nodules -pl DSMTPlannerXS" in capsys.readouterr().err
    assert calls == []


def test_cases_that_have_changed_are_asked_anew(calls: Any, tmp_path: Path) -> None:
    run(tmp_path)
    calls.clear()
    case = tmp_path / "study/nnUNet_preprocessed" / data_sets.DATASET / "test" / "t1.pkl"
    case.write_bytes(b"another case")
    run(tmp_path)
    asked = starting(calls, "asked")
    assert len(asked) == 6
    assert all(command.endswith(" t1") for command in asked), "the validation cases are what they were"


@pytest.mark.parametrize("ended", [True, False])
def test_folds_of_other_data_are_not_taken_for_trained(
    ended: bool, own_data: Path, calls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(study_tables.Question, "of_folds", lambda raw, folds: None)
    assert run(tmp_path, "-d", "777") == 0
    if not ended:
        for checkpoint in (tmp_path / "study").rglob("checkpoint_final.pth"):
            checkpoint.rename(checkpoint.with_name("checkpoint_latest.pth"))
    (own_data / "splits_final.json").write_text('[{"train": ["b"], "val": ["a"]}, {"train": ["a"], "val": ["b"]}]')
    calls.clear()
    assert run(tmp_path, "-d", "777") == 2
    assert "was trained on other folds, plans or nodules" in capsys.readouterr().err
    assert calls == []
