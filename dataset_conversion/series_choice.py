"""Rules that decide between several CT series of a patient."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dsmt_nnunet.csv_table import CsvRow
from dsmt_nnunet.dicom.export import Series
from dsmt_nnunet.dicom.series import slice_distance_mm
from dsmt_nnunet.dicom.structures import matches

THICKNESS_TOLERANCE_MM = 0.05
_PLAIN = ("thinnest", "latest", "earliest")
_WITH_VALUE = ("kernel", "description", "before")
_DATE = re.compile(r"(\d{4})[-./]?(\d{2})[-./]?(\d{2})")


@dataclass(frozen=True)
class Choice:
    """One rule.

    Attributes:
        kind: `thinnest`, `latest`, `earliest`, `kernel`, `description` or `before`.
        value: pattern of the kernel or the description; for `before` a column of the table that holds a date.
    """

    kind: str
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> Choice:
        """Reads `thinnest`, `kernel=B50*`, `before=surgery_date`, ...

        Raises:
            ValueError: no such rule.
        """
        kind, _, value = text.partition("=")
        if (kind in _PLAIN and not value) or (kind in _WITH_VALUE and value):
            return cls(kind, value)
        allowed = [*_PLAIN, *(f"{name}=..." for name in _WITH_VALUE)]
        raise ValueError(f"--choose '{text}' is not a rule; rules are {', '.join(allowed)}.")

    def check_columns(self, columns: Sequence[str]) -> None:
        """Checks that the table has the column that the rule reads.

        Raises:
            ValueError: it lacks it.
        """
        if self.kind == "before" and self.value not in columns:
            raise ValueError(f"--choose before={self.value}: the table has no such column; it has {list(columns)}.")

    def apply(self, candidates: Sequence[Series], row: CsvRow) -> list[Series]:
        """The candidates that the rule keeps."""
        if self.kind == "kernel":
            return [series for series in candidates if matches(series.kernel, self.value)]
        if self.kind == "description":
            return [series for series in candidates if matches(series.text("SeriesDescription"), self.value)]
        if self.kind == "thinnest":
            return _lowest(candidates, lambda series: slice_distance_mm(series) or float("inf"))
        if self.kind == "before":
            limit = _day(row.get(self.value))
            candidates = [series for series in candidates if 0 < _day(series.date) <= limit]
        sign = 1 if self.kind == "earliest" else -1
        return _lowest(candidates, lambda series: sign * _day(series.date))


def choose_series(candidates: Sequence[Series], choices: Sequence[Choice], row: CsvRow) -> list[Series]:
    """Applies rules in their order until one series is left; a rule that fits no series is passed over."""
    left = list(candidates)
    for choice in choices:
        if len(left) > 1:
            left = choice.apply(left, row) or left
    return left


def _lowest(candidates: Sequence[Series], key: Callable[[Series], float]) -> list[Series]:
    if not candidates:
        return []
    best = min(key(series) for series in candidates)
    return [series for series in candidates if key(series) <= best + THICKNESS_TOLERANCE_MM]


def _day(text: str) -> int:
    """A date as the number YYYYMMDD; 0 where there is none."""
    found = _DATE.match(text.strip())
    return int("".join(found.groups())) if found else 0
