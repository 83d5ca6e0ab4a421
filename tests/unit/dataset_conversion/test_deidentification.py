from __future__ import annotations

from pathlib import Path

import pytest

from dsmt_nnunet.dataset_conversion.deidentification import Pseudonyms, tells_who


def test_a_hospitals_numbers_of_scans_go_with_the_pseudonyms() -> None:
    names = Pseudonyms(Path("names.csv"), {"7": "A", "8": "B", "9": "C"})
    cases = [("7", "7-1"), ("8", "00812"), ("9", "F17"), ("9", "F17"), ("9", "F23"), ("7", "7_20240105")]
    assert names.of_cases(cases) == {
        ("7", "7-1"): "A-1",
        ("8", "00812"): "B",
        ("9", "F17"): "C_1",
        ("9", "F23"): "C_2",
        ("7", "7_20240105"): "A_2",
    }


@pytest.mark.parametrize(
    ("header", "tells"),
    [
        *((name, True) for name in ("Geb.-Datum", "GebDat", "geb. am", "Zuweiser", "Referring physician", "Telefon")),
        *((name, True) for name in ("patient_dob", "home_address", "home_phone", "patient_SSN", "geb_am")),
        *((name, True) for name in ("Patient", "Patientin ", "Pat.", "患者")),
        *((name, False) for name in ("Patient ID", "Pat.-Nr.", "患者ID")),
        *((name, True) for name in ("Hausarzt", "E-Mail", "Anschrift", "身份证号", "电话")),
        *((name, False) for name in ("Gebiet", "preferred_side", "series_name", "filename", "Herd-Nr.", "OP-Datum")),
    ],
)
def test_headers_that_tell_who_a_patient_is(header: str, tells: bool) -> None:
    assert tells_who(header) is tells
