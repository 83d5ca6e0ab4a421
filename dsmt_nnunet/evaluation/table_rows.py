"""What holds of the rows of every table that is evaluated: which count, whose they are, and that each counts once."""

from __future__ import annotations

from collections.abc import Sequence

from dsmt_nnunet.csv_table import CsvRow, CsvTable
from dsmt_nnunet.evaluation.patients import (
    INDEPENDENT,
    column_like,
    patients,
    warn_of_independence,
    warn_of_shared_cases,
)
from dsmt_nnunet.statistics.checks import named_rows
from dsmt_nnunet.statistics.named_warnings import IncompleteDataWarning, WarningLog

CASE_COLUMN, NODULE_COLUMN = "case_id", "nodule_id"
"""Where a table has the first, however spelt, rows that are alike in every cell are copies; where it has both, rows
that name one nodule are."""


def require_columns(table: CsvTable, names: Sequence[str]) -> None:
    """
    Raises:
        ValueError: the table lacks a column.
    """
    missing = [name for name in dict.fromkeys(names) if name not in table.columns]
    if missing:
        raise ValueError(f"{table.path} has no column {missing}; its columns are {list(table.columns)}.")


def known_rows(table: CsvTable, truth: str, log: WarningLog) -> list[CsvRow]:
    """Rows whose truth is known.

    Raises:
        ValueError: there is none.
    """
    rows = [row for row in table.rows if row.get(truth)]
    if not rows:
        raise ValueError(f"{table.path}: no row has a value in the truth column '{truth}'.")
    if len(rows) < len(table.rows):
        log.add(IncompleteDataWarning, truth, f"{len(table.rows) - len(rows)} rows have no truth and are left out.")
    return rows


def patients_of(
    table: CsvTable, rows: Sequence[CsvRow], column: str | None, independent: bool, log: WarningLog
) -> tuple[str, ...] | None:
    """Patient of each row; None without a column, or where every case is to be a patient of its own.

    Rows that share a case and whose patients no column names are told of in a warning.

    Raises:
        ValueError: a cell is empty.
    """
    if column is None:
        if not independent and (own := column_like(CASE_COLUMN, table.columns)):
            warn_of_shared_cases([row.get(own) for row in rows], own, log)
        return None
    if independent:
        warn_of_independence([row.get(column) or f"line {row.line}" for row in rows], log)
        return None
    lacking = [row.line for row in rows if not row.get(column)]
    if lacking:
        raise ValueError(
            f"{table.path}: the column of patients '{column}' is empty in {lines_named(lacking)}. Fill it in, or take "
            f"every case for a patient of its own with --cluster {INDEPENDENT}."
        )
    return patients([row.get(column) for row in rows], column, log)


def check_repeats(table: CsvTable, rows: Sequence[CsvRow], case: str | None) -> None:
    """Looks for rows that count twice: of one name, of one nodule of a case, or alike in every cell beside a case_id.

    Raises:
        ValueError: there are such rows, or a name is missing.
    """
    own = column_like(CASE_COLUMN, table.columns)
    if case is None and own is None:
        return
    nodule = column_like(NODULE_COLUMN, table.columns)
    first: dict[tuple[str, ...], int] = {}
    key: tuple[str, ...]
    for row in rows:
        if case:
            key, what = (row.get(case),), f"is case '{row.get(case)}' (--case {case}), as is line"
        elif own and nodule and row.get(nodule):
            key, what = (
                (row.get(own), row.get(nodule)),
                f"is nodule '{row.get(nodule)}' of '{row.get(own)}', as is line",
            )
        else:
            key, what = tuple(row.get(name) for name in table.columns), "repeats line"
        if case and not key[0]:
            raise ValueError(f"{table.path}, line {row.line}: the name of the case (--case {case}) is empty.")
        earlier = first.setdefault(key, row.line)
        if earlier != row.line:
            raise ValueError(
                f"{table.path}, line {row.line} {what} {earlier}. A row is one case and counts once: remove the copy; "
                f"where several nodules are of one case, name a column that tells them apart, and --cluster for the "
                f"patient."
            )


def lines_named(lines: Sequence[int]) -> str:
    """Line numbers of a file, for a message."""
    return named_rows(lines).replace("rows", "lines").replace("row", "line")
