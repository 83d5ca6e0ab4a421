from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsmt_nnunet.covariates import Covariate
from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.tasks import UNKNOWN_LABEL, ClassificationSchema, Question, Task, TaskKind

SCHEMA = ClassificationSchema(
    (Task("invasiveness", ("non-invasive", "invasive")), Task("texture", ("ground-glass", "part-solid", "solid"))),
    "invasiveness",
)


def nodule(case_id: str = "a", nodule_id: str = "1", patient_id: str = "p", **kwargs: Any) -> Nodule:
    return Nodule(case_id, nodule_id, patient_id, (1.0, -2.5, 3.25), **kwargs)


def write(folder: Path, text: str) -> Path:
    path = folder / "nodules.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "classes", "message"),
    [
        ("two words", ("a", "b"), "letters, digits"),
        ("1st", ("a", "b"), "begin with a letter"),
        ("diameter_mm", ("a", "b"), "fixed column"),
        ("t", ("a",), "at least two classes"),
        ("t", ("a", "a"), "unique"),
        ("t", ("a", ""), "not empty"),
        ("t", ("a", " b"), "blanks"),
    ],
)
def test_task_rules(name: str, classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Task(name, classes)


def test_task_index_and_positive_class() -> None:
    binary, multi = SCHEMA.tasks
    assert [binary.index(label) for label in (None, "non-invasive", "invasive")] == [UNKNOWN_LABEL, 0, 1]
    assert binary.positive_class == "invasive"
    with pytest.raises(ValueError, match="3 classes"):
        _ = multi.positive_class
    with pytest.raises(ValueError, match="'Invasive' is not a class of task 'invasiveness'"):
        binary.index("Invasive")


def test_schema_survives_its_block() -> None:
    block = SCHEMA.to_block()
    assert ClassificationSchema.from_block(block) == SCHEMA
    assert ClassificationSchema.from_dataset_json({"classification": block}) == SCHEMA
    assert SCHEMA.primary is SCHEMA.tasks[0]
    assert SCHEMA.primary_index == 0
    assert SCHEMA["texture"] is SCHEMA.tasks[1]
    with pytest.raises(KeyError, match="No task 'other'"):
        SCHEMA["other"]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"tasks": {}, "primary_task": "a"}, "at least one task"),
        ({"tasks": {"a": {"classes": ["x", "y"]}}}, "must read"),
        ({"tasks": {"a": {"classes": "xy"}}, "primary_task": "a"}, "must read"),
        ({"tasks": {"a": {}}, "primary_task": "a"}, "must read"),
        ({"tasks": [], "primary_task": "a"}, "must read"),
        ([], "must read"),
        ({"tasks": {"a": {"classes": ["x", "y"]}}, "primary_task": "b"}, "primary task 'b'"),
    ],
)
def test_malformed_blocks_are_refused(block: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassificationSchema.from_block(block)


def test_repeated_task_names_and_missing_block() -> None:
    task = Task("a", ("x", "y"))
    with pytest.raises(ValueError, match="unique"):
        ClassificationSchema((task, task), "a")
    with pytest.raises(ValueError, match="no 'classification' block"):
        ClassificationSchema.from_dataset_json({"labels": {}})


GRADES = Task("pathology", ("AAH", "AIS", "MIA", "IAC"), True, Question("non-invasive", "invasive", "IAC", ("MIA",)))


def test_the_kind_of_a_task() -> None:
    assert Task("a", ("x", "y"), ordered=True).kind is TaskKind.BINARY
    assert Task("a", ("x", "y", "z")).kind is TaskKind.NOMINAL
    assert GRADES.kind is TaskKind.ORDINAL


def test_grades_survive_their_block() -> None:
    schema = ClassificationSchema((GRADES, Task("sign", ("no", "yes"))), "pathology")
    assert ClassificationSchema.from_block(json.loads(json.dumps(schema.to_block()))) == schema
    assert "ordered" not in schema.to_block()["tasks"]["sign"]


def test_grades_answer_their_question() -> None:
    assert GRADES.as_binary() == Task("pathology", ("non-invasive", "invasive"))
    assert [GRADES.binary_label(grade) for grade in (*GRADES.classes, None)] == [
        "non-invasive",
        "non-invasive",
        None,
        "invasive",
        None,
    ]
    probs = np.array([[0.1, 0.2, 0.5, 0.2], [0.0, 0.0, 1.0, 0.0]])
    np.testing.assert_allclose(GRADES.binary_probabilities(probs), [[0.6, 0.4], [0.0, 0.0]])


def test_without_a_question_the_upper_half_is_positive() -> None:
    task = Task("vote", ("1", "2", "3", "4", "5"), ordered=True)
    assert task.as_binary().classes == ("below 3", "3 or above")
    assert task.binary_label("3") == "3 or above"


def test_a_binary_task_is_its_own_question_and_a_nominal_one_has_none() -> None:
    task = Task("a", ("no", "yes"))
    assert task.as_binary() is task
    assert task.binary_label("yes") == "yes"
    with pytest.raises(ValueError, match="nominal"):
        Task("a", ("x", "y", "z")).as_binary()


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Question("no", "yes", "IA"), "names \\['IA'\\]"),
        (Question("no", "yes", "AAH"), "must lie below 'AAH'"),
        (Question("no", "yes", "AIS", ("AAH",)), "must lie below 'AIS'"),
        (Question("no", "yes", "AIS", ("IAC",)), "no undecided grade above it"),
        (Question("no", "yes", "MIA", ("MIA",)), "cannot be undecided"),
        (Question("no", "no", "MIA"), "two names|need two names"),
    ],
)
def test_questions_that_make_no_sense_are_refused(question: Question, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Task("pathology", GRADES.classes, True, question)


def test_only_grades_are_asked() -> None:
    with pytest.raises(ValueError, match="nominal"):
        Task("a", ("x", "y", "z"), False, Question("no", "yes", "y"))
    with pytest.raises(ValueError, match="colour"):
        Task.from_block("a", {"classes": ["x", "y"], "colour": "red"})
    with pytest.raises(ValueError, match="true or false"):
        Task.from_block("a", {"classes": ["x", "y", "z"], "ordered": "yes"})


@pytest.mark.parametrize(
    ("labels", "others"),
    [
        ({"background": 0, "nodule": 1}, None),
        ({"background": 0, "lesion": 1}, None),
        ({"background": 0, "solid nodule": 1, "ground-glass nodule": 2}, None),
        ({"background": 0, "lung": 1, "nodule": 2}, "lung"),
        ({"background": 0, "lung": 1, "vessel": 2}, "'lung', 'vessel'"),
    ],
)
def test_what_is_no_nodule_is_no_label(labels: dict[str, int], others: str | None) -> None:
    content = {"labels": labels, "classification": SCHEMA.to_block()}
    if others is None:
        assert ClassificationSchema.from_dataset_json(content) == SCHEMA
    else:
        with pytest.raises(ValueError, match=rf"Make \[.*{others}.*\] background"):
            ClassificationSchema.from_dataset_json(content)


def test_covariates_are_in_the_block_and_share_no_name() -> None:
    tasks = (Task("invasiveness", ("no", "yes")),)
    schema = ClassificationSchema(tasks, "invasiveness", (Covariate("age", "years"), Covariate("sex", "", ("f", "m"))))
    assert ClassificationSchema.from_block(schema.to_block()) == schema
    assert "covariates" not in ClassificationSchema(tasks, "invasiveness").to_block()
    for name in ("invasiveness", "diameter_mm", "invasiveness_votes"):
        with pytest.raises(ValueError, match="has the name of another column"):
            ClassificationSchema(tasks, "invasiveness", (Covariate(name),))
    with pytest.raises(ValueError, match="another covariate"):
        ClassificationSchema(tasks, "invasiveness", (Covariate("age"), Covariate("age")))
