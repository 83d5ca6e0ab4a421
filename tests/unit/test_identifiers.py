from __future__ import annotations

import pytest

from dsmt_nnunet.identifiers import case_id_problem, look_alikes, nobodys_cases, same_name_key, same_person_key


@pytest.mark.parametrize(
    "case_id",
    [
        *("plans", "Dataset", "summary", "predict_from_raw_data_args", "classification"),
        *(
            "P3.nii.gz",
            "P5.hdr",
            "a.NPZ",
            "A__1",
            "a" * 129,
            "",
            "..",
            "../a",
            "a/b",
            "-a",
            "a.",
            "a_seg",
            "ä",
            "a b",
            "con",
            "AUX.1",
            "com3",
        ),
    ],
)
def test_names_that_stand_in_the_way_of_files_are_refused(case_id: str) -> None:
    assert case_id_problem(case_id) is not None


@pytest.mark.parametrize(
    "case_id", ["case_0001", "LIDC-IDRI-0011_1", "a" * 128, "1.2.840.113", "plans2", "console", "com33"]
)
def test_ordinary_names_are_fine(case_id: str) -> None:
    assert case_id_problem(case_id) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A01", "a01"),
        ("1", "01"),
        ("1", "1.0"),
        ("P 1", "P1 "),
        ("0", "00"),
        ("P-1", "p1"),
        ("LIDC_IDRI-07", "lidc_idri07"),
        ("p1", "p\u200b1"),
        ("p1", "p\u00ad1"),
        ("p-1", "p\u20101"),
        ("7-1", "7\u20131"),
        ("12", "\u0661\u0662"),
        ("12", "'12"),
        ("12", "12,0"),
        ("A01", "\u041001"),
        ("Müller", "Mu\u0308ller"),
    ],
)
def test_spellings_of_one_person(one: str, other: str) -> None:
    assert same_person_key(one) == same_person_key(other)
    assert look_alikes(["x", one, other, one]) == [(one, other)]


@pytest.mark.parametrize(
    ("one", "other"),
    [("A1", "A10"), ("A01", "A1"), ("1.5", "15"), ("10", "1"), ("1-12", "11-2"), ("1-1", "11"), ("P1-1", "P11")],
)
def test_different_persons(one: str, other: str) -> None:
    assert same_person_key(one) != same_person_key(other)


@pytest.mark.parametrize(
    ("patient", "why"),
    [
        ("unknown", "as in 1 other cases"),
        (" N/A", "as in 1 other cases"),
        ("?", "as in 1 other cases"),
        ("#REF!", "an error of a spreadsheet"),
        ("########", "an error of a spreadsheet"),
        ("1.23457E+11", "has cut its digits off"),
        ("M\ufffdller", "letters were lost"),
    ],
)
def test_names_that_are_nobodys_join_no_cases(patient: str, why: str) -> None:
    (_, first), (_, second) = nobodys_cases({"a": patient, "b": patient, "c": "P1"})
    assert why in first == second


def test_a_name_like_not_known_of_a_single_case_joins_nothing() -> None:
    assert nobodys_cases({"a": "NA", "b": "P1", "c": "1E5", "d": "P1"}) == []


def test_spellings_of_one_name() -> None:
    assert look_alikes(["IAC", "iac ", "A-1", "A1", "1", "1.0"], same_name_key) == [("IAC", "iac "), ("1", "1.0")]
    assert look_alikes(["non-invasive", "noninvasive", "-1", "1", "1.5", "15"], same_name_key) == []
