from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.predictions.results import CasePrediction, NodulePrediction, TaskPrediction, write_case
from dsmt_nnunet.study.calibration import calibration_row
from dsmt_nnunet.study.floors import MeasuredNodule
from dsmt_nnunet.tasks import ClassificationSchema, Question, Task
from tests.unit.small_plans import SCHEMA

TASK = SCHEMA.primary_task
ONLY_PRIMARY = ClassificationSchema((SCHEMA.primary,), TASK)
NEGATIVE, POSITIVE = SCHEMA.primary.classes
CENTRE = (0.0, 0.0, 0.0)


def answered(folder: Path, name: str, logits: np.ndarray, labels: np.ndarray) -> tuple[Path, list[MeasuredNodule]]:
    """One case a nodule, and what is known of it (-1 for nothing)."""
    own = folder / name
    own.mkdir()
    nodules = []
    for number, (logit, label) in enumerate(zip(logits, labels, strict=True)):
        case, prob = f"{name}{number}", float(expit(logit))
        task = TaskPrediction({NEGATIVE: 1 - prob, POSITIVE: prob}, {}, (NEGATIVE, POSITIVE)[prob >= 0.5], 0.5)
        nodule = NodulePrediction("1", CENTRE, 8.0, 300.0, {TASK: task})
        write_case(CasePrediction(case, ONLY_PRIMARY, (nodule,), {}), own / f"{case}.json")
        nodules.append(MeasuredNodule(Nodule(case, "1", case, CENTRE, 8.0, {}), int(label), Path(), Path()))
    return own, nodules


def overconfident(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Logits three times as large as they should be, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=n) * 1.5
    return 3 * logits, (rng.uniform(size=n) < expit(logits)).astype(int)


def test_the_temperature_comes_from_the_validation_cases(tmp_path: Path) -> None:
    unseen, nodules = answered(tmp_path, "t", *overconfident(0))
    validation, more = answered(tmp_path, "v", *overconfident(1))
    row = calibration_row(TASK, [unseen], [validation], [*nodules, *more])
    assert row["nodules"] == "400"
    assert float(row["temperature"]) == pytest.approx(3.0, rel=0.25)
    assert float(row["calibration_slope"]) == pytest.approx(1 / 3, rel=0.25)
    assert float(row["calibration_slope_scaled"]) == pytest.approx(1.0, rel=0.25)
    assert float(row["ece_scaled"]) < float(row["ece"])
    assert float(row["brier_scaled"]) < float(row["brier"])


def test_in_a_cross_validation_it_comes_from_the_other_folds(tmp_path: Path) -> None:
    first, nodules = answered(tmp_path, "a", *overconfident(0))
    logits, labels = overconfident(1)
    second, more = answered(tmp_path, "b", logits / 3, labels)
    both = calibration_row(TASK, [first, second], [], [*nodules, *more])
    # The second fold is calibrated: its temperature, 1, is used on the first, and that of the first, 3, on it.
    assert float(both["temperature"]) == pytest.approx(2.0, rel=0.25)
    assert float(both["calibration_slope_scaled"]) < 1


def test_grades_are_judged_by_the_answers_to_their_question(tmp_path: Path) -> None:
    grades = ("1", "2", "3")
    graded = Task("grade", grades, ordered=True, question=Question("low", "high", "3", undecided=("2",)))
    schema, rng = ClassificationSchema((graded,), graded.name), np.random.default_rng(0)
    nodules = []
    for number in range(60):
        case, prob = f"g{number}", float(rng.uniform(0.1, 0.9))
        answer = TaskPrediction(
            dict(zip(grades, (0.5 * (1 - prob), 0.5, 0.5 * prob), strict=True)),
            {},
            ("low", "high")[prob >= 0.5],
            0.5,
            {"low": 1 - prob, "high": prob},
        )
        write_case(
            CasePrediction(case, schema, (NodulePrediction("1", CENTRE, 8.0, 300.0, {"grade": answer}),)),
            tmp_path / f"{case}.json",
        )
        label = int(rng.uniform() < prob)
        nodules.append((MeasuredNodule(Nodule(case, "1", case, CENTRE, 8.0, {}), label, Path(), Path()), prob))
    row = calibration_row("grade", [tmp_path], [], [nodule for nodule, _ in nodules])
    expected = np.mean([(prob - nodule.label) ** 2 for nodule, prob in nodules])
    assert float(row["brier"]) == pytest.approx(expected, abs=1e-4)


def test_nodules_without_label_do_not_count_and_one_fold_has_no_temperature(tmp_path: Path) -> None:
    logits, labels = overconfident(0, n=40)
    labels[:15] = -1
    folder, nodules = answered(tmp_path, "a", logits, labels)
    row = calibration_row(TASK, [folder], [], nodules)
    assert (row["nodules"], row["temperature"], row["brier_scaled"]) == ("25", "", "")
