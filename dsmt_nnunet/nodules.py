"""Nodules: the rows of `nodules.csv`, where they are, whose they are, and what is known of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dsmt_nnunet.covariates import Covariate, Covariates, CovariateValue, as_text
from dsmt_nnunet.csv_table import CsvRow, parse_number, read_csv
from dsmt_nnunet.files import write_rows
from dsmt_nnunet.identifiers import nobodys_cases
from dsmt_nnunet.tasks import FIXED_COLUMNS, POSITION_COLUMNS, VOTES_SUFFIX, ClassificationSchema, Task


@dataclass(frozen=True)
class Nodule:
    """One row of `nodules.csv`.

    Attributes:
        case_id: nnU-Net case identifier.
        nodule_id: unique within the case.
        patient_id: groups cases of one person; splits never separate them.
        centre_mm: (x, y, z) in mm, LPS (the physical space of SimpleITK and DICOM).
        diameter_mm: equivalent or reported diameter; NaN when not known.
        labels: task name -> class name, None when not known.
        votes: task name -> class name of each reader's vote; no entry where there are none.
        extra: further columns, carried along untouched.
        covariates: covariate -> number or category, None when not known.
    """

    case_id: str
    nodule_id: str
    patient_id: str
    centre_mm: tuple[float, float, float]
    diameter_mm: float = math.nan
    labels: Mapping[str, str | None] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    votes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    covariates: Covariates = field(default_factory=dict)

    def target(self, task: Task) -> tuple[float, ...] | None:
        """What a loss aims at: the share of the votes that each class has, or all on the label; None when not known."""
        votes = self.votes.get(task.name)
        if votes:
            return tuple(votes.count(name) / len(votes) for name in task.classes)
        label = self.labels.get(task.name)
        return None if label is None else tuple(float(name == label) for name in task.classes)

    def label_indices(self, schema: ClassificationSchema) -> tuple[int, ...]:
        """Class index of each task of `schema`, `UNKNOWN_LABEL` where not known."""
        return tuple(task.index(self.labels.get(task.name)) for task in schema.tasks)


ONE_PLACE_MM = 1.0
"""Two positions nearer than this are one row twice."""
NONE_ID = "none"
"""The nodule_id of a row that says of a case that it holds no nodule."""


@dataclass(frozen=True)
class EmptyCase:
    """A scan without a nodule: a row of `nodules.csv` whose nodule_id is `none`; the rest as in `Nodule`."""

    case_id: str
    patient_id: str
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NoduleTable:
    """All nodules of a data set or of a folder to predict.

    Attributes:
        nodules: in table order.
        empty: cases of which a row says that they hold none.
    """

    nodules: tuple[Nodule, ...]
    empty: tuple[EmptyCase, ...] = ()

    def __post_init__(self) -> None:
        rows = Counter(row.case_id for row in self.rows)
        if told := [case.case_id for case in self.empty if rows[case.case_id] > 1]:
            raise ValueError(
                f"Case '{told[0]}': nodule_id '{NONE_ID}' says that it holds no nodule, but it has another row."
            )
        seen: set[tuple[str, str]] = set()
        for nodule in self.nodules:
            key = (nodule.case_id, nodule.nodule_id)
            if key in seen:
                raise ValueError(
                    f"Nodule '{nodule.nodule_id}' of case '{nodule.case_id}' occurs twice; nodule_id must be unique "
                    f"within a case."
                )
            seen.add(key)

    def __len__(self) -> int:
        return len(self.nodules)

    def by_case(self) -> dict[str, tuple[Nodule, ...]]:
        """Nodules of each case, cases and nodules in table order."""
        cases: dict[str, list[Nodule]] = {}
        for nodule in self.nodules:
            cases.setdefault(nodule.case_id, []).append(nodule)
        return {case_id: tuple(nodules) for case_id, nodules in cases.items()}

    @property
    def rows(self) -> tuple[Nodule | EmptyCase, ...]:
        """Nodules, and then cases without one."""
        return *self.nodules, *self.empty

    @property
    def case_ids(self) -> tuple[str, ...]:
        """All cases, those without a nodule last."""
        return tuple(dict.fromkeys(row.case_id for row in self.rows))

    @property
    def patient_ids(self) -> frozenset[str]:
        """All patients."""
        return frozenset(row.patient_id for row in self.rows)

    def patient_of_case(self) -> dict[str, str]:
        """Patient of each case.

        Raises:
            ValueError: the nodules of a case name different patients, or a name is nobody's (`nobodys_cases`).
        """
        patients = {case.case_id: case.patient_id for case in self.empty}
        for nodule in self.nodules:
            if patients.setdefault(nodule.case_id, nodule.patient_id) != nodule.patient_id:
                raise ValueError(
                    f"Case '{nodule.case_id}' belongs to patient '{patients[nodule.case_id]}' in one row and to "
                    f"'{nodule.patient_id}' in another. A case is one scan of one patient."
                )
        for case_id, why in nobodys_cases(patients):
            raise ValueError(f"nodules.csv: the patient of case '{case_id}' {why}.")
        return patients

    @classmethod
    def read(
        cls,
        path: str | Path,
        schema: ClassificationSchema | None = None,
        covariates: Sequence[Covariate] | None = None,
    ) -> NoduleTable:
        """Reads `nodules.csv`.

        `case_id`, `x_mm`, `y_mm` and `z_mm` are required; `nodule_id` defaults to a number within the case,
        `patient_id` to the case, labels to not known. Where nodule_id is `none`, the row is that of an `EmptyCase`.

        Args:
            path: the table.
            schema: tasks whose columns hold labels; None makes them `extra`.
            covariates: whose columns are read; None for those of the schema. A column may be lacking: not known.

        Raises:
            FileNotFoundError: no such table.
            ValueError: columns are missing, or rows break the rules; all of them are named.
        """
        if covariates is None:
            covariates = schema.covariates if schema else ()
        names = [*FIXED_COLUMNS, *(covariate.name for covariate in covariates)]
        if schema is not None:
            names += [name for task in schema.task_names for name in (task, f"{task}{VOTES_SUFFIX}")]
        table = read_csv(path).spelt(names)
        missing = [name for name in ("case_id", *POSITION_COLUMNS) if name not in table.columns]
        if missing:
            raise ValueError(
                f"{path}: required columns {missing} are missing; the table has {list(table.columns)}. "
                f"Positions are in mm, LPS."
            )
        nodules: list[Nodule] = []
        empty: list[EmptyCase] = []
        problems: list[str] = []
        ids = nodule_ids([(row.get("case_id"), row.get("nodule_id")) for row in table.rows])
        for row, nodule_id in zip(table.rows, ids, strict=True):
            try:
                if nodule_id.casefold() == NONE_ID:
                    empty.append(_parse_empty(row, table.columns, names))
                else:
                    nodules.append(_parse_nodule(row, table.columns, schema, covariates, nodule_id))
            except ValueError as error:
                problems.append(f"line {row.line}: {error}")
        if problems:
            raise ValueError(f"{path}: {len(problems)} bad rows.\n  " + "\n  ".join(problems))
        return cls(tuple(nodules), tuple(empty))

    def write(self, path: str | Path, schema: ClassificationSchema) -> None:
        """Writes the table (UTF-8, commas) whole or not at all."""
        extra_columns = list(dict.fromkeys(name for row in self.rows for name in row.extra))
        voted = [name for name in schema.task_names if any(name in nodule.votes for nodule in self.nodules)]
        votes_columns = [f"{name}{VOTES_SUFFIX}" for name in voted]
        covariates = [covariate.name for covariate in schema.covariates]
        rows: list[list[str]] = [[*FIXED_COLUMNS, *schema.task_names, *votes_columns, *covariates, *extra_columns]]
        rows += [
            [
                nodule.case_id,
                nodule.nodule_id,
                nodule.patient_id,
                *(f"{value:.3f}" for value in nodule.centre_mm),
                "" if math.isnan(nodule.diameter_mm) else f"{nodule.diameter_mm:.2f}",
                *(nodule.labels.get(name) or "" for name in schema.task_names),
                *(join_votes(nodule.votes.get(name, ())) for name in voted),
                *(as_text(nodule.covariates.get(name)) for name in covariates),
                *(nodule.extra.get(name, "") for name in extra_columns),
            ]
            for nodule in self.nodules
        ]
        blank = [""] * (len(rows[0]) - len(extra_columns) - 3)
        rows += [
            [
                case.case_id,
                NONE_ID,
                case.patient_id,
                *blank,
                *(case.extra.get(name, "") for name in extra_columns),
            ]
            for case in self.empty
        ]
        write_rows(path, rows)


def nodule_ids(rows: Sequence[tuple[str, str]]) -> list[str]:
    """The identifiers of nodules; rows without one are numbered within their case, by numbers that no other row has.

    Args:
        rows: case_id and nodule_id of each row, "" where there is none.
    """
    taken = set(rows)
    ids = []
    last: dict[str, int] = {}
    for case_id, nodule_id in rows:
        last[case_id] = last.get(case_id, 0) + 1
        if not nodule_id:
            while (case_id, str(last[case_id])) in taken:
                last[case_id] += 1
            nodule_id = str(last[case_id])
            taken.add((case_id, nodule_id))
        ids.append(nodule_id)
    return ids


def at_one_place(nodules: Sequence[Nodule]) -> list[str]:
    """Which nodules of a case are one row twice, in words."""
    return [
        f"case '{nodule.case_id}': nodules '{other.nodule_id}' and '{nodule.nodule_id}' are at one place"
        for number, nodule in enumerate(nodules)
        for other in nodules[:number]
        if math.dist(nodule.centre_mm, other.centre_mm) < ONE_PLACE_MM
    ]


def join_votes(votes: Sequence[str]) -> str:
    """Votes as they stand in a cell: divided by blanks, by semicolons where a class name holds a blank."""
    return ("; " if any(" " in vote for vote in votes) else " ").join(votes)


def split_votes(text: str) -> tuple[str, ...]:
    """The votes of a cell; see `join_votes`."""
    return tuple(vote.strip() for vote in text.split(";") if vote.strip()) if ";" in text else tuple(text.split())


def _parse_votes(row: CsvRow, task: Task) -> tuple[str, ...]:
    text = row.get(f"{task.name}{VOTES_SUFFIX}")
    votes = (text.strip(),) if text.strip() in task.classes else split_votes(text)
    for vote in votes:
        task.index(vote)
    return votes


def _parse_covariates(row: CsvRow, covariates: Sequence[Covariate]) -> dict[str, CovariateValue]:
    values: dict[str, CovariateValue] = {}
    for own in covariates:
        text = row.get(own.name).strip()
        value = parse_number(text, own.name) if text and own.is_number else text
        values[own.name] = own.check(value) if text else None
    return values


def _case_of(row: CsvRow) -> str:
    if case_id := row.get("case_id"):
        return case_id
    raise ValueError("case_id is empty.")


def _parse_empty(row: CsvRow, columns: Sequence[str], names: Sequence[str]) -> EmptyCase:
    """A row that says that its case holds no nodule; `names` are the columns that tell something of one."""
    case_id = _case_of(row)
    if told := [name for name in names if name not in FIXED_COLUMNS[:3] and row.get(name)]:
        raise ValueError(
            f"case '{case_id}': nodule_id '{NONE_ID}' says that the case holds no nodule, but the row has {told}. "
            f"Leave them empty, or give the nodule another nodule_id."
        )
    extra = {name: row.get(name) for name in columns if name not in names}
    return EmptyCase(case_id, row.get("patient_id") or case_id, extra)


def _parse_nodule(
    row: CsvRow,
    columns: Sequence[str],
    schema: ClassificationSchema | None,
    covariates: Sequence[Covariate],
    nodule_id: str,
) -> Nodule:
    case_id = _case_of(row)
    labels: dict[str, str | None] = {}
    votes: dict[str, tuple[str, ...]] = {}
    if schema:
        for task in schema.tasks:
            labels[task.name] = row.get(task.name) or None
            try:
                task.index(labels[task.name])
                if f"{task.name}{VOTES_SUFFIX}" in columns:
                    votes[task.name] = _parse_votes(row, task)
            except ValueError as error:
                raise ValueError(f"case '{case_id}': {error} Leave the cell empty when not known.") from error
    try:
        known_of_it = _parse_covariates(row, covariates)
    except ValueError as error:
        raise ValueError(f"case '{case_id}': {error}") from error
    centre = [_number(row, name) for name in POSITION_COLUMNS]
    diameter = _number(row, "diameter_mm") if row.get("diameter_mm") else math.nan
    if diameter <= 0:
        raise ValueError(f"case '{case_id}': diameter_mm must be positive, got {diameter:g}.")
    known = {*FIXED_COLUMNS, *labels, *(f"{name}{VOTES_SUFFIX}" for name in votes), *known_of_it}
    return Nodule(
        case_id=case_id,
        nodule_id=nodule_id,
        patient_id=row.get("patient_id") or case_id,
        centre_mm=(centre[0], centre[1], centre[2]),
        diameter_mm=diameter,
        labels=labels,
        extra={name: row.get(name) for name in columns if name not in known},
        votes={name: own for name, own in votes.items() if own},
        covariates=known_of_it,
    )


def _number(row: CsvRow, column: str) -> float:
    try:
        return parse_number(row.get(column), f"{column} (in mm)")
    except ValueError as error:
        raise ValueError(f"case '{row.get('case_id')}': {error}") from None
