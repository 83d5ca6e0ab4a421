"""The classification schema (which questions are asked of a nodule) and the table of nodules.

The schema is the `classification` block of dataset.json and holds no patient data; the nodules are rows of
`nodules.csv`, beside it.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsmt_nnunet.csv_table import CsvRow, read_csv

NODULE_TABLE_NAME = "nodules.csv"
TEST_NODULE_TABLE_NAME = "nodulesTs.csv"
UNKNOWN_LABEL = -1
"""Class index of a label that is not known; losses and metrics leave it out."""

POSITION_COLUMNS = ("x_mm", "y_mm", "z_mm")
FIXED_COLUMNS = ("case_id", "nodule_id", "patient_id", *POSITION_COLUMNS, "diameter_mm")
_TASK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Task:
    """One question asked of a nodule.

    Attributes:
        name: an identifier: letters, digits and underscores, a letter first.
        classes: class names, at least two; in a binary task the second is the positive class.
    """

    name: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not _TASK_NAME.fullmatch(self.name):
            raise ValueError(
                f"Task name '{self.name}' must consist of letters, digits and underscores and begin with a letter."
            )
        if self.name in FIXED_COLUMNS:
            raise ValueError(f"Task name '{self.name}' is the name of a fixed column of {NODULE_TABLE_NAME}.")
        if len(self.classes) < 2:
            raise ValueError(f"Task '{self.name}' needs at least two classes, got {list(self.classes)}.")
        if len(set(self.classes)) != len(self.classes) or not all(
            name and name == name.strip() for name in self.classes
        ):
            raise ValueError(
                f"Task '{self.name}': class names must be unique, not empty and without blanks around them, "
                f"got {list(self.classes)}."
            )

    @property
    def is_binary(self) -> bool:
        return len(self.classes) == 2

    @property
    def positive_class(self) -> str:
        """Name of the positive class of a binary task (its second class)."""
        if not self.is_binary:
            raise ValueError(f"Task '{self.name}' has {len(self.classes)} classes; only a binary one has a positive.")
        return self.classes[1]

    def index(self, label: str | None) -> int:
        """Class index of a label; `UNKNOWN_LABEL` for None.

        Raises:
            ValueError: the label is not a class of this task.
        """
        if label is None:
            return UNKNOWN_LABEL
        if label not in self.classes:
            raise ValueError(f"'{label}' is not a class of task '{self.name}'; its classes are {list(self.classes)}.")
        return self.classes.index(label)


@dataclass(frozen=True)
class ClassificationSchema:
    """The tasks of a data set, in order, and which of them is the primary one."""

    tasks: tuple[Task, ...]
    primary_task: str

    def __post_init__(self) -> None:
        names = self.task_names
        if not names:
            raise ValueError("The classification schema needs at least one task.")
        if len(set(names)) != len(names):
            raise ValueError(f"Task names must be unique, got {list(names)}.")
        if self.primary_task not in names:
            raise ValueError(f"The primary task '{self.primary_task}' is not among the tasks {list(names)}.")

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.tasks)

    @property
    def primary(self) -> Task:
        return self[self.primary_task]

    @property
    def primary_index(self) -> int:
        return self.task_names.index(self.primary_task)

    def __getitem__(self, name: str) -> Task:
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(f"No task '{name}'; the tasks are {list(self.task_names)}.")

    @classmethod
    def from_block(cls, block: Mapping[str, Any]) -> ClassificationSchema:
        """Parses `{"tasks": {name: {"classes": [...]}}, "primary_task": name}`.

        Raises:
            ValueError: the block lacks a part or breaks a rule of `Task` or of this class.
        """
        try:
            tasks = tuple(Task(str(name), _class_names(spec["classes"])) for name, spec in block["tasks"].items())
            primary = str(block["primary_task"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"The classification block must read {{'tasks': {{NAME: {{'classes': [...]}}}}, "
                f"'primary_task': NAME}}; got {block!r}."
            ) from error
        return cls(tasks, primary)

    @classmethod
    def from_dataset_json(cls, dataset_json: Mapping[str, Any]) -> ClassificationSchema:
        """Reads the `classification` block of a dataset.json.

        Raises:
            ValueError: there is none, or it is malformed.
        """
        if "classification" not in dataset_json:
            raise ValueError(
                "dataset.json has no 'classification' block, so there is nothing to classify. "
                "Make the data set with 'dsmt convert table', or add the block by hand (docs/data-format.md)."
            )
        return cls.from_block(dataset_json["classification"])

    def to_block(self) -> dict[str, Any]:
        """The `classification` block; `from_block` reads it back."""
        return {
            "tasks": {task.name: {"classes": list(task.classes)} for task in self.tasks},
            "primary_task": self.primary_task,
        }


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
        extra: further columns, carried along untouched.
    """

    case_id: str
    nodule_id: str
    patient_id: str
    centre_mm: tuple[float, float, float]
    diameter_mm: float = math.nan
    labels: Mapping[str, str | None] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)

    def label_indices(self, schema: ClassificationSchema) -> tuple[int, ...]:
        """Class index of each task of `schema`, `UNKNOWN_LABEL` where not known."""
        return tuple(task.index(self.labels.get(task.name)) for task in schema.tasks)


@dataclass(frozen=True)
class NoduleTable:
    """All nodules of a data set or of a folder to predict."""

    nodules: tuple[Nodule, ...]

    def __post_init__(self) -> None:
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

    def patient_of_case(self) -> dict[str, str]:
        """Patient of each case.

        Raises:
            ValueError: the nodules of a case name different patients.
        """
        patients: dict[str, str] = {}
        for nodule in self.nodules:
            if patients.setdefault(nodule.case_id, nodule.patient_id) != nodule.patient_id:
                raise ValueError(
                    f"Case '{nodule.case_id}' belongs to patient '{patients[nodule.case_id]}' in one row and to "
                    f"'{nodule.patient_id}' in another. A case is one scan of one patient."
                )
        return patients

    @classmethod
    def read(cls, path: str | Path, schema: ClassificationSchema | None = None) -> NoduleTable:
        """Reads `nodules.csv`.

        `case_id`, `x_mm`, `y_mm` and `z_mm` are required; `nodule_id` defaults to a number within the case,
        `patient_id` to the case, labels to not known.

        Args:
            path: the table.
            schema: tasks whose columns hold labels; without it every further column is `extra`.

        Raises:
            FileNotFoundError: no such table.
            ValueError: columns are missing, or rows break the rules; all of them are named.
        """
        table = read_csv(path)
        missing = [name for name in ("case_id", *POSITION_COLUMNS) if name not in table.columns]
        if missing:
            raise ValueError(
                f"{path}: required columns {missing} are missing; the table has {list(table.columns)}. "
                f"Positions are in mm, LPS."
            )
        nodules: list[Nodule] = []
        problems: list[str] = []
        counts: dict[str, int] = {}
        for row in table.rows:
            try:
                counts[row.get("case_id")] = counts.get(row.get("case_id"), 0) + 1
                nodules.append(_parse_nodule(row, table.columns, schema, counts[row.get("case_id")]))
            except ValueError as error:
                problems.append(f"line {row.line}: {error}")
        if problems:
            raise ValueError(f"{path}: {len(problems)} bad rows.\n  " + "\n  ".join(problems))
        return cls(tuple(nodules))

    def write(self, path: str | Path, schema: ClassificationSchema) -> None:
        """Writes the table (UTF-8, commas) to a temporary name first, then renames it."""
        path = Path(path)
        extra_columns = list(dict.fromkeys(name for nodule in self.nodules for name in nodule.extra))
        partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with partial.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow([*FIXED_COLUMNS, *schema.task_names, *extra_columns])
            for nodule in self.nodules:
                writer.writerow(
                    [
                        nodule.case_id,
                        nodule.nodule_id,
                        nodule.patient_id,
                        *(f"{value:.3f}" for value in nodule.centre_mm),
                        "" if math.isnan(nodule.diameter_mm) else f"{nodule.diameter_mm:.2f}",
                        *(nodule.labels.get(name) or "" for name in schema.task_names),
                        *(nodule.extra.get(name, "") for name in extra_columns),
                    ]
                )
        partial.replace(path)

    def subset(self, case_ids: Iterable[str]) -> NoduleTable:
        """The nodules of some cases."""
        wanted = set(case_ids)
        return NoduleTable(tuple(nodule for nodule in self.nodules if nodule.case_id in wanted))


def _class_names(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list | tuple):
        raise TypeError(f"classes must be a list, got {names!r}")
    return tuple(map(str, names))


def _parse_nodule(row: CsvRow, columns: Sequence[str], schema: ClassificationSchema | None, number: int) -> Nodule:
    case_id = row.get("case_id")
    if not case_id:
        raise ValueError("case_id is empty.")
    labels = {task.name: row.get(task.name) or None for task in schema.tasks} if schema else {}
    if schema:
        for task in schema.tasks:
            try:
                task.index(labels[task.name])
            except ValueError as error:
                raise ValueError(f"case '{case_id}': {error} Leave the cell empty when not known.") from error
    centre = [_number(row, name) for name in POSITION_COLUMNS]
    diameter = _number(row, "diameter_mm") if row.get("diameter_mm") else math.nan
    if diameter <= 0:
        raise ValueError(f"case '{case_id}': diameter_mm must be positive, got {diameter:g}.")
    known = {*FIXED_COLUMNS, *labels}
    return Nodule(
        case_id=case_id,
        nodule_id=row.get("nodule_id") or str(number),
        patient_id=row.get("patient_id") or case_id,
        centre_mm=(centre[0], centre[1], centre[2]),
        diameter_mm=diameter,
        labels=labels,
        extra={name: row.get(name) for name in columns if name not in known},
    )


def _number(row: CsvRow, column: str) -> float:
    text = row.get(column)
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"case '{row.get('case_id')}': {column} must be a number in mm, got '{text}'.") from None
    if not math.isfinite(value):
        raise ValueError(f"case '{row.get('case_id')}': {column} must be finite, got '{text}'.")
    return value
