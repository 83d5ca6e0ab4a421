"""Dates of a table: recognised by all cells of a column, moved as they are written."""

from __future__ import annotations

from datetime import date

import pytest

from dsmt_nnunet.dataset_conversion.dates import date_columns, read_date, shifted, ways_of_writing


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


def test_columns_of_dates() -> None:
    columns = {
        "scan": ["2024-01-05", "", "2024-02-01"],
        "size": ["12", "13"],
        "mixed": ["2024-01-05", "later"],
        "op": [],
    }
    assert date_columns(columns) == {"scan": "%Y-%m-%d"}
    assert read_date("05.01.2024", "%d.%m.%Y") == date(2024, 1, 5)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"scan": ["", "03/04/2024"]}, "in '03/04/2024' day or month may come first"),
        ({"scan date": ["2024-01-05", "spring"]}, "is called a date, but .*'spring'"),
        ({"OP-Datum": ["2024-01-05", "05.01.2024"]}, "is called a date, but .*'2024-01-05'"),
    ],
)
def test_dates_that_cannot_be_moved_are_told(cells: dict[str, list[str]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        date_columns(cells)
