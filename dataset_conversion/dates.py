"""Dates in the cells of a table: read, and moved by days in the way they are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

_FORMATS = {
    "%Y-%m-%d": r"\d{4}-\d{2}-\d{2}",
    "%Y/%m/%d": r"\d{4}/\d{2}/\d{2}",
    "%Y.%m.%d": r"\d{4}\.\d{2}\.\d{2}",
    "%Y%m%d": r"\d{8}",
    "%d.%m.%Y": r"\d{2}\.\d{2}\.\d{4}",
    "%d/%m/%Y": r"\d{2}/\d{2}/\d{4}",
    "%m/%d/%Y": r"\d{2}/\d{2}/\d{4}",
}
_TIME = r"(?P<time>[ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?"
_PATTERNS = {name: re.compile(rf"(?P<day>{pattern}){_TIME}") for name, pattern in _FORMATS.items()}
_YEARS = (1900, 2100)
_HEADER = re.compile(r"date\b|datum|日期|日付", re.IGNORECASE)


def read_date(text: str, written: str) -> date | None:
    """The day in a cell, None where it is none.

    Args:
        text: of the cell; a time may follow.
        written: one of the ways of `ways_of_writing`, as strftime has it.
    """
    found = _PATTERNS[written].fullmatch(text)
    if found is None:
        return None
    try:
        day = datetime.strptime(found["day"], written).date()
    except ValueError:
        return None
    return day if _YEARS[0] <= day.year <= _YEARS[1] else None


def ways_of_writing(texts: Iterable[str]) -> list[str]:
    """Ways in which every one of several cells is a date; empty cells fit any. None without a filled cell."""
    filled = [text for text in texts if text]
    return [name for name in _FORMATS if filled and all(read_date(text, name) is not None for text in filled)]


def date_columns(columns: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Which columns of a table hold dates, and how they are written.

    Args:
        columns: name -> its cells.

    Raises:
        ValueError: a column is called a date but holds something else, or day and month may be either.
    """
    found = {}
    for name, texts in columns.items():
        ways = ways_of_writing(texts)
        if len(ways) > 1:
            raise ValueError(
                f"column '{name}': in '{next(filter(None, texts))}' day or month may come first. Write the dates as "
                f"2024-01-31."
            )
        if not ways and _HEADER.search(name) and any(texts):
            odd = next((text for text in texts if text and not ways_of_writing([text])), texts[0])
            raise ValueError(
                f"column '{name}' is called a date, but not all of its cells are dates written in one way ('{odd}'), "
                f"so that they cannot be shifted. Write them as 2024-01-31, or leave the column out."
            )
        if ways:
            found[name] = ways[0]
    return found


def shifted(text: str, written: str, days: int) -> str:
    """A date moved by days, written as before; "" stays "".

    Raises:
        ValueError: it is no date written so.
    """
    if not text:
        return text
    day = read_date(text, written)
    found = _PATTERNS[written].fullmatch(text)
    if day is None or found is None:
        raise ValueError(f"'{text}' is no date like {written}.")
    return (day + timedelta(days=days)).strftime(written) + (found["time"] or "")
