"""From the rows of a table to what is to be read for each case; the files themselves are not opened here."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

from dsmt_nnunet.covariates import Covariates
from dsmt_nnunet.csv_table import CsvRow, CsvTable
from dsmt_nnunet.dataset_conversion.cells import parse_diameter, parse_mask_label, parse_position, parse_split
from dsmt_nnunet.dataset_conversion.mapping import COLUMN_ROLES, TableMapping
from dsmt_nnunet.dataset_conversion.problems import Problem
from dsmt_nnunet.dataset_conversion.raw_dataset import Split
from dsmt_nnunet.identifiers import case_id_problem, look_alikes, same_person_key
from dsmt_nnunet.nodules import nodule_ids
from dsmt_nnunet.tasks import FIXED_COLUMNS, POSITION_COLUMNS, VOTES_SUFFIX

LookAlike = Literal["same", "different"]
"""What patients are whose identifiers differ in spelling only (A01 and a01, 1 and 01 and 1.0)."""
_Value = TypeVar("_Value")
_SPLIT_WORDS = {"train", "training", "test", "testing", "val", "validation"}


@dataclass(frozen=True)
class NoduleRow:
    """One row of the table, read and checked on its own.

    Attributes:
        line: line in the table.
        case_id: nnU-Net case identifier.
        nodule_id: unique within the case; "" until it is numbered.
        patient_id: whose scan it is.
        split: train or test.
        image: name of the image, the case_id where the table names none.
        mask: name of the mask, the case_id where the table names none.
        mask_label: value of this nodule in the mask, None when not given.
        position_mm: (x, y, z) in mm, LPS, None when not given.
        diameter_mm: NaN when not given.
        labels: task -> class, None when not known.
        votes: task -> class of each reader's vote; no entry where there are none.
        extra: columns carried along.
        covariates: covariate -> number or category, None when not known.
    """

    line: int
    case_id: str
    nodule_id: str
    patient_id: str
    split: Split
    image: str
    mask: str
    mask_label: int | None
    position_mm: tuple[float, float, float] | None
    diameter_mm: float
    labels: Mapping[str, str | None]
    votes: Mapping[str, tuple[str, ...]]
    extra: Mapping[str, str]
    covariates: Covariates


@dataclass(frozen=True)
class CaseRows:
    """All rows of one case; they agree on patient, split and image."""

    case_id: str
    rows: tuple[NoduleRow, ...]

    @property
    def image(self) -> str:
        return self.rows[0].image

    @property
    def split(self) -> Split:
        return self.rows[0].split

    @property
    def patient_id(self) -> str:
        return self.rows[0].patient_id

    @property
    def masks(self) -> tuple[str, ...]:
        """Names of the masks, each once."""
        return tuple(dict.fromkeys(row.mask for row in self.rows))


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
    for case in cases:
        problems += _check_case(case)
        problems += [problem for problem in _check_separable(case) if problem.line not in bad_lines]
    letter_case = _check_letter_case(cases)
    problems += letter_case
    problems += _check_patients(rows)
    if not letter_case:  # the same question again where patients are named after cases
        problems += _check_look_alikes(rows, look_alike_patients)
    return cases, problems


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
        words = {row.get(column).casefold() for row in table.rows} - {""}
        if column not in named and words & {"test", "testing"} and words <= _SPLIT_WORDS:
            message = (
                f"column '{column}' holds {sorted(words)}, but only a column 'split' (train or test) divides the data. "
                f"Rename it, or map it (columns: split: {column}; split: null to keep all rows for training)."
            )
            return [Problem(message, line=1)]
    return []


class _RowParser:
    """Reads rows one by one and gathers what is wrong with them."""

    def __init__(self, table: CsvTable, mapping: TableMapping) -> None:
        self.problems: list[Problem] = []
        self._mapping = mapping
        self._columns = {role: mapping.column_of(role, table.columns) for role in COLUMN_ROLES}
        roles = {column for column in self._columns.values() if column}
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
        parsed = NoduleRow(
            line=row.line,
            case_id=case_id,
            nodule_id=self._get(row, "nodule_id"),
            patient_id=patient_id or case_id,
            split=attempt.run(partial(parse_split, self._get(row, "split"))) or "train",
            image=self._get(row, "image") or case_id,
            mask=self._get(row, "mask") or case_id,
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


def _check_case(case: CaseRows) -> list[Problem]:
    problems = []
    first_line: dict[str, int] = {}
    for row in case.rows:
        earlier = first_line.setdefault(row.nodule_id, row.line)
        if earlier != row.line:
            problems.append(
                Problem(
                    f"nodule_id '{row.nodule_id}' of this case stands in line {earlier} already; it must be unique "
                    f"within a case. Remove the duplicate, or give the nodule its own nodule_id.",
                    row.line,
                    case.case_id,
                )
            )
    first = case.rows[0]
    for row in case.rows[1:]:
        for what in ("patient_id", "split", "image"):
            here, there = getattr(row, what), getattr(first, what)
            if here != there:
                problems.append(
                    Problem(
                        f"{what} is '{here}' here and '{there}' in line {first.line}. A case is one scan of one "
                        f"patient: use one {what}, or different case_ids.",
                        row.line,
                        case.case_id,
                    )
                )
    return problems


def _check_separable(case: CaseRows) -> list[Problem]:
    """Each of several nodules in a case must say which part of which mask it is."""
    problems = []
    rows_of_mask = Counter(row.mask for row in case.rows)
    chosen: dict[tuple[str, int], int] = {}
    for row in case.rows:
        if row.mask_label is not None:
            earlier = chosen.setdefault((row.mask, row.mask_label), row.line)
            if earlier != row.line:
                message = f"mask_label {row.mask_label} of mask '{row.mask}' belongs to the nodule of line {earlier}."
                problems.append(Problem(f"{message} Give every nodule its own value.", row.line, case.case_id))
        elif row.position_mm is None and rows_of_mask[row.mask] > 1:
            problems.append(
                Problem(
                    f"{rows_of_mask[row.mask]} nodules share the mask '{row.mask}', and nothing says which part of it "
                    f"is this one. Add a column mask_label (the nodule's value in the mask), a column mask (a file for "
                    f"each nodule), or x_mm, y_mm, z_mm (a point in the nodule, LPS).",
                    row.line,
                    case.case_id,
                )
            )
    return problems


def _check_letter_case(cases: Iterable[CaseRows]) -> list[Problem]:
    first: dict[str, CaseRows] = {}
    problems = []
    for case in cases:
        other = first.setdefault(case.case_id.lower(), case)
        if other is not case:
            problems.append(
                Problem(
                    f"case_id differs from '{other.case_id}' (line {other.rows[0].line}) in upper and lower case only; "
                    f"some file systems take them for one file. Use one spelling, or different names.",
                    case.rows[0].line,
                    case.case_id,
                )
            )
    return problems


def _joined_patients(rows: Sequence[NoduleRow]) -> list[NoduleRow]:
    """The rows with the first of several spellings of a patient in all of them."""
    first: dict[str, str] = {}
    return [replace(row, patient_id=first.setdefault(same_person_key(row.patient_id), row.patient_id)) for row in rows]


def _check_look_alikes(rows: Sequence[NoduleRow], answer: LookAlike | None) -> list[Problem]:
    """Spellings that may mean one person: never in both splits, and within one only as the user says."""
    problems = []
    for spellings in look_alikes(row.patient_id for row in rows):
        of = [row for row in rows if row.patient_id in spellings]
        named = " and ".join(f"'{spelling}'" for spelling in spellings)
        if len({row.split for row in of}) > 1:
            message = f"patients {named} look like one person and are in train and in test. Rename them."
        elif answer is None:
            message = (
                f"patients {named} look like one person. Say which it is: --look-alike-patients same joins them, "
                f"--look-alike-patients different keeps them apart."
            )
        else:
            continue
        problems.append(Problem(message, of[-1].line, of[-1].case_id))
    return problems


def _check_patients(rows: Iterable[NoduleRow]) -> list[Problem]:
    first: dict[str, NoduleRow] = {}
    problems = []
    for row in rows:
        other = first.setdefault(row.patient_id, row)
        if other.split != row.split and other.case_id != row.case_id:
            problems.append(
                Problem(
                    f"patient '{row.patient_id}' is in {row.split} here and in {other.split} in line {other.line} "
                    f"(case '{other.case_id}'). All scans of a patient belong to one split, or the test is not "
                    f"independent.",
                    row.line,
                    row.case_id,
                )
            )
    return problems
