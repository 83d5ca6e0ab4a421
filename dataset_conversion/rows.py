"""From the rows of a table to what is to be read for each case; the files themselves are not opened here."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from dsmt_nnunet.csv_table import CsvRow, CsvTable
from dsmt_nnunet.dataset_conversion.case_rows import CaseRows, NoduleRow
from dsmt_nnunet.dataset_conversion.cells import parse_diameter, parse_mask_label, parse_position, parse_split
from dsmt_nnunet.dataset_conversion.mapping import COLUMN_ROLES, TableMapping
from dsmt_nnunet.dataset_conversion.problems import Problem
from dsmt_nnunet.dataset_conversion.row_rules import LookAlike, check_cases
from dsmt_nnunet.dataset_conversion.terms import DICOM_ROLES
from dsmt_nnunet.identifiers import case_id_problem, same_person_key
from dsmt_nnunet.nodules import NONE_ID, nodule_ids
from dsmt_nnunet.tasks import FIXED_COLUMNS, POSITION_COLUMNS, VOTES_SUFFIX

_Value = TypeVar("_Value")
_TEST_WORD = re.compile(r"test(ing)?((data)?set|data|cohort)?|held-?out|hold-?out", re.IGNORECASE)
_SPLIT_WORD = re.compile(
    rf"(?:{_TEST_WORD.pattern})|(?:train(ing)?|val(idation)?|dev(elopment)?)((data)?set|data|cohort)?", re.IGNORECASE
)
_TEST_HEADER = re.compile(rf"(?:is|in)?(?:{_TEST_WORD.pattern})", re.IGNORECASE)
_YES_OR_NO = {"yes", "no", "true", "false", "1", "0", "1.0", "0.0", "y", "n", "ja", "nein", "是", "否"}


def parse_cases(
    table: CsvTable, mapping: TableMapping, look_alike_patients: LookAlike | None = None
) -> tuple[list[CaseRows], list[Problem]]:
    """Reads every row and checks that the rows fit together.

    Returns:
        The cases, in table order, and everything that is wrong. A row with a wrong cell is there too, the cell as if it
        were empty, so that what else is wrong with its case can be found.
    """
    table = mapping.spelt(table)
    problems = _check_columns(table, mapping) + _check_hidden_split(table, mapping)
    if problems:
        return [], problems
    parser = _RowParser(table, mapping)
    rows = _number_nodules([row for row in map(parser.parse, table.rows) if row is not None])
    if look_alike_patients == "same":
        rows = _joined_patients(rows)
    problems = parser.problems
    bad_lines = {problem.line for problem in problems}
    if not table.rows:
        problems.append(Problem("the table has no rows. One row is one nodule."))
    grouped: dict[str, list[NoduleRow]] = defaultdict(list)
    for row in rows:
        grouped[row.case_id].append(row)
    cases = [CaseRows(case_id, tuple(case_rows)) for case_id, case_rows in grouped.items()]
    return cases, problems + check_cases(cases, bad_lines, look_alike_patients)


def _check_columns(table: CsvTable, mapping: TableMapping) -> list[Problem]:
    messages = mapping.missing_columns(table.columns)
    if not any(mapping.column_of(role, table.columns) for role in ("case_id", "patient_id")):
        messages.append(
            f"a column case_id or patient_id is required; the table has {list(table.columns)}. "
            f"Rename a column, or name it in a mapping (--mapping)."
        )
    given = [name for name in POSITION_COLUMNS if mapping.column_of(name, table.columns)]
    if 0 < len(given) < len(POSITION_COLUMNS):
        messages.append(f"a position needs all of {list(POSITION_COLUMNS)}; the table has {given} only.")
    return [Problem(message, line=1) for message in messages]


def _check_hidden_split(table: CsvTable, mapping: TableMapping) -> list[Problem]:
    """A column that holds nothing but train and test, and is not read as the split: test rows would be trained on."""
    if mapping.column_of("split", table.columns) or "split" in mapping.columns:
        return []
    named = {task.column for task in mapping.tasks}
    for column in table.columns:
        words = {" ".join(row.get(column).casefold().split()) for row in table.rows} - {""}
        if column not in named and _divides(column, words):
            message = (
                f"column '{column}' holds {sorted(words)}, but only a column 'split' (train or test) divides the data. "
                f"Rename it, or map it (columns: split: {column}; split: null to keep all rows for training)."
            )
            return [Problem(message, line=1)]
    return []


def _divides(column: str, words: set[str]) -> bool:
    """Whether a column says which rows are tested on: by its words, or by its name and yes or no."""
    bare = {re.sub(r"[\s_]", "", word) for word in words}
    if all(map(_SPLIT_WORD.fullmatch, bare)) and any(map(_TEST_WORD.fullmatch, bare)):
        return True
    return bool(_TEST_HEADER.fullmatch(re.sub(r"[\s_-]", "", column))) and len(bare) == 2 and bare <= _YES_OR_NO


class _RowParser:
    """Reads rows one by one and gathers what is wrong with them."""

    def __init__(self, table: CsvTable, mapping: TableMapping) -> None:
        self.problems: list[Problem] = []
        self._mapping = mapping
        self._columns = {role: mapping.column_of(role, table.columns) for role in COLUMN_ROLES}
        roles = {column for role, column in self._columns.items() if column and role not in DICOM_ROLES}
        names = mapping.schema.task_names
        voted = {column for task in mapping.tasks for column in task.votes}
        told = {own.name for own in mapping.covariates}
        reserved = {*told, *FIXED_COLUMNS, *names, *(f"{name}{VOTES_SUFFIX}" for name in names), *voted}
        self._extra_columns = [name for name in table.columns if name not in roles and name not in reserved]

    def parse(self, row: CsvRow) -> NoduleRow | None:
        """The row, or None when it has no usable case_id."""
        patient_id = self._get(row, "patient_id")
        case_id = self._get(row, "case_id") or patient_id
        attempt = _Attempt(row.line, case_id, self.problems)
        if not attempt.run(partial(self._check_case_id, row, case_id)):
            case_id = ""
        nodule_id = self._get(row, "nodule_id")
        if nodule_id.casefold() == NONE_ID:
            nodule_id = NONE_ID
            attempt.run(partial(self._check_says_nothing, row))
        parsed = NoduleRow(
            line=row.line,
            case_id=case_id,
            nodule_id=nodule_id,
            patient_id=patient_id or case_id,
            split=attempt.run(partial(parse_split, self._get(row, "split"))) or "train",
            image=self._get(row, "image") or case_id,
            mask=self._get(row, "mask") or ("" if nodule_id == NONE_ID else case_id),
            mask_label=attempt.run(partial(parse_mask_label, self._get(row, "mask_label"))),
            position_mm=attempt.run(partial(parse_position, [self._get(row, name) for name in POSITION_COLUMNS])),
            diameter_mm=attempt.run(partial(parse_diameter, self._get(row, "diameter_mm"))) or math.nan,
            labels={task.name: attempt.run(partial(task.label, row.get(task.column))) for task in self._mapping.tasks},
            votes=attempt.run(partial(self._votes, row)) or {},
            extra={name: row.get(name) for name in self._extra_columns},
            covariates={
                own.name: attempt.run(partial(own.value, row.get(own.column))) for own in self._mapping.covariates
            },
        )
        return parsed if case_id else None

    def _check_says_nothing(self, row: CsvRow) -> None:
        """Of a case without a nodule a row tells whose scan it is, in which file and split, and nothing of a nodule."""
        columns = [self._columns[role] for role in ("mask_label", *POSITION_COLUMNS, "diameter_mm")]
        columns += [column for task in self._mapping.tasks for column in (task.column, *task.votes)]
        columns += [own.column for own in self._mapping.covariates]
        if told := [column for column in dict.fromkeys(columns) if column and row.get(column)]:
            raise ValueError(
                f"nodule_id '{NONE_ID}' says that the case holds no nodule, but the row has {told}. Leave them "
                f"empty, or give the nodule another nodule_id."
            )

    def _votes(self, row: CsvRow) -> dict[str, tuple[str, ...]]:
        votes = {
            task.name: tuple(vote for column in task.votes for vote in task.vote(row.get(column)))
            for task in self._mapping.tasks
        }
        return {name: own for name, own in votes.items() if own}

    def _get(self, row: CsvRow, role: str) -> str:
        column = self._columns[role]
        return row.get(column) if column else ""

    def _check_case_id(self, row: CsvRow, case_id: str) -> bool:
        if not case_id:
            raise ValueError("case_id and patient_id are both empty; one of them is required in every row.")
        if problem := case_id_problem(case_id):
            hint = "Rename the case" if self._get(row, "case_id") else "Add a column case_id with a safe name"
            raise ValueError(f"the case_id becomes a file name and {problem}; got '{case_id}'. {hint}.")
        return True


@dataclass(frozen=True)
class _Attempt:
    """Turns the ValueErrors of one row into problems, so that the other cells are still read."""

    line: int
    case_id: str
    problems: list[Problem]

    def run(self, read: Callable[[], _Value]) -> _Value | None:
        try:
            return read()
        except ValueError as error:
            self.problems.append(Problem(str(error), self.line, self.case_id))
            return None


def _number_nodules(rows: Iterable[NoduleRow]) -> list[NoduleRow]:
    """Gives rows without nodule_id their number within the case."""
    rows = list(rows)
    ids = nodule_ids([(row.case_id, row.nodule_id) for row in rows])
    return [replace(row, nodule_id=nodule_id) for row, nodule_id in zip(rows, ids, strict=True)]


def _joined_patients(rows: Sequence[NoduleRow]) -> list[NoduleRow]:
    """The rows with the first of several spellings of a patient in all of them."""
    first: dict[str, str] = {}
    return [replace(row, patient_id=first.setdefault(same_person_key(row.patient_id), row.patient_id)) for row in rows]
