"""Group columns: categories as they are, numbers in bands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dsmt_nnunet.csv_table import number_or_nan
from dsmt_nnunet.identifiers import look_alikes, same_name_key

MAX_NUMERIC_LEVELS = 10


@dataclass(frozen=True)
class GroupColumn:
    """A column to form subgroups of, written `COLUMN` or `COLUMN=EDGE,EDGE` on the command line.

    Attributes:
        name: of the column.
        edges: rising edges of bands of numbers; empty for categories.
    """

    name: str
    edges: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> GroupColumn:
        """Parses `COLUMN` or `COLUMN=8,15`.

        Raises:
            ValueError: edges that are no rising numbers.
        """
        name, _, listed = text.partition("=")
        if not listed:
            return cls(name)
        try:
            edges = tuple(float(part) for part in listed.split(","))
        except ValueError:
            raise ValueError(f"--group {text}: the edges must be numbers, as in --group diameter_mm=8,15.") from None
        if not all(math.isfinite(edge) for edge in edges) or list(edges) != sorted(set(edges)):
            raise ValueError(f"--group {text}: the edges must rise, as in --group diameter_mm=8,15.")
        return cls(name, edges)

    def levels(self, values: Sequence[str]) -> tuple[str, ...]:
        """Level of each value; "" stays "".

        Raises:
            ValueError: bands of something that is no number, numbers of many values without bands, or levels that are
                spellings of one.
        """
        if self.edges:
            return tuple(self._band(value) for value in values)
        distinct = {value for value in values if value}
        if len(distinct) > MAX_NUMERIC_LEVELS and all(_is_number(value) for value in distinct):
            raise ValueError(
                f"Group column '{self.name}' holds {len(distinct)} different numbers. Give the edges of bands, as in "
                f"--group {self.name}=8,15."
            )
        check_spellings(f"Group column '{self.name}'", values)
        return tuple(values)

    def _band(self, value: str) -> str:
        if not value:
            return ""
        if not _is_number(value):
            raise ValueError(f"Group column '{self.name}' is to be cut into bands, but holds '{value}'.")
        number = number_or_nan(value)
        if number < self.edges[0]:
            return f"< {self.edges[0]:g}"
        for lower, upper in zip(self.edges, self.edges[1:], strict=False):
            if number < upper:
                return f"{lower:g} to < {upper:g}"
        return f">= {self.edges[-1]:g}"


def check_spellings(what: str, names: Iterable[str]) -> None:
    """Refuses names of groups, folds or classes of which two would be one, were they spelt alike.

    Raises:
        ValueError: such as `M` and `m`, or `1` and `1.0`.
    """
    if alike := look_alikes(names, same_name_key):
        spellings = ", ".join(f"'{name}'" for name in alike[0])
        raise ValueError(f"{what} holds {spellings}, which differ in letter case, blanks or zeros. Spell one way.")


def _is_number(text: str) -> bool:
    return math.isfinite(number_or_nan(text))
