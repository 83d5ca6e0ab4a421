"""Dates in the cells of a table: read, and moved by days in the way they are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

_FORMATS = {
    "%Y-%m-%d": r"\d{4}-\d{1,2}-\d{1,2}",
    "%Y/%m/%d": r"\d{4}/\d{1,2}/\d{1,2}",
    "%Y.%m.%d": r"\d{4}\.\d{1,2}\.\d{1,2}",
    "%Y年%m月%d日": r"\d{4}年\d{1,2}月\d{1,2}日",
    "%Y%m%d": r"\d{8}",
    "%d.%m.%Y": r"\d{1,2}\.\d{1,2}\.\d{4}",
    "%d/%m/%Y": r"\d{1,2}/\d{1,2}/\d{4}",
    "%m/%d/%Y": r"\d{1,2}/\d{1,2}/\d{4}",
    "%d-%m-%Y": r"\d{1,2}-\d{1,2}-\d{4}",
    "%m-%d-%Y": r"\d{1,2}-\d{1,2}-\d{4}",
}
_TIME = r"(?P<time>[ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?"
_PATTERNS = {name: re.compile(rf"(?P<day>{pattern}){_TIME}") for name, pattern in _FORMATS.items()}
_YEARS = (1900, 2100)
_HEADER = re.compile(r"(?<!candi)(?<!up)dates?(?![a-z])|datum|日期|日付", re.IGNORECASE)
_SHARE_OF_DATES = 0.5
"""A column of which at least this share of the filled cells are dates is a column of dates, whatever its name."""

_SERIAL = re.compile(r"(?P<days>[2-6]\d{4})(\.\d+)?")
"""Days since `_SERIAL_ORIGIN`, as spreadsheet programs keep a date whose cell is not formatted as one: 1954 to 2091."""
_SERIAL_ORIGIN = date(1899, 12, 30)
_NO_DATE = re.compile(r"\D*|[+-]?\d{1,4}([.,]\d*)?")
"""No digit, or a number that is no day: a year, an age, a size."""
_MONTH = r"(?:jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-zä]*\.?"
_DATE_INSIDE = re.compile(
    r"(?<![\d.])(?:"
    r"\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2(?:\d{4}|\d{2})"
    r"|(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    rf"|\d{{1,2}}\.? ?{_MONTH} ?'?(?:\d{{4}}|\d{{2}})|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}"
    r"|\d{2,4} ?年 ?\d{1,2} ?月(?: ?\d{1,2} ?[日号])?"
    r")(?!\d|\.\d)",
    re.IGNORECASE,
)
"""What looks like a date within other text."""


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


def holds_date(text: str) -> bool:
    """Whether something in a text looks like a date."""
    return _DATE_INSIDE.search(text) is not None


@dataclass(frozen=True)
class ColumnDates:
    """How the dates in one column of a table are read.

    Attributes:
        is_dates: whether the column is one of dates, by its name or by most of its cells; in others a date may stand.
        settled: of the ways in which day or month may come first, those that fit every such cell of the column.
    """

    is_dates: bool
    settled: frozenset[str]

    @classmethod
    def of(cls, name: str, texts: Sequence[str]) -> ColumnDates:
        """Looks at all cells of a column.

        Raises:
            ValueError: none of the cells of a column of dates shows whether day or month comes first.
        """
        filled = [text for text in texts if text]
        read = [text for text in filled if ways_of_writing([text])]
        is_dates = bool(_HEADER.search(name)) or (bool(read) and len(read) >= _SHARE_OF_DATES * len(filled))
        either = [text for text in read if len(ways_of_writing([text])) > 1]
        settled: set[str] = set()
        for text in either:
            ways = ways_of_writing([text])
            alike = [one for one in read if _PATTERNS[ways[0]].fullmatch(one)]
            left = ways_of_writing(alike)
            if len(left) > 1 and is_dates:
                raise ValueError(
                    f"column '{name}': in '{text}' day or month may come first. Write the dates as 2024-01-31."
                )
            settled |= set(left) if len(left) == 1 else set()
        return cls(is_dates, frozenset(settled))

    def moved(self, text: str, days: int) -> str | None:
        """A cell with its date moved; what holds no date stays. None where a date may stand that is not understood."""
        if _NO_DATE.fullmatch(text):
            return text
        ways = ways_of_writing([text])
        chosen = ways if len(ways) == 1 else [way for way in ways if way in self.settled]
        if len(chosen) == 1 and (self.is_dates or not text.isdigit()):
            return shifted(text, chosen[0], days)
        if self.is_dates and (serial := _SERIAL.fullmatch(text)):
            return (_SERIAL_ORIGIN + timedelta(days=int(serial["days"]) + days)).isoformat()
        return None if self.is_dates or ways or holds_date(text) else text


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
