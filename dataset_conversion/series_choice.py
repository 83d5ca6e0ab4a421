"""Rules that decide between several CT series of a patient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dsmt_nnunet.csv_table import CsvRow
from dsmt_nnunet.dataset_conversion.dates import read_date, ways_of_writing
from dsmt_nnunet.dicom.export import Series
from dsmt_nnunet.dicom.slice_grid import slice_distance_mm
from dsmt_nnunet.dicom.structures import matches

CHOICE_KEY = "series_chosen_by"
"""In dataset.json: the rules, in their order."""
THICKNESS_TOLERANCE_MM = 0.05
_PLAIN = ("thinnest", "latest", "earliest")
_WITH_VALUE = ("kernel", "description", "before")


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

    def __str__(self) -> str:
        return f"{self.kind}={self.value}" if self.value else self.kind

    def check_columns(self, columns: Sequence[str]) -> None:
        """Checks that the table has the column that the rule reads.

        Raises:
            ValueError: it lacks it.
        """
        if self.kind == "before" and self.value not in columns:
            raise ValueError(f"--choose before={self.value}: the table has no such column; it has {list(columns)}.")

    def apply(self, candidates: Sequence[Series], row: CsvRow) -> list[Series]:
        """The candidates that the rule keeps.

        Raises:
            ValueError: the cell of `before` holds no date.
        """
        if self.kind == "kernel":
            return [series for series in candidates if matches(series.kernel, self.value)]
        if self.kind == "description":
            return [series for series in candidates if matches(series.text("SeriesDescription"), self.value)]
        if self.kind == "thinnest":
            return _lowest(candidates, lambda series: slice_distance_mm(series) or float("inf"))
        if self.kind == "before":
            limit = self._limit(row)
            candidates = [series for series in candidates if 0 < _day(series) <= limit]
        sign = 1 if self.kind == "earliest" else -1
        return _lowest(candidates, lambda series: sign * _day(series))

    def _limit(self, row: CsvRow) -> int:
        """The date of a row as an ordinal; 0 for an empty cell."""
        text = row.get(self.value)
        ways = ways_of_writing([text])
        if text and len(ways) != 1:
            raise ValueError(
                f"line {row.line}: --choose before={self.value} needs a date, got '{text}'. Write it as 2024-01-31."
            )
        day = read_date(text, ways[0]) if ways else None
        return day.toordinal() if day else 0


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


def _day(series: Series) -> int:
    """The date of a series as an ordinal; 0 where there is none."""
    day = read_date(series.date, "%Y%m%d") or read_date(series.date, "%Y.%m.%d")  # ACR-NEMA wrote points
    return day.toordinal() if day else 0
