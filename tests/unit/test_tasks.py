from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from dsmt_nnunet.tasks import UNKNOWN_LABEL, ClassificationSchema, Nodule, NoduleTable, Task

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


def test_table_survives_writing_and_reading(tmp_path: Path) -> None:
    table = NoduleTable(
        (
            nodule(labels={"invasiveness": "invasive", "texture": None}, diameter_mm=12.5, extra={"cohort": "x, y"}),
            nodule("b", "left", labels={"invasiveness": None, "texture": "solid"}, extra={"cohort": ""}),
        )
    )
    table.write(tmp_path / "nodules.csv", SCHEMA)
    read = NoduleTable.read(tmp_path / "nodules.csv", SCHEMA)
    assert read.nodules[0] == table.nodules[0]
    assert math.isnan(read.nodules[1].diameter_mm)
    assert read.nodules[1].label_indices(SCHEMA) == (UNKNOWN_LABEL, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["nodules.csv"]


def test_reading_fills_in_what_may_be_missing(tmp_path: Path) -> None:
    table = NoduleTable.read(write(tmp_path, "case_id,x_mm,y_mm,z_mm\na,1,2,3\nb,1,2,3\na,4,5,6\n"), SCHEMA)
    assert [(n.case_id, n.nodule_id, n.patient_id) for n in table.nodules] == [
        ("a", "1", "a"),
        ("b", "1", "b"),
        ("a", "2", "a"),
    ]
    assert table.nodules[0].labels == {"invasiveness": None, "texture": None}


def test_without_schema_labels_are_carried_along(tmp_path: Path) -> None:
    table = NoduleTable.read(write(tmp_path, "case_id,x_mm,y_mm,z_mm,texture\na,1,2,3,solid\n"))
    assert table.nodules[0].extra == {"texture": "solid"}


def test_all_bad_rows_are_named(tmp_path: Path) -> None:
    header = "case_id,x_mm,y_mm,z_mm,diameter_mm,texture\n"
    path = write(tmp_path, header + "a,1,2,3,,\n,1,2,3,,\nb,x,2,3,,\nc,inf,2,3,,\nd,1,2,3,0,\ne,1,2,3,,wood\n")
    with pytest.raises(ValueError) as caught:
        NoduleTable.read(path, SCHEMA)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("5 bad rows.")
    for line, expected in zip(lines[1:], ["3: case_id", "4: case 'b'", "finite", "positive", "'wood'"], strict=True):
        assert expected in line


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"required columns \['y_mm', 'z_mm'\] are missing"):
        NoduleTable.read(write(tmp_path, "case_id,x_mm\na,1\n"))


def test_grouping_by_case_and_patient() -> None:
    table = NoduleTable((nodule("a", "1"), nodule("b", "1", "q"), nodule("a", "2")))
    assert {case: [n.nodule_id for n in nodules] for case, nodules in table.by_case().items()} == {
        "a": ["1", "2"],
        "b": ["1"],
    }
    assert table.patient_of_case() == {"a": "p", "b": "q"}
    assert len(table.subset(["a"])) == 2
    with pytest.raises(ValueError, match="Case 'a' belongs to patient 'p' in one row and to 'q'"):
        NoduleTable((nodule("a", "1"), nodule("a", "2", "q"))).patient_of_case()


def test_nodule_ids_are_unique_within_a_case() -> None:
    with pytest.raises(ValueError, match="Nodule '1' of case 'a' occurs twice"):
        NoduleTable((nodule(), nodule()))
