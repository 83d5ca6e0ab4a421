from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsmt_nnunet.covariates import Covariate
from dsmt_nnunet.nodules import EmptyCase, Nodule, NoduleTable, join_votes, nodule_ids, split_votes
from dsmt_nnunet.tasks import UNKNOWN_LABEL, ClassificationSchema, Task

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
    for line, expected in zip(
        lines[1:], ["3: case_id", "4: case 'b'", "5: case 'c'", "positive", "'wood'"], strict=True
    ):
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
    with pytest.raises(ValueError, match="Case 'a' belongs to patient 'p' in one row and to 'q'"):
        NoduleTable((nodule("a", "1"), nodule("a", "2", "q"))).patient_of_case()


def test_a_case_without_a_nodule_is_a_row_that_says_so(tmp_path: Path) -> None:
    table = NoduleTable((nodule("a"),), (EmptyCase("b", "q", {"centre": "north"}),))
    table.write(tmp_path / "nodules.csv", SCHEMA)
    read = NoduleTable.read(tmp_path / "nodules.csv", SCHEMA)
    assert (read.empty, [row.case_id for row in read.nodules]) == (table.empty, ["a"])
    assert (read.case_ids, read.patient_ids, read.patient_of_case()) == (("a", "b"), {"p", "q"}, {"a": "p", "b": "q"})
    assert read.by_case().keys() == {"a"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("b,NONE,q,1,2,3,,", r"the row has \['x_mm', 'y_mm', 'z_mm'\]"),
        ("b,none,q,,,,9,invasive", r"the row has \['diameter_mm', 'invasiveness'\]"),
        ("a,none,p,,,,,", "Case 'a': nodule_id 'none' says that it holds no nodule, but it has another row"),
        ("b,none,q,,,,,\nb,none,q,,,,,", "Case 'b': nodule_id 'none'"),
        ("b,,q,,,,,", "x_mm"),
    ],
)
def test_a_case_that_holds_none_has_nothing_else(tmp_path: Path, row: str, reason: str) -> None:
    header = "case_id,nodule_id,patient_id,x_mm,y_mm,z_mm,diameter_mm,invasiveness\na,1,p,1,2,3,,\n"
    with pytest.raises(ValueError, match=reason):
        NoduleTable.read(write(tmp_path, header + row), SCHEMA)


def test_nodule_ids_are_unique_within_a_case() -> None:
    with pytest.raises(ValueError, match="Nodule '1' of case 'a' occurs twice"):
        NoduleTable((nodule(), nodule()))


VOTED = ClassificationSchema((Task("vote", ("1", "2", "3"), ordered=True), Task("sign", ("no", "yes"))), "vote")


def test_votes_survive_and_become_a_distribution(tmp_path: Path) -> None:
    voted = nodule(labels={"vote": "2", "sign": None}, votes={"vote": ("3", "2", "2", "1")})
    unvoted = nodule(nodule_id="2", labels={"vote": "1", "sign": "yes"})
    path = tmp_path / "nodules.csv"
    NoduleTable((voted, unvoted)).write(path, VOTED)
    table = NoduleTable.read(path, VOTED)
    assert table.nodules[0].votes == {"vote": ("3", "2", "2", "1")}
    assert table.nodules[0].target(VOTED["vote"]) == (0.25, 0.5, 0.25)
    assert table.nodules[0].target(VOTED["sign"]) is None
    assert table.nodules[1].votes == {}
    assert table.nodules[1].target(VOTED["vote"]) == (1.0, 0.0, 0.0)
    assert "vote_votes" not in table.nodules[0].extra


def test_a_vote_that_is_no_class_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 2.*'4' is not a class of task 'vote'"):
        NoduleTable.read(write(tmp_path, "case_id,x_mm,y_mm,z_mm,vote,vote_votes\na,1,2,3,2,2 4\n"), VOTED)


def test_votes_of_classes_with_blanks_are_divided_by_semicolons() -> None:
    assert split_votes(join_votes(("part solid", "solid"))) == ("part solid", "solid")
    assert split_votes("3 3 2") == ("3", "3", "2")


def test_decimal_commas_are_read_and_what_may_be_two_numbers_is_refused(tmp_path: Path) -> None:
    table = NoduleTable.read(write(tmp_path, "Case_ID;X_mm;y_mm;z_mm;diameter_mm\na;-1,5;2;3,25;11,5\n"))
    assert table.nodules[0].centre_mm == (-1.5, 2.0, 3.25)
    assert table.nodules[0].diameter_mm == 11.5
    for text in ("1_2", "1,234", "1 2"):
        with pytest.raises(ValueError, match="x_mm"):
            NoduleTable.read(write(tmp_path, f"case_id;x_mm;y_mm;z_mm\na;{text};2;3\n"))


def test_a_nodule_without_an_id_gets_a_number_that_no_other_has() -> None:
    assert nodule_ids([("a", "2"), ("a", ""), ("b", ""), ("a", ""), ("a", "1")]) == ["2", "3", "1", "4", "1"]
    assert nodule_ids([("a", ""), ("a", "")]) == ["1", "2"]


def test_a_label_whose_column_is_in_other_letters_is_a_label(tmp_path: Path) -> None:
    table = NoduleTable.read(write(tmp_path, "case_id,x_mm,y_mm,z_mm,Texture\na,1,2,3,solid\n"), SCHEMA)
    assert table.nodules[0].labels["texture"] == "solid"


TOLD = replace(SCHEMA, covariates=(Covariate("age", "years"), Covariate("sex", "", ("f", "m"))))


def test_covariates_are_written_and_read_typed(tmp_path: Path) -> None:
    known = replace(nodule("a", "1"), covariates={"age": 63.5, "sex": "m"}, extra={"ward": "3"})
    unknown = replace(nodule("b", "1"), covariates={"age": None})
    path = tmp_path / "nodules.csv"
    NoduleTable((known, unknown)).write(path, TOLD)
    table = NoduleTable.read(path, TOLD)
    assert [dict(own.covariates) for own in table.nodules] == [{"age": 63.5, "sex": "m"}, {"age": None, "sex": None}]
    assert table.nodules[0].extra == {"ward": "3"}
    assert NoduleTable.read(path, covariates=TOLD.covariates).nodules[0].covariates == known.covariates
    assert NoduleTable.read(path).nodules[0].covariates == {}


def test_covariates_may_be_lacking_but_not_be_wrong(tmp_path: Path) -> None:
    table = NoduleTable.read(write(tmp_path, "case_id,x_mm,y_mm,z_mm,age\na,1,2,3, \n"), TOLD)
    assert table.nodules[0].covariates == {"age": None, "sex": None}
    with pytest.raises(ValueError, match="line 2: case 'a': covariate sex is 'x'; its categories are"):
        NoduleTable.read(write(tmp_path, "case_id,x_mm,y_mm,z_mm,sex\na,1,2,3,x\n"), TOLD)


def test_cases_of_patients_that_are_not_known_are_not_one_patient() -> None:
    nodules = tuple(Nodule(case, "1", "unknown", (0.0, 0.0, 0.0)) for case in "ab")
    with pytest.raises(ValueError, match="patient of case 'a' is 'unknown', as in 1 other cases"):
        NoduleTable(nodules).patient_of_case()
