"""What a study leaves in its folder beside scores, as records with a version: one writer and one reader of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.files import write_rows
from dsmt_nnunet.records import RecordError, from_json, read_object, write_json

SCHEMA_VERSION = 1
IDENTITY_NAME = "study.json"
RUNS_NAME = "runs.csv"
COST_NAME = "training_cost.json"
_VERSION = "schema_version"


@dataclass(frozen=True, kw_only=True)
class StudyIdentity:
    """What must be the same when a study is continued.

    Attributes:
        dataset, plans: of all trainings.
        folds: of a cross-validation; None for phantoms.
        by: column of the centres that are left out in turn; None for the folds of the data set.
        fold_seed: of folds of the study's own; None for those of the data set, or centres.
        cases, test_cases, external_cases, seed: of the phantom cohort; None for a data set of the user's own.
    """

    schema_version: int = SCHEMA_VERSION
    dataset: str
    plans: str
    folds: tuple[int, ...] | None = None
    by: str | None = None
    fold_seed: int | None = None
    cases: int | None = None
    test_cases: int | None = None
    external_cases: int | None = None
    seed: int | None = None

    def __str__(self) -> str:
        told = {item.name: getattr(self, item.name) for item in fields(self) if item.name != _VERSION}
        return ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One trained model: a row of runs.csv.

    Attributes:
        run: trainer, and the checkpoint where it is not the final one.
        seed: of the training.
        parameters: of the parts that answer.
        training_minutes, peak_memory_gb: NaN where the training was not seen from beginning to end.
        measures: column -> AUC of a task or Dice of a cohort; NaN where the run learnt no such thing.
    """

    run: str
    seed: int
    parameters: int
    training_minutes: float
    peak_memory_gb: float
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """What a training cost; NaN where it was not seen from beginning to end.

    Attributes:
        minutes: wall time.
        memory_gb: peak of its largest process.
    """

    minutes: float = math.nan
    memory_gb: float = math.nan


_FIXED = tuple(item.name for item in fields(RunRow) if item.name != "measures")


def write_identity(folder: Path, identity: StudyIdentity) -> None:
    """Writes study.json."""
    write_json(identity, folder / IDENTITY_NAME)


def read_identity(folder: Path) -> StudyIdentity | None:
    """Reads study.json; None where the folder holds none. A file without a version holds the keys of version 1.

    Raises:
        ValueError: it is of a later release, or damaged.
    """
    path = folder / IDENTITY_NAME
    if not path.is_file():
        return None
    content = read_object(path)
    version = content.setdefault(_VERSION, SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema_version {version!r}, this release reads {SCHEMA_VERSION}. Continue the study with the "
            f"release that began it, or name another folder with -o."
        )
    try:
        return from_json(StudyIdentity, content)
    except RecordError as error:
        raise ValueError(f"{path}: {error}. Name another folder with -o, or put the file back as it was.") from error


def write_cost(fold: Path, cost: TrainingCost) -> None:
    """Writes training_cost.json into the folder of a trained fold."""
    write_json(cost, fold / COST_NAME)


def read_cost(fold: Path) -> TrainingCost:
    """Reads training_cost.json; nothing is known where there is none.

    Raises:
        ValueError: it is damaged.
    """
    path = fold / COST_NAME
    if not path.is_file():
        return TrainingCost()
    try:
        return from_json(TrainingCost, read_object(path))
    except RecordError as error:
        raise ValueError(f"{path}: {error}. Remove it, and the cost of this training is not known.") from error


def write_runs(folder: Path, rows: Sequence[RunRow]) -> None:
    """Writes runs.csv."""
    measures = list(dict.fromkeys(name for row in rows for name in row.measures))
    lines: list[Sequence[object]] = [(_VERSION, *_FIXED, *measures)]
    for row in rows:
        found = [_shown(row.measures.get(name, math.nan), 4) for name in measures]
        costs = _shown(row.training_minutes, 1), _shown(row.peak_memory_gb, 2)
        lines.append([SCHEMA_VERSION, row.run, row.seed, row.parameters, *costs, *found])
    write_rows(folder / RUNS_NAME, lines, line_end="\n")


def read_runs(folder: Path) -> tuple[RunRow, ...]:
    """Reads runs.csv; none where the folder holds none.

    Raises:
        ValueError: it is of a later release, or a cell is no number.
    """
    path = folder / RUNS_NAME
    if not path.is_file():
        return ()
    rows = []
    for row in read_csv(path).rows:
        version = row.values.get(_VERSION, str(SCHEMA_VERSION))
        if version != str(SCHEMA_VERSION):
            raise ValueError(
                f"{path} has schema_version {version}, this release reads {SCHEMA_VERSION}. Remove it and run "
                f"'dsmt study' again; minutes and memory of finished trainings are lost."
            )
        measures = {
            name: _number(path, row.line, name, text)
            for name, text in row.values.items()
            if name not in (*_FIXED, _VERSION)
        }
        numbers = {name: _number(path, row.line, name, row.get(name)) for name in _FIXED if name != "run"}
        if math.isnan(numbers["seed"]) or math.isnan(numbers["parameters"]):
            raise ValueError(f"{path}, line {row.line}: every run has a seed and a number of parameters.")
        rows.append(
            RunRow(
                run=row.get("run"),
                seed=int(numbers["seed"]),
                parameters=int(numbers["parameters"]),
                training_minutes=numbers["training_minutes"],
                peak_memory_gb=numbers["peak_memory_gb"],
                measures=measures,
            )
        )
    return tuple(rows)


def _number(path: Path, line: int, column: str, text: str) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError:
        raise ValueError(f"{path}, line {line}: '{column}' must be a number or empty, got '{text}'.") from None


def _shown(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"
