"""Remarks and totals below a table, which are read as rows and are none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from statistics import median

from dsmt_nnunet.csv_table import CsvTable
from dsmt_nnunet.dataset_conversion.problems import Problem

_SPARSE = 0.5
"""A row that fills at most this share of the cells that rows usually fill may be a remark."""


def remark_hints(table: CsvTable) -> dict[int, str]:
    """Line -> a sentence, for the rows at the end of a table that fill few cells.

    They are refused by nothing but what they lack: a last nodule of which little is known looks the same.
    """
    filled = [sum(map(bool, row.values.values())) for row in table.rows]
    most = _SPARSE * median(filled) if filled else 0
    hints = {}
    for row, count in zip(reversed(table.rows), reversed(filled), strict=True):
        if count > most:
            break
        shown = next(text for text in row.values.values() if text)
        hints[row.line] = (
            f"The row fills {count} of {len(table.columns)} cells ('{shown[:40]}'), as a remark or a total below a "
            f"table does: take it out if it is one."
        )
    return hints


def with_hints(problems: Iterable[Problem], table: CsvTable) -> list[Problem]:
    """The problems; those of rows that may be remarks say so."""
    hints = remark_hints(table)
    return [replace(own, message=f"{own.message} {hints[own.line]}") if own.line in hints else own for own in problems]
