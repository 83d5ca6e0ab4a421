from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dsmt_nnunet.dataset_conversion.mapping import (
    DEFAULT_MAPPING,
    TaskMapping,
    normalise_term,
)
from dsmt_nnunet.dataset_conversion.mapping_file import parse_mapping, read_mapping
from dsmt_nnunet.tasks import TaskKind

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "lidc-mapping.yaml"


def write(folder: Path, text: str) -> Path:
    path = folder / "mapping.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("one", "other"), [("1", "1.0"), (" Yes ", "yes"), ("IAC", "iac"), ("a  b", "A B"), ("+1", "1"), ("2.50", "2.5")]
)
def test_terms_that_are_the_same(one: str, other: str) -> None:
    assert normalise_term(one) == normalise_term(other)


@pytest.mark.parametrize(("one", "other"), [("1", "-1"), ("+", "-"), ("1", "10"), ("0", "")])
def test_terms_that_differ(one: str, other: str) -> None:
    assert normalise_term(one) != normalise_term(other)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("AAH", "non-invasive"),
        ("ais", "non-invasive"),
        ("MIA", "non-invasive"),
        ("Adenocarcinoma in situ", "non-invasive"),
        ("minimally invasive adenocarcinoma", "non-invasive"),
        ("noninvasive", "non-invasive"),
        ("IAC", "invasive"),
        ("IA", "invasive"),
        ("Invasive Adenocarcinoma", "invasive"),
        ("", None),
        ("n/a", None),
    ],
)
def test_pathology_terms(term: str, expected: str | None) -> None:
    assert DEFAULT_MAPPING.tasks[0].label(term) == expected


@pytest.mark.parametrize("task", DEFAULT_MAPPING.tasks[1:], ids=lambda task: task.name)
def test_sign_terms(task: TaskMapping) -> None:
    for present, absent in (
        ("yes", "no"),
        ("1", "0"),
        ("Present", "Absent"),
        ("TRUE", "FALSE"),
        ("y", "n"),
        ("+", "-"),
    ):
        assert (task.label(present), task.label(absent)) == ("present", "absent")
    assert task.label("unknown") is None


def test_unknown_terms_name_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"column 'pathology': 'acinar' .*non-invasive: AAH.*invasive: IAC.*--mapping"):
        DEFAULT_MAPPING.tasks[0].label("acinar")


def test_signs_are_left_out_where_the_table_has_no_column() -> None:
    restricted = DEFAULT_MAPPING.restrict_to(["case_id", "pleural_retraction"])
    assert restricted.schema.task_names == ("invasiveness", "pleural_retraction")


def test_example_file() -> None:
    mapping = read_mapping(EXAMPLE)
    malignancy = mapping.schema.primary
    assert [malignancy.binary_label(str(vote)) for vote in range(1, 6)] == [
        "benign",
        "benign",
        None,
        "malignant",
        "malignant",
    ]
    assert mapping.tasks[0].votes == ("malignancy_votes",)
    assert mapping.column_of("x_mm", ["x_mm"]) is None


def test_words_that_yaml_would_change_stay_words(tmp_path: Path) -> None:
    text = "primary_task: sign\ntasks: {sign: {classes: {no: [no, off, 0], yes: [yes, 1], 2nd: 2}}}"
    (task,) = read_mapping(write(tmp_path, text)).tasks
    assert task.column == "sign"
    assert list(task.classes) == ["no", "yes", "2nd"]
    assert [task.label(term) for term in ("off", "YES", "2")] == ["no", "yes", "2nd"]


BINARY = "{classes: {low: [1], high: [2]}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks: [", "not a readable YAML file"),
        ("", "the file: must be a mapping"),
        (f"tasks: {{t: {BINARY}}}", r"keys \['primary_task'\] are missing"),
        ("primary_task: t", r"keys \['tasks'\] are missing"),
        ("primary_task: t\ntasks: {}", "at least one task"),
        (f"primary_task: t\ntasks: {{t: {BINARY}}}\ncolumn: x", r"keys \['column'\] are not allowed; allowed are"),
        (f"primary_task: t\ntasks: {{t: {BINARY}}}\ncolumns: {{case: x}}", r"columns: keys \['case'\] are not allowed"),
        (f"primary_task: t\ntasks: {{t: {BINARY}}}\ncolumns: {{case_id: [x]}}", "columns: case_id: must be one word"),
        ("primary_task: t\ntasks: {t: {column: x}}", r"tasks: t: keys \['classes'\] are missing"),
        ("primary_task: t\ntasks: {t: {klasses: x, classes: {}}}", r"tasks: t: keys \['klasses'\] are not allowed"),
        ("primary_task: t\ntasks: {t: {classes: [a, b]}}", "tasks: t: classes: must be a mapping"),
        ("primary_task: t\ntasks: {t: {classes: {a: {b: c}, d: e}}}", "classes: a: must be a term or a list"),
        ("primary_task: t\ntasks: {t: {classes: {a: 1}}}", "at least two classes"),
        ("primary_task: t\ntasks: {t: {classes: {a: 1, b: 1.0}}}", "'1' stands for class 'a' and for class 'b'"),
        ("primary_task: t\ntasks: {t: {classes: {a: 1, b: 2}, unknown: 2}}", "class 'b' and for 'not known'"),
        (f"primary_task: u\ntasks: {{t: {BINARY}}}", "primary task 'u'"),
        (f"primary_task: t\ntasks: {{two words: {BINARY}}}", "Task name 'two words'"),
        (f"primary_task: t\ntasks:\n  t: {BINARY}\n  t: {BINARY}", r"keys \['t'\] stand more than once"),
    ],
)
def test_malformed_mappings(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_mapping(write(tmp_path, text))
    assert "mapping.yaml" in str(caught.value)


GRADED = {
    "primary_task": "vote",
    "tasks": {
        "vote": {
            "ordered": "true",
            "classes": {"low": ["1", "2"], "middle": "3", "high": ["4", "5"]},
            "votes": ["reader_1", "reader_2"],
            "question": {"negative": "benign", "positive": "malignant", "from": "high", "undecided": "middle"},
            "unknown": "x",
        }
    },
}


def test_grades_and_votes() -> None:
    mapping = parse_mapping(GRADED)
    task = mapping.schema.primary
    assert task.kind is TaskKind.ORDINAL
    assert task.as_binary().classes == ("benign", "malignant")
    assert task.binary_label("middle") is None
    assert mapping.tasks[0].vote("1 5 x 3") == ("low", "high", "middle")
    assert mapping.tasks[0].vote("") == ()
    with pytest.raises(ValueError, match="'7' is not a known term"):
        mapping.tasks[0].vote("1 7")
    assert mapping.missing_votes(["vote", "reader_1"]) == ["reader_2"]
    assert mapping.restrict_to(["vote", "reader_1"]).tasks[0].votes == ("reader_1",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ordered": "yes"}, "must be true or false"),
        ({"question": {"negative": "a", "positive": "b"}}, "'from'"),
        ({"question": {"negative": "a", "positive": "b", "from": "top"}}, "top"),
        ({"ordered": "false"}, "nominal"),
    ],
)
def test_grades_that_make_no_sense_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_mapping({**GRADED, "tasks": {"vote": {**GRADED["tasks"]["vote"], **change}}})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("35917049", "35917007", False),
        ("1.0", "01", True),
        ("0.50", ".5", False),
        ("-0.0", "0", True),
        ("1" * 40, "1" * 39 + "2", False),
        ("T1a ", "t1A", True),
    ],
)
def test_codes_are_compared_digit_by_digit(one: str, other: str, same: bool) -> None:
    assert (normalise_term(one) == normalise_term(other)) is same


TOLD = """
primary_task: t
tasks: {t: {classes: {a: [a], b: [b]}}}
covariates:
  age: {unit: years}
  cea: {column: "CEA [ng/ml]", unit: ng/mL, unknown: [n/a]}
  sex: {categories: {female: [f, w, 女], male: [m, 男]}, unknown: ["?"]}
  packs:
"""


def test_covariates_are_numbers_with_units_or_categories(tmp_path: Path) -> None:
    mapping = read_mapping(write(tmp_path, TOLD))
    age, cea, sex, packs = mapping.covariates
    assert [own.covariate for own in mapping.covariates] == list(mapping.schema.covariates)
    assert (age.column, age.unit, cea.column, packs.unit) == ("age", "years", "CEA [ng/ml]", "")
    assert (age.value("63"), cea.value("3,25"), cea.value("N/A"), age.value("")) == (63.0, 3.25, None, None)
    assert (sex.value("W"), sex.value("男"), sex.value("?"), sex.value(" ")) == ("female", "male", None, None)
    assert mapping.restrict_to(["t"]).covariates == mapping.covariates
    assert mapping.missing_columns(["t", "age", "sex", "packs"]) == [
        "the column for covariate cea (column 'CEA [ng/ml]') is missing; the table has ['t', 'age', 'sex', 'packs']."
    ]


@pytest.mark.parametrize(("name", "text"), [("age", "old"), ("age", "<5"), ("cea", "1,234"), ("sex", "x")])
def test_covariates_of_another_type_are_refused(tmp_path: Path, name: str, text: str) -> None:
    (own,) = (own for own in read_mapping(write(tmp_path, TOLD)).covariates if own.name == name)
    with pytest.raises(ValueError, match=re.escape(f"column '{own.column}'")):
        own.value(text)


@pytest.mark.parametrize(
    ("covariates", "message"),
    [
        ("{born: {column: Date of birth}}", "tells who a patient is"),
        ("{who: {column: 姓名}}", "tells who a patient is"),
        ("{id: {column: patient_id}}", "names the case or its files"),
        ("{scan: {column: scan}}", "names the case or its files"),
        ("{answer: {column: t}}", "holds what is asked for"),
        ("{t: {column: other}}", "another column"),
        ("{age: {units: years}}", "allowed are"),
        ("{sex: {categories: {f: [x], m: [x]}}}", "A term has one meaning"),
        ("[age]", "must be a mapping"),
    ],
)
def test_covariates_that_break_a_rule(tmp_path: Path, covariates: str, message: str) -> None:
    text = "columns: {image: scan}\nprimary_task: t\ntasks: {t: {classes: {a: [a], b: [b]}}}\n"
    with pytest.raises(ValueError, match=message):
        read_mapping(write(tmp_path, text + f"covariates: {covariates}"))
