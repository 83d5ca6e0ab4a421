from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from sklearn.metrics import roc_auc_score

from dsmt_nnunet.dataset_conversion.raw_dataset import RawDatasetWriter
from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.plan import PLAN_KEY
from dsmt_nnunet.predictions.results import CasePrediction, NodulePrediction, TaskPrediction, write_case
from dsmt_nnunet.study import floors
from dsmt_nnunet.study.added_value import WITH_DIAMETER
from dsmt_nnunet.study.floors import RULER
from dsmt_nnunet.study.tables import Question, Run, floors_of, write_tables
from tests.unit.small_plans import SCHEMA, small_plan, stock_plans

NEGATIVE, POSITIVE = SCHEMA.primary.classes
LABELS = [NEGATIVE, POSITIVE, POSITIVE, NEGATIVE, POSITIVE, None]


def ball(radius: float) -> np.ndarray:
    positions = np.moveaxis(np.indices((16, 16, 16)), 0, -1)
    return np.linalg.norm(positions - 8, axis=-1) <= radius


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six training and six test cases; the invasive nodules are larger and denser. Too few for radiomics."""
    monkeypatch.setattr(floors, "has_radiomics", lambda: False)
    with RawDatasetWriter(901, "Tiny", SCHEMA, raw_folder=tmp_path) as writer:
        for part, letter in (("train", "a"), ("test", "t")):
            for number, label in enumerate(LABELS):
                mask = ball(5.0 if label == POSITIVE else 3.0)
                hu = np.where(mask, 20 if label == POSITIVE else -400, -800) + number
                nodule = Nodule(
                    f"{letter}{number}", "1", f"{letter}{number}", (8.0, 8.0, 8.0), 10.0 if label == POSITIVE else 6.0,
                    {"invasiveness": label}, {"cohort": "internal" if number < 4 else "external"},
                )  # fmt: skip
                image, labels = (
                    sitk.GetImageFromArray(array.astype(kind)) for array, kind in ((hu, np.int16), (mask, np.uint8))
                )
                writer.add_case(f"{letter}{number}", image, labels, [nodule], part)
    return tmp_path / "Dataset901_Tiny"


def predicted(raw: Path, folder: Path, label: str, seed: int, scores: list[float], **changes: Any) -> Run:
    out = folder / f"{label}_{seed}"
    out.mkdir()
    for number, score in enumerate(scores):
        task = TaskPrediction({NEGATIVE: 1 - score, POSITIVE: score}, {}, (NEGATIVE, POSITIVE)[score >= 0.5], 0.5)
        texture = TaskPrediction(dict.fromkeys(SCHEMA["texture"].classes, 1 / 3), {}, "solid", None)
        nodule = NodulePrediction("1", (8.0, 8.0, 8.0), 8.0, 300.0, {"texture": texture, "invasiveness": task})
        write_case(CasePrediction(f"t{number}", SCHEMA, (nodule,), {}), out / f"t{number}.json")
    (out / "dice.csv").write_text("case_id,dice\n" + "".join(f"t{n},{0.5 + n / 10}\n" for n in range(len(scores))))
    model = folder / f"model_{label}_{seed}"
    (model / "fold_0").mkdir(parents=True)
    plans = stock_plans()
    plan = small_plan(plans)
    plans[PLAN_KEY] = replace(plan, training=replace(plan.training, **changes)).to_block()
    (model / "plans.json").write_text(json.dumps(plans))
    checkpoint = model / "fold_0" / "checkpoint_final.pth"
    weights = {"encoder.a": torch.zeros(3, 4), "decoder.encoder.a": torch.zeros(3, 4), "decoder.b": torch.zeros(5)}
    torch.save({"network_weights": weights}, checkpoint)
    return Run(label, seed, (out,), checkpoint, 1.25 if seed else math.nan, 2.0 if seed else math.nan)


def asked(raw: Path) -> Question:
    return Question.of_test_cases(raw, [{"train": [f"a{number}" for number in range(5)], "val": ["a5"]}])


def write(question: Question, runs: list[Run], out: Path) -> None:
    write_tables(question, runs, floors_of(question, out, 1), out)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_scores_of_all_runs_stand_beside_the_truth(raw: Path, tmp_path: Path) -> None:
    first = predicted(raw, tmp_path, "DSMTTrainer", 1, [0.1, 0.8, 0.6, 0.7, 0.9, 0.5])
    second = predicted(raw, tmp_path, "DSMTTrainer", 2, [0.3, 0.4, 0.2, 0.1, 0.5, 0.5])
    write(asked(raw), [first, second], tmp_path)
    scores = rows(tmp_path / "scores.csv")
    assert [row["case_id"] for row in scores] == ["t0", "t1", "t2", "t3", "t4"], "a nodule without label is left out"
    assert [int(row["truth"]) for row in scores] == [0, 1, 1, 0, 1]
    assert [float(row["DSMTTrainer_seed1"]) for row in scores] == pytest.approx([0.1, 0.8, 0.6, 0.7, 0.9])
    assert [float(row["DSMTTrainer"]) for row in scores] == pytest.approx([0.2, 0.6, 0.4, 0.4, 0.7])
    floor = [float(row[RULER]) for row in scores]
    assert roc_auc_score([int(row["truth"]) for row in scores], floor) == 1.0
    assert not any(name.endswith(WITH_DIAMETER) for name in scores[0]), "no folds to fit it on"


def test_what_dropping_the_uncertain_gains(raw: Path, tmp_path: Path) -> None:
    # Wrong on t2, which is nearest to 0.5, and on t3, on which the seeds differ most; truth is 0 1 1 0 1.
    first = predicted(raw, tmp_path, "Two", 1, [0.1, 0.8, 0.46, 0.99, 0.9, 0.5])
    second = predicted(raw, tmp_path, "Two", 2, [0.1, 0.8, 0.44, 0.41, 0.9, 0.5])
    write(asked(raw), [first, second, predicted(raw, tmp_path, "One", 1, [0.1, 0.8, 0.46, 0.99, 0.9, 0.5])], tmp_path)
    two, one = rows(tmp_path / "certainty.csv")
    assert {name: two[name] for name in ("run", "nodules", "accuracy")} == {
        "run": "Two", "nodules": "5", "accuracy": "0.6000",
    }  # fmt: skip
    assert float(two["without_nearest"]) == float(two["without_widest_spread"]) == 0.75
    assert (one["accuracy"], one["without_nearest"], one["without_widest_spread"]) == ("0.6000", "0.7500", "")


def test_each_run_has_a_row_and_keeps_what_was_measured_before(raw: Path, tmp_path: Path) -> None:
    run = predicted(raw, tmp_path, "DSMTTrainer", 1, [0.1, 0.8, 0.6, 0.7, 0.9, 0.5])
    write(asked(raw), [run], tmp_path)
    again = Run(run.label, run.seed, run.predictions, run.checkpoint, math.nan, math.nan)
    write(asked(raw), [again, predicted(raw, tmp_path, "Other", 0, [0.5] * 6)], tmp_path)
    first, other = rows(tmp_path / "runs.csv")
    assert (first["run"], first["seed"], first["parameters"]) == ("DSMTTrainer", "1", "17")
    assert (float(first["training_minutes"]), float(first["peak_memory_gb"])) == (1.2, 2.0)
    assert float(first["internal_invasiveness_auc"]) == pytest.approx(roc_auc_score([0, 1, 1, 0], [0.1, 0.8, 0.6, 0.7]))
    assert float(first["internal_dice"]) == pytest.approx(np.mean([0.5, 0.6, 0.7, 0.8]))
    assert first["external_invasiveness_auc"] == "", "one class only"
    assert (other["run"], other["training_minutes"]) == ("Other", "")
    assert float(other["internal_invasiveness_auc"]) == 0.5


def test_what_was_not_learnt_is_not_reported(raw: Path, tmp_path: Path) -> None:
    weights = {"texture": 0.0, "invasiveness": 1.0}
    run = predicted(raw, tmp_path, "Single", 1, [0.5] * 6, segmentation_weight=0.0, task_weights=weights)
    write(asked(raw), [run], tmp_path)
    (row,) = rows(tmp_path / "runs.csv")
    assert row["internal_dice"] == ""
    assert row["parameters"] == "12", "without the decoder"
    assert row["internal_invasiveness_auc"] == "0.5000"


def test_a_primary_task_of_several_classes_is_refused(raw: Path, tmp_path: Path) -> None:
    question = replace(asked(raw), schema=replace(SCHEMA, primary_task="texture"))
    with pytest.raises(ValueError, match="'texture' has 3 classes"):
        floors_of(question, tmp_path, 1)


def test_a_run_that_lacks_a_nodule_is_refused(raw: Path, tmp_path: Path) -> None:
    run = predicted(raw, tmp_path, "DSMTTrainer", 1, [0.1, 0.8, 0.6, 0.7, 0.9])
    with pytest.raises(ValueError, match="no score of texture for 1 nodules, such as nodule 1 of case t5"):
        write(asked(raw), [run], tmp_path)
    assert not (tmp_path / "scores.csv").exists()


def test_a_cross_validation_asks_about_the_cases_that_each_fold_left_out(raw: Path, tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        for file in (raw / f"{kind}Ts").iterdir():
            (raw / f"{kind}Tr" / file.name).write_bytes(file.read_bytes())
    lines = (raw / "nodulesTs.csv").read_text().splitlines()[1:]
    with (raw / "nodules.csv").open("a") as stream:
        stream.write("\n".join(lines) + "\n")
    train, unseen = [f"a{number}" for number in range(6)], ["t0", "t1", "t2", "t3", "t4", "t5"]
    folds = [{"train": [*train, *unseen[3:]], "val": unseen[:3]}, {"train": [*train, *unseen[:3]], "val": unseen[3:]}]
    whole = predicted(raw, tmp_path, "DSMTTrainer", 1, [0.1, 0.8, 0.6, 0.7, 0.9, 0.5])
    folders = tmp_path / "fold_0", tmp_path / "fold_1"
    for folder, fold in zip(folders, folds, strict=True):
        folder.mkdir()
        for case in fold["val"]:
            for file in whole.predictions[0].glob(f"{case}.*"):
                file.rename(folder / file.name)
    folders[0].joinpath("dice.csv").write_text("case_id,dice\nt0,0.5\nt1,0.6\nt2,0.7\n")
    folders[1].joinpath("dice.csv").write_text("case_id,dice\nt3,0.9\nt4,0.1\nt5,0.1\n")
    run = Run("DSMTTrainer", 1, folders, whole.checkpoint, 1.0, 1.0)
    write(Question.of_folds(raw, folds), [run], tmp_path)
    scores = rows(tmp_path / "scores.csv")
    assert [row["case_id"] for row in scores] == ["t0", "t1", "t2", "t3", "t4"]
    assert [float(row["DSMTTrainer"]) for row in scores] == pytest.approx([0.1, 0.8, 0.6, 0.7, 0.9])
    assert all(0 < float(row[f"DSMTTrainer{WITH_DIAMETER}"]) < 1 for row in scores)
    assert [row["fold"] for row in scores] == ["0", "0", "0", "1", "1"]
    assert [(row["run"], row["score_p"]) for row in rows(tmp_path / "added_value.csv")] == [("DSMTTrainer", "")]
    tests = {row["run"]: row["test"] for row in rows(tmp_path / "seeds.csv")}
    assert tests == {"DSMTTrainer": "", RULER: "corrected resampled t over folds and seeds"}
    assert not (tmp_path / "cohorts.csv").exists(), "folds hold other models, not other cohorts"
    (only,) = rows(tmp_path / "runs.csv")
    assert float(only["internal_dice"]) == pytest.approx(np.mean([0.5, 0.6, 0.7, 0.9]))


def test_a_study_asks_about_the_nodules_of_the_question_and_learns_from_all(raw: Path) -> None:
    content = json.loads((raw / "dataset.json").read_text())
    content["classification"]["asked_diameter_mm"] = [8, 20]
    (raw / "dataset.json").write_text(json.dumps(content))
    question = Question.of_test_cases(raw, [{"train": [f"a{number}" for number in range(6)], "val": []}])
    assert {item.nodule.diameter_mm for item in question.unseen()} == {10.0}
    assert {item.nodule.diameter_mm for item in question.all_nodules()} == {6.0, 10.0}
