"""Dates of a table: recognised by all cells of a column, moved as they are written."""

from __future__ import annotations

import pytest

from dsmt_nnunet.dataset_conversion.dates import ColumnDates, holds_date, read_date, shifted, ways_of_writing


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("2024-03-01", "2024-02-29"),
        ("2024/01/01", "2023/12/31"),
        ("20240301", "20240229"),
        ("01.03.2023", "28.02.2023"),
        ("31/01/2024", "30/01/2024"),
        ("01/31/2024", "01/30/2024"),
        ("2024-03-01 10:15:00", "2024-02-29 10:15:00"),
        ("2024-03-01T10:15", "2024-02-29T10:15"),
    ],
)
def test_dates_move_and_keep_their_form(text: str, moved: str) -> None:
    (written,) = ways_of_writing([text])
    assert shifted(text, written, -1) == moved
    assert shifted("", written, -1) == ""


def test_what_is_no_date() -> None:
    assert read_date("2024-02-30", "%Y-%m-%d") is None
    assert read_date("12345678", "%Y%m%d") is None
    assert read_date("4711", "%Y%m%d") is None
    assert ways_of_writing(["", ""]) == []
    with pytest.raises(ValueError, match="'x' is no date"):
        shifted("x", "%Y%m%d", 1)


def moved(name: str, *cells: str) -> list[str | None]:
    """The cells of a column, a day later."""
    dates = ColumnDates.of(name, cells)
    return [dates.moved(cell, 1) for cell in cells]


@pytest.mark.parametrize(
    ("name", "cells", "later"),
    [
        ("scan", ["2024-01-05", "", "2024-02-01"], ["2024-01-06", "", "2024-02-02"]),
        ("size", ["12", "13,5", "2019"], ["12", "13,5", "2019"]),
        # each written in its own way, a serial number among them
        ("OP-Datum", ["2024-01-31", "5.1.2024", "45296", "45296.5"], ["2024-02-01", "06.01.2024"] + ["2024-01-06"] * 2),
        # a day beyond 12 settles the others of its kind
        ("ct", ["31/01/2024", "03/04/2024", "2024年2月1日"], ["01/02/2024", "04/04/2024", "2024年02月02日"]),
        ("ct", ["01-31-2024", "03-04-2024"], ["02-01-2024", "03-05-2024"]),
        # contradictory: only what shows its own order is known
        ("ct", ["31/01/2024", "01/31/2024", "03/04/2024"], ["01/02/2024", "02/01/2024", None]),
        (
            "scan_date",
            ["2024-01-05", "spring", "Jan 2024", "5.1.24", "1.5.", "67"],
            ["2024-01-06", "spring", None, None, None, "67"],
        ),
        ("candidate", ["yes", "no 3"], ["yes", "no 3"]),
        # a date in a column of something else
        (
            "remark",
            ["2024-01-05", *"abcd", "CT on 5.1.2024", "Jan 5th, 2024", "2024年1月", "20240105", "03/04/2024"],
            ["2024-01-06", *"abcd", None, None, None, None, None],
        ),
        ("remark", ["a", "id 12345678", "1.2.840.10008.5", "45296"], ["a", "id 12345678", "1.2.840.10008.5", "45296"]),
    ],
)
def test_columns_of_dates(name: str, cells: list[str], later: list[str | None]) -> None:
    assert moved(name, *cells) == later


@pytest.mark.parametrize(("name", "cells"), [("scan", ["", "03/04/2024"]), ("CT date", ["spring", "03-04-2024", "x"])])
def test_day_and_month_are_not_guessed(name: str, cells: list[str]) -> None:
    with pytest.raises(ValueError, match=f"column '{name}': in '03.04.2024' day or month may come first"):
        ColumnDates.of(name, cells)


def test_dates_in_the_names_of_cases() -> None:
    assert holds_date("P01_20240105")
    assert holds_date("P01 5-1-24")
    assert not holds_date("P01_0003-12")
