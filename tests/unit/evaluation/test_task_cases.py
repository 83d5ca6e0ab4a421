from __future__ import annotations

import numpy as np

from dsmt_nnunet.evaluation.intention import intended_table
from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule
from dsmt_nnunet.evaluation.task_cases import TaskCases, TaskOptions
from dsmt_nnunet.inference.classifier import answer
from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.plan_rules import derive_plan
from dsmt_nnunet.predictions.operating_point import OperatingPoint, TaskOperatingPoint
from dsmt_nnunet.predictions.results import NodulePrediction
from dsmt_nnunet.statistics.calibration.scaling import apply_temperature
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.tasks import ClassificationSchema, Question, Task
from tests.unit.small_plans import CONFIGURATION, DATASET_JSON, stock_plans

GRADES = Task("vote", ("1", "2", "3", "4"), True, Question("benign", "malignant", "3", ("2",)))
PROBS = np.array([[[0.2, 0.1, 0.3, 0.4]]])


def test_grades_are_decided_and_evaluated_by_their_question() -> None:
    classification = ClassificationSchema((GRADES,), "vote").to_block()
    plan = derive_plan(stock_plans(), CONFIGURATION, {**DATASET_JSON, "classification": classification})
    point = OperatingPoint({"vote": TaskOperatingPoint(2.0, 0.75)})
    given = answer({"vote": PROBS[0]}, plan, point)["vote"]
    calibrated = apply_temperature(np.array([2 / 9, 7 / 9]), 2.0)
    np.testing.assert_allclose(list(given.answers.values()), calibrated)
    assert given.decision == "benign"
    np.testing.assert_allclose(list(given.probabilities.values()), PROBS[0, 0])
    joined = [
        JoinedNodule(
            case_id=grade,
            truth=Nodule(grade, "1", "p", (0.0, 0.0, 0.0), labels={"vote": grade}),
            predicted=NodulePrediction("1", (0.0, 0.0, 0.0), 10.0, 500.0, {"vote": given}),
        )
        for grade in GRADES.classes
    ]
    cases = TaskCases.of(joined, GRADES)
    assert cases.task.classes == ("benign", "malignant")
    assert [item.case_id for item in cases.nodules] == ["1", "3", "4"]
    assert cases.labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(cases.probs, np.tile(calibrated, (3, 1)))
    assert cases.decided.tolist() == [0, 0, 0]


def test_grades_of_missed_nodules_are_asked_by_their_question_too() -> None:
    lost = [
        JoinedNodule(grade, Nodule(grade, "1", "p", (0.0, 0.0, 0.0), labels={"vote": grade}), None)
        for grade in GRADES.classes
    ]
    cases = TaskCases.of([], GRADES)
    table = intended_table(cases, lost, GRADES, TaskOptions(), [Decisions(np.zeros(0, bool), 0.5, "")])
    assert table.y_true.tolist() == [False, True, True]
    assert table.decisions["vote"][0].called_positive.tolist() == [False] * 3
