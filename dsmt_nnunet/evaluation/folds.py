"""Which column names the fold of a cross-validation: scores of different folds come from different models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dsmt_nnunet.csv_table import CsvRow, CsvTable
from dsmt_nnunet.evaluation.group_bands import check_spellings
from dsmt_nnunet.evaluation.patients import column_like
from dsmt_nnunet.statistics.checks import IntArray, named_rows
from dsmt_nnunet.statistics.named_warnings import ClusteredDataWarning, WarningLog

FOLD_COLUMN = "fold"
"""The column that must be named, or said to mean nothing, where a table has it, however spelt."""
ONE_MODEL = "none"
"""What `--fold` says where one model gave all scores."""


def fold_column(table: CsvTable, rows: Sequence[CsvRow], named: str | None) -> str | None:
    """The column of folds; None where one model gave all scores.

    Raises:
        ValueError: there is no such column, or the table has `FOLD_COLUMN` with several values and nothing was said.
    """
    if named == ONE_MODEL:
        return None
    if named is not None:
        if named not in table.columns:
            raise ValueError(f"{table.path} has no column '{named}' (--fold); its columns are {list(table.columns)}.")
        return named
    column = column_like(FOLD_COLUMN, table.columns)
    found = sorted({row.get(column) for row in rows} - {""}) if column else []
    if len(found) > 1:
        raise ValueError(
            f"{table.path} has a column '{column}' with the values {found[:6]}. Scores of different folds come "
            f"from different models and must not be put in one order: say --fold {column} to have them analysed "
            f"within folds, or --fold {ONE_MODEL} if one model gave all scores."
        )
    return None


def folds_of(
    path: Path, rows: Sequence[CsvRow], column: str | None, clusters: Sequence[str] | None, log: WarningLog
) -> IntArray | None:
    """Fold of each case, numbered in order of their names; None without a column, or with a single fold.

    Patients with cases in several folds were learnt from and asked about: a warning names how many.

    Raises:
        ValueError: a cell is empty, or two names are spellings of one.
    """
    if column is None:
        return None
    names = [row.get(column) for row in rows]
    empty = [row.line for row in rows if not row.get(column)]
    if empty:
        lines = named_rows(empty).replace("row", "line")
        raise ValueError(f"{path}: the column of folds '{column}' is empty in {lines}. Every score has its fold.")
    check_spellings(f"{path}: the column of folds '{column}'", names)
    distinct = sorted(set(names), key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
    if len(distinct) < 2:
        return None
    if clusters is not None:
        of_patient: dict[str, set[str]] = {}
        for patient, name in zip(clusters, names, strict=True):
            of_patient.setdefault(patient, set()).add(name)
        torn = sum(len(found) > 1 for found in of_patient.values())
        if torn:
            message = f"{torn} patients have cases in several folds: models are asked about patients they learnt from."
            log.add(ClusteredDataWarning, column, message)
    return np.array([distinct.index(name) for name in names], dtype=np.int64)
