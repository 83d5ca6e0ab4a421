"""Which cases were given, left out and analysed, and what they are like."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dsmt_nnunet.csv_table import number_or_nan
from dsmt_nnunet.evaluation.joined_nodules import IMAGE_COLUMN
from dsmt_nnunet.evaluation.records.metrics import ClassTableMetrics, TableMetrics
from dsmt_nnunet.report.folder import EvaluationFolder, Row
from dsmt_nnunet.report.numbers import readable
from dsmt_nnunet.report.tables import Table

_MAX_LEVELS = 8
_NOT_DESCRIBED = (
    "case_id",
    "fold",
    "patient_id",
    "truth_nodule_id",
    "predicted_nodule_id",
    "distance_mm",
    "status",
    IMAGE_COLUMN,
)
_NOT_KNOWN = "(class not known)"


def flow_table(evaluations: Sequence[EvaluationFolder]) -> Table:
    """Nodules given, left out and why, analysed; of the primary task of each evaluation."""
    rows: list[tuple[str, ...]] = []
    for evaluation in evaluations:
        rows += [(evaluation.name, *map(str, row)) for row in _flow(evaluation)]
    note = "Nodules without a known class are left out of the primary task alone. "
    note += "What was left out before the data were converted is not on disk."
    return Table("Flow of cases", ("Evaluation", "Step", "Cases", "Nodules", "Why"), tuple(rows), note)


def cohort_table(evaluations: Sequence[EvaluationFolder]) -> Table:
    """Counts and characteristics of the true nodules, a column an evaluation and class of the primary task."""
    columns: dict[str, list[Row]] = {}
    for evaluation in evaluations:
        for name, rows in _by_class(evaluation).items():
            columns[f"{evaluation.name}: {name}"] = rows
    described = _described([row for rows in columns.values() for row in rows])
    lines: list[tuple[str, ...]] = [
        ("Nodules", *(str(len(rows)) for rows in columns.values())),
        ("Cases", *(str(len({row["case_id"] for row in rows})) for rows in columns.values())),
        ("Patients", *(_patients(rows) for rows in columns.values())),
    ]
    for name, levels in described.items():
        if levels is None:
            lines.append(
                (f"{readable(name)}, median (quartiles)", *(_quartiles(name, rows) for rows in columns.values()))
            )
            continue
        for level in levels:
            counts = (sum(row.get(name, "") == level for row in rows) for rows in columns.values())
            lines.append((f"{readable(name)}: {level or 'not known'}", *map(str, counts)))
    return Table("Cohort by evaluation and class", ("", *columns), tuple(lines))


def _flow(evaluation: EvaluationFolder) -> Iterator[tuple[str, int, int, str]]:
    metrics = evaluation.metrics
    if isinstance(metrics, ClassTableMetrics):
        yield "analysed", metrics.n, metrics.n, "rows of the table"
        return
    if isinstance(metrics, TableMetrics):
        yield "given", len(evaluation.cases), len(evaluation.cases), "rows of the table"
        yield "analysed", metrics.n, metrics.n, ""
        return
    true = [row for row in evaluation.nodules if row["status"] != "extra"]
    if not true:
        return
    left, task = true, evaluation.primary_task
    yield "given", _cases(true), len(true), "in the table of nodules"
    for reason, dropped in (
        ("no known class in the primary task", lambda row: not row.get(f"{task}_truth", "")),
        ("no prediction of the case", lambda row: row["status"] == "crashed"),
        ("not found by the search", lambda row: row["status"] == "missed"),
    ):
        out = [row for row in left if dropped(row)]
        left = [row for row in left if not dropped(row)]
        if out:
            yield "left out", _cases(out), len(out), reason
    yield "analysed", _cases(left), len(left), "intention to diagnose counts those without an answer too"


def _by_class(evaluation: EvaluationFolder) -> dict[str, list[Row]]:
    true = [row for row in evaluation.nodules if row["status"] != "extra"]
    classes: dict[str, list[Row]] = {}
    for row in true:
        task = evaluation.primary_task
        classes.setdefault(row.get(f"{task}_grade", "") or row.get(f"{task}_truth", "") or _NOT_KNOWN, []).append(row)
    return dict(sorted(classes.items()))


def _described(rows: Sequence[Row]) -> dict[str, list[str] | None]:
    """Columns worth a line: name -> levels, None for a number. Answers of the model are none."""
    found: dict[str, list[str] | None] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        if name in _NOT_DESCRIBED or name in ("x_mm", "y_mm", "z_mm") or name.startswith("predicted_"):
            continue
        if any(f"_{ending}" in name for ending in ("decision", "threshold", "prob", "spread")):
            continue
        values = [row.get(name, "") for row in rows]
        known = sorted({value for value in values if value})
        if known and all(math.isfinite(number_or_nan(value)) for value in known) and len(known) > 2:
            found[name] = None
        elif 1 <= len(known) <= _MAX_LEVELS:
            found[name] = [*known, *([""] if "" in values else [])]
    return found


def _quartiles(name: str, rows: Sequence[Mapping[str, str]]) -> str:
    values = [number_or_nan(row[name]) for row in rows if row.get(name, "")]
    if not values:
        return "not known"
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    unknown = len(rows) - len(values)
    return f"{middle:.3g} ({low:.3g} to {high:.3g})" + (f", {unknown} not known" if unknown else "")


def _patients(rows: Sequence[Row]) -> str:
    names = {row.get("patient_id", "") for row in rows}
    return "not known" if "" in names else str(len(names))


def _cases(rows: Sequence[Row]) -> int:
    return len({row["case_id"] for row in rows})
