"""What is checked in the table itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.dataset_conversion.hospital import Hospital, cube_mask


def test_required_columns_are_named(hospital: Hospital) -> None:
    hospital.rows.append({"case": "a", "histology": "AIS"})
    problems = hospital.problems()
    assert "task invasiveness (column 'pathology') is missing; the table has ['case', 'histology']" in problems[0]
    assert "a column case_id or patient_id is required" in problems[1]


def test_a_position_needs_three_columns(hospital: Hospital) -> None:
    assert "has ['x_mm', 'y_mm'] only" in hospital.add(x_mm=1, y_mm=2).problem()


def test_an_empty_table(hospital: Hospital) -> None:
    hospital.rows.append({"case_id": "", "pathology": ""})
    assert "no rows" in hospital.problem()


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"pathology": "acinar"}, "column 'pathology': 'acinar' is not a known term of invasiveness"),
        ({"bubble_lucency": "maybe"}, "column 'bubble_lucency': 'maybe'"),
        ({"split": "validation"}, "split must be one of ['train', 'test'] (empty means train), got 'validation'"),
        ({"diameter_mm": "big"}, "diameter_mm must be a number, got 'big'"),
        ({"diameter_mm": "nan"}, "diameter_mm must be a number, got 'nan'"),
        ({"diameter_mm": "0"}, "diameter_mm must be above 0, got '0'"),
        ({"diameter_mm": "-3"}, "diameter_mm must be above 0, got '-3'"),
        ({"mask_label": "0"}, "mask_label must be a whole number from 1 on"),
        ({"mask_label": "1.5"}, "mask_label must be a whole number from 1 on"),
        ({"x_mm": "1", "y_mm": "", "z_mm": "2"}, "y_mm must be a number, got ''"),
    ],
)
def test_cells(hospital: Hospital, cells: dict[str, Any], message: str) -> None:
    problem = hospital.add_pair().add("c", **cells).problem()
    assert problem.startswith("line 4, case 'c': ")
    assert message in problem


@pytest.mark.parametrize("case_id", ["a b", ".a", "-a", "a/b", "a_seg"])
def test_case_ids_that_are_no_file_names(hospital: Hospital, case_id: str) -> None:
    assert f"got '{case_id}'. Rename the case." in hospital.add_pair().add(case_id, files=False).problem()


def test_patient_ids_that_are_no_file_names_need_a_case_id(hospital: Hospital) -> None:
    hospital.add_pair().add("", files=False, patient_id="Doe, Jane")
    assert "got 'Doe, Jane'. Add a column case_id" in hospital.problem()


def test_rows_without_any_id(hospital: Hospital) -> None:
    assert (
        hospital.add_pair().add("", files=False).problem().startswith("line 4: case_id and patient_id are both empty")
    )


def test_duplicate_nodules(hospital: Hospital) -> None:
    for label in (1, 2):
        hospital.add("a", nodule_id="left", mask_label=label)
    hospital.put_mask("a.nii.gz", cube_mask(1, 2, 1) + cube_mask(6, 2, 2))
    problem = hospital.problem()
    assert problem.startswith("line 3, case 'a': nodule_id 'left' of this case stands in line 2 already")


def test_rows_of_a_case_agree(hospital: Hospital) -> None:
    hospital.add("a", mask_label=1, patient_id="p", split="train", image="a")
    hospital.add("a", mask_label=2, patient_id="q", split="test", image="b.nii.gz")
    hospital.put_mask("a.nii.gz", cube_mask(1, 2, 1) + cube_mask(6, 2, 2))
    problems = hospital.problems()
    assert [problem.split(" is ")[0] for problem in problems] == [
        f"line 3, case 'a': {what}" for what in ("patient_id", "split", "image")
    ]
    assert "'q' here and 'p' in line 2" in problems[0]


def test_a_patient_in_train_and_test(hospital: Hospital) -> None:
    hospital.add_pair().add("c", patient_id="p", split="train").add("d", patient_id="p", split="Test")
    assert "patient 'p' is in test here and in train in line 4 (case 'c')" in hospital.problem()


def test_case_ids_that_differ_in_letter_case_only(hospital: Hospital) -> None:
    hospital.add_pair().add("A")
    assert "line 4, case 'A': case_id differs from 'a' (line 2)" in hospital.problem()


def test_patients_that_are_not_known_are_not_one_patient(hospital: Hospital) -> None:
    hospital.add("a", patient_id="unknown").add("b", "IAC", patient_id="unknown").add("c", patient_id="p3")
    first, second = hospital.problems()
    assert "line 2, case 'a': the patient is 'unknown', as in 1 other cases" in first
    assert second.startswith("line 3, case 'b'")


@pytest.mark.parametrize(
    ("column", "test", "train"),
    [
        ("cohort", "Test set", "Training set"),
        ("is_test", "1", "0"),
        ("Hold-out", "yes", "no"),
        ("group", "held out", "dev"),
    ],
)
def test_a_column_that_divides_the_data_is_not_passed_over(
    hospital: Hospital, column: str, test: str, train: str
) -> None:
    hospital.add("a", **{column: test}).add("b", "IAC", **{column: train})
    assert f"column '{column}' holds" in hospital.problem()


def test_a_finding_is_no_division_of_the_data(hospital: Hospital) -> None:
    hospital.add_pair()
    for row, answer in zip(hospital.rows, ("yes", "no"), strict=True):
        row["contest"] = answer
    assert hospital.convert().is_dir()


def test_several_nodules_in_one_mask_must_be_told_apart(hospital: Hospital) -> None:
    hospital.add("a").add("a", "IAC")
    problems = hospital.problems()
    assert [problem[:7] for problem in problems] == ["line 2,", "line 3,"]
    assert "2 nodules share the mask 'a'" in problems[0]
    assert all(word in problems[0] for word in ("mask_label", "column mask ", "x_mm, y_mm, z_mm"))


def test_a_wrong_mask_label_is_not_reported_as_missing_too(hospital: Hospital) -> None:
    hospital.add("a", mask_label=1).add("a", "IAC", mask_label="two")
    assert "line 3, case 'a': mask_label must be a number, got 'two'" in hospital.problem()


def test_a_mask_label_belongs_to_one_nodule(hospital: Hospital) -> None:
    hospital.add("a", mask_label=1).add("a", "IAC", mask_label=1)
    assert any("mask_label 1 of mask 'a' belongs to the nodule of line 2" in problem for problem in hospital.problems())


def test_problems_of_all_rows_come_together(hospital: Hospital) -> None:
    hospital.add("a", "acinar", split="later")
    hospital.add("b", diameter_mm="x").put_mask("b.nii.gz", cube_mask() * 0)
    hospital.add("c", files=False)
    problems = hospital.problems()
    assert [problem.split(":")[0] for problem in problems] == [
        "line 2, case 'a'",
        "line 2, case 'a'",
        "line 3, case 'b'",
        "line 3, case 'b'",
        "line 4, case 'c'",
        "line 4, case 'c'",
    ]
