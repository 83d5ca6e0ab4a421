"""Collecting everything that is wrong with a table before anything is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing to put right.

    Attributes:
        message: what is wrong, the rule, the value received and what to do.
        line: line of the table, None when the problem is not in one row.
        case_id: case concerned, None when there is none.
    """

    message: str
    line: int | None = None
    case_id: str | None = None

    def __str__(self) -> str:
        where = []
        if self.line is not None:
            where.append(f"line {self.line}")
        if self.case_id:
            where.append(f"case '{self.case_id}'")
        return f"{', '.join(where)}: {self.message}" if where else self.message


class ConversionError(ValueError):
    """A table that cannot be converted; `problems` holds all that was found, in the order of the lines."""

    def __init__(self, source: object, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        listed = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{source}: {count}; nothing was written.\n{listed}")
