"""One question of an evaluation, whatever kind it is: a task of predictions, or the scores of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsmt_nnunet.report.folder import EvaluationFolder, Row
from dsmt_nnunet.report.numbers import readable
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray

_NOT_IN_A_KEY = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Series:
    """A binary score.

    Attributes:
        name: as people read it.
        block: of metrics.json.
        curves: of curves.json; empty where there are none.
        y_true: shape (N,), of the cases that carry both; empty where the tables are missing.
        y_score: shape (N,).
    """

    name: str
    block: Mapping[str, Any]
    curves: Mapping[str, Any]
    y_true: BoolArray
    y_score: FloatArray

    @property
    def auc_ci(self) -> Sequence[Any] | None:
        """The interval that metrics.json says to quote."""
        return self.block.get(self.block.get("auc_ci_to_quote", "auc_ci_delong"))

    @property
    def point(self) -> Mapping[str, Any] | None:
        """The first operating point."""
        points = self.block.get("operating_points") or [None]
        return points[0]


@dataclass(frozen=True)
class Panel:
    """A question with everything that is drawn and listed of it.

    Attributes:
        key: of its figures and anchors, lower case letters, digits and dashes.
        title: as people read it.
        is_primary: shown unfolded.
        classes: (negative, positive) of a binary question, all classes of another.
        series: scores; empty for a multi-class task.
        block: of the task (subgroups, readers, comparisons), or the whole of metrics.json of a table.
        curves: of a multi-class task.
    """

    key: str
    title: str
    is_primary: bool
    classes: tuple[str, ...]
    series: tuple[Series, ...]
    block: Mapping[str, Any]
    curves: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_binary(self) -> bool:
        return bool(self.series)


def key_of(text: str) -> str:
    """A name as part of an anchor or a file name."""
    return _NOT_IN_A_KEY.sub("-", text.lower()).strip("-") or "x"


def panels_of(evaluation: EvaluationFolder) -> list[Panel]:
    """The panels of an evaluation, the primary one first; none for a reader study."""
    if evaluation.kind == "table":
        return [_table_panel(evaluation)]
    primary = evaluation.metrics.get("primary_task")
    panels = [_task_panel(evaluation, name) for name in evaluation.metrics.get("tasks", {})]
    return sorted(panels, key=lambda panel: panel.key != key_of(str(primary)))


def negative_class(rows: Sequence[Row], task: str, positive: str) -> str:
    """The other class of a binary task, read from its truths and decisions."""
    for column in (f"{task}_truth", f"{task}_decision"):
        for row in rows:
            if row.get(column) and row[column] != positive:
                return row[column]
    return f"not {positive}"


def _table_panel(evaluation: EvaluationFolder) -> Panel:
    metrics, rows = evaluation.metrics, evaluation.cases
    positive = str(metrics["inputs"].get("positive") or "positive")
    series = []
    for name, block in metrics["scores"].items():
        chosen = [row for row in rows if row.get(name)]
        y_true = np.array([row["truth"] == "1" for row in chosen], dtype=bool)
        y_score = np.array([float(row[name]) for row in chosen], dtype=np.float64)
        curves = dict(evaluation.curves.get(name, {}))
        curves.setdefault("decision_curve", metrics.get("decision_curve", {}).get(name))
        series.append(Series(name, block, curves, y_true, y_score))
    classes = ("negative" if positive == "positive" else f"not {positive}", positive)
    return Panel("scores", "Scores", True, classes, tuple(series), metrics)


def _task_panel(evaluation: EvaluationFolder, name: str) -> Panel:
    block = evaluation.metrics["tasks"][name]
    primary = name == evaluation.metrics.get("primary_task")
    curves = evaluation.curves.get(name, {})
    if block["type"] != "binary":
        return Panel(key_of(name), readable(name), primary, tuple(block["classes"]), (), block, curves)
    positive = str(block["positive_class"])
    columns = (f"{name}_truth", f"{name}_prob")
    chosen = [row for row in evaluation.nodules if row.get("status") == "matched" and all(map(row.get, columns))]
    y_true = np.array([row[columns[0]] == positive for row in chosen], dtype=bool)
    y_score = np.array([float(row[columns[1]]) for row in chosen], dtype=np.float64)
    curves = {"decision_curve": block.get("decision_curve"), **curves}
    series = Series(readable(name), block, curves, y_true, y_score)
    classes = (negative_class(evaluation.nodules, name, positive), positive)
    return Panel(key_of(name), readable(name), primary, classes, (series,), block)
