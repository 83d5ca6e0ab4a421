from __future__ import annotations

import pytest

from dsmt_nnunet.identifiers import case_id_problem, look_alikes, same_person_key


@pytest.mark.parametrize(
    "case_id",
    [
        *("plans", "Dataset", "summary", "predict_from_raw_data_args", "classification"),
        *("P3.nii.gz", "P5.hdr", "a.NPZ", "A__1", "a" * 129, "", "..", "../a", "a/b", "-a", "a.", "a_seg", "ä", "a b"),
    ],
)
def test_names_that_stand_in_the_way_of_files_are_refused(case_id: str) -> None:
    assert case_id_problem(case_id) is not None


@pytest.mark.parametrize("case_id", ["case_0001", "LIDC-IDRI-0011_1", "a" * 128, "1.2.840.113", "plans2"])
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
