from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from dsmt_nnunet.cli import study
from dsmt_nnunet.cli.main import main
from dsmt_nnunet.evaluation import study_tables

PLANS = '{"configurations": {"3d_fullres": {"patch_size": [28, 40, 40]}}}'
TRAINERS = ("DSMTTrainer", "DSMTTrainerNoContext")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int | None, str]]:
    """Commands that were run, which leave behind what the real ones would."""
    noted: list[tuple[int | None, str]] = []
    out = tmp_path / "study"

    def call(self: Any, command: str, seed: int | None = None) -> tuple[float, float]:
        noted.append((seed, command))
        words = shlex.split(command)
        if words[:3] == ["dsmt", "convert", "phantom"]:
            (self.raw / "imagesTs").mkdir(parents=True)
            (self.raw / "nodulesTs.csv").write_text("case_id,nodule_id,x_mm,y_mm,z_mm\nt,1,0,0,0\n")
        elif words[:2] == ["dsmt", "plan"]:
            (out / "nnUNet_preprocessed" / study.DATASET).mkdir(parents=True)
            (out / "nnUNet_preprocessed" / study.DATASET / "splits_final.json").write_text("[]")
            (out / "nnUNet_preprocessed" / study.DATASET / "DSMTPlansXS.json").write_text(PLANS)
        elif words[0] == "nnUNetv2_train":
            name = f"{words[words.index('-tr') + 1]}__DSMTPlansXS__3d_fullres"
            fold = Path(self.variables(seed)["nnUNet_results"]) / words[1] / name / f"fold_{words[3]}"
            (fold / "validation").mkdir(parents=True)
            (fold / "validation" / "classification.csv").touch()
        elif words[0] == "nnUNetv2_predict":
            folder = Path(words[words.index("-o") + 1])
            folder.mkdir(parents=True)
            (folder / "classification.csv").write_text("case_id\n")
        return 2.0, 1.5

    monkeypatch.setattr(study._Study, "call", call)
    monkeypatch.setattr(study_tables, "write_study", lambda _, runs, *more: noted.append((None, f"{len(runs)} runs")))
    monkeypatch.setattr(study_tables, "floors_of", lambda *more: {})
    monkeypatch.setattr(study_tables.Question, "of_test_cases", lambda raw, folds: None)
    return noted


def run(tmp_path: Path, *more: str) -> int:
    return main(["study", "-o", str(tmp_path / "study"), "--trainers", *TRAINERS, "--seeds", "0", "1", *more])


def test_every_trainer_is_trained_with_every_seed_and_predicted(calls: Any, tmp_path: Path) -> None:
    assert run(tmp_path) == 0
    trained = [(seed, command.split()[5]) for seed, command in calls if command.startswith("nnUNetv2_train")]
    assert sorted(trained) == sorted((seed, trainer) for seed in (0, 1) for trainer in TRAINERS)
    predicted = [command for _, command in calls if command.startswith("nnUNetv2_predict")]
    assert sum("checkpoint_joint.pth" in command for command in predicted) == 2, "DSMTTrainer before fine-tuning too"
    assert len(predicted) == 6
    assert [command for _, command in calls if command.endswith(" runs")] == [
        "2 runs",
        "3 runs",
        "5 runs",
        "6 runs",
        "6 runs",
    ]
    positions = tmp_path / "study" / "nnUNet_raw" / study.DATASET / "imagesTs" / "nodules.csv"
    assert positions.read_text().splitlines()[0] == "case_id,nodule_id,x_mm,y_mm,z_mm"


def test_what_is_done_is_not_done_again(calls: Any, tmp_path: Path) -> None:
    run(tmp_path)
    calls.clear()
    run(tmp_path)
    assert [command for _, command in calls] == ["6 runs"]


def test_runs_of_earlier_calls_stay_in_the_tables(calls: Any, tmp_path: Path) -> None:
    run(tmp_path)
    calls.clear()
    assert main(["study", "-o", str(tmp_path / "study"), "--trainers", "DSMTTrainerNoSigns", "--seeds", "1"]) == 0
    assert [command for _, command in calls if command.endswith(" runs")] == ["7 runs", "7 runs"]


def test_a_folder_holds_one_study(calls: Any, tmp_path: Path, capsys: Any) -> None:
    run(tmp_path)
    calls.clear()
    assert run(tmp_path, "--cases", "7") == 2
    assert "Name another folder with -o" in capsys.readouterr().err
    assert run(tmp_path, "--preset", "standard") == 2
    assert calls == []


def test_densenet_is_left_out_where_it_cannot_run(calls: Any, tmp_path: Path, capsys: Any) -> None:
    assert main(["study", "-o", str(tmp_path / "study"), "--seeds", "0"]) == 0
    assert "DSMTTrainerDenseNet is left out: " in capsys.readouterr().out
    assert not any("DenseNet" in command for _, command in calls)


@pytest.mark.parametrize("checkpoint", ["latest", "final"])
def test_an_interrupted_training_or_validation_is_continued(
    calls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: str
) -> None:
    run(tmp_path)
    fold = tmp_path / "study/nnUNet_results/seed_1" / study.DATASET / "DSMTTrainer__DSMTPlansXS__3d_fullres/fold_0"
    (fold / "validation" / "classification.csv").unlink()
    (fold / f"checkpoint_{checkpoint}.pth").touch()
    asked: list[str] = []

    def noting(self: Any, command: str, seed: int | None = None) -> tuple[float, float]:
        asked.append(command)
        return 1.0, 1.0

    monkeypatch.setattr(study._Study, "call", noting)
    run(tmp_path)
    assert len(asked) == 1
    assert asked[0].endswith(" --c")


def test_a_command_that_fails_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = study.PhantomStudy(tmp_path, "XS", {})
    with pytest.raises(OSError, match="run 'dsmt study' again"):
        own.call("false")
    minutes, memory_gb = own.call("true")
    assert minutes < 1
    assert memory_gb > 0


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
    assert not any("nnUNetv2_predict" in command or "dsmt" in command.split()[0] for _, command in calls)
    assert [command for _, command in calls if command.endswith(" runs")] == [
        "1 runs",
        "2 runs",
        "3 runs",
        "4 runs",
        "4 runs",
    ]


def test_own_data_must_be_planned_and_have_the_folds(own_data: Path, calls: Any, tmp_path: Path, capsys: Any) -> None:
    assert run(tmp_path, "-d", "777", "-f", "0", "5") != 0
    assert "has the folds 0 to 1, not [5]" in capsys.readouterr().err
    (own_data / "splits_final.json").unlink()
    assert run(tmp_path, "-d", "777") != 0
    assert "Run first: dsmt plan -d Dataset777_Nodules -pl DSMTPlannerXS" in capsys.readouterr().err
    assert calls == []
