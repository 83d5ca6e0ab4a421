"""One question of an evaluation, whatever kind it is: a task of predictions, or the scores of a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsmt_nnunet.evaluation.records.comparisons import Comparisons
from dsmt_nnunet.evaluation.records.curves import DecisionCurve, MulticlassCurves, ScoreCurves
from dsmt_nnunet.evaluation.records.grades import GradedScores
from dsmt_nnunet.evaluation.records.metrics import TableMetrics
from dsmt_nnunet.evaluation.records.score import Score
from dsmt_nnunet.evaluation.records.tasks import (
    BinaryTask,
    CrossvalBinaryTask,
    IntentionToDiagnose,
    MulticlassTask,
    PredictedBinaryTask,
)
from dsmt_nnunet.report.folder import EvaluationFolder, Row
from dsmt_nnunet.report.numbers import readable
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray

_NOT_IN_A_KEY = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Series:
    """A binary score.

    Attributes:
        key: its name in metrics.json.
        name: as people read it.
        score: its metrics.
        curves: None where curves.json is missing.
        decision_curve: None for a score that is no probability.
        y_true: shape (N,), of the cases that carry both; empty where the tables are missing.
        y_score: shape (N,).
    """

    key: str
    name: str
    score: Score
    curves: ScoreCurves | None
    decision_curve: DecisionCurve | None
    y_true: BoolArray
    y_score: FloatArray


@dataclass(frozen=True)
class BinaryPanel:
    """Binary scores with everything that is drawn and listed of them.

    Attributes:
        key: of its figures and anchors, lower case letters, digits and dashes.
        title: as people read it.
        is_primary: shown unfolded.
        classes: (negative, positive).
        series: the scores, at least one.
        comparisons: of scores, levels and readers.
        crossval: the task of a cross-validation, with its folds; None elsewhere.
        intended: of predictions, all nodules that were to be diagnosed; None elsewhere.
        grades: of an ordinal task, whose question the score answers; None elsewhere.
    """

    key: str
    title: str
    is_primary: bool
    classes: tuple[str, str]
    series: tuple[Series, ...]
    comparisons: Comparisons
    crossval: CrossvalBinaryTask | None = None
    intended: IntentionToDiagnose | None = None
    grades: GradedScores | None = None


@dataclass(frozen=True)
class MulticlassPanel:
    """A task with several classes; the attributes are those of a `BinaryPanel`, the curves None where missing."""

    key: str
    title: str
    is_primary: bool
    classes: tuple[str, ...]
    task: MulticlassTask
    curves: MulticlassCurves | None = None


Panel = BinaryPanel | MulticlassPanel


def key_of(text: str) -> str:
    """A name as part of an anchor or a file name."""
    return _NOT_IN_A_KEY.sub("-", text.lower()).strip("-") or "x"


def panels_of(evaluation: EvaluationFolder) -> list[Panel]:
    """The panels of an evaluation, the primary one first; none for a reader study."""
    if isinstance(evaluation.metrics, TableMetrics):
        return [_table_panel(evaluation, evaluation.metrics)]
    panels = [_task_panel(evaluation, name, task) for name, task in evaluation.tasks.items()]
    return sorted(panels, key=lambda panel: panel.key != key_of(str(evaluation.primary_task)))


def negative_class(rows: Sequence[Row], task: str, positive: str) -> str:
    """The other class of a binary task, read from its truths and decisions."""
    for column in (f"{task}_truth", f"{task}_decision"):
        for row in rows:
            if row.get(column) and row[column] != positive:
                return row[column]
    return f"not {positive}"


def _table_panel(evaluation: EvaluationFolder, metrics: TableMetrics) -> BinaryPanel:
    positive = metrics.inputs.positive or "positive"
    series = []
    for name, score in metrics.scores.items():
        chosen = [row for row in evaluation.cases if row.get(name)]
        y_true = np.array([row["truth"] == "1" for row in chosen], dtype=bool)
        y_score = np.array([float(row[name]) for row in chosen], dtype=np.float64)
        curves = evaluation.curves.get(name)
        drawn = curves if isinstance(curves, ScoreCurves) else None
        series.append(Series(name, name, score, drawn, metrics.decision_curve[name], y_true, y_score))
    classes = ("negative" if positive == "positive" else f"not {positive}", positive)
    return BinaryPanel("scores", "Scores", True, classes, tuple(series), metrics)


def _task_panel(evaluation: EvaluationFolder, name: str, task: BinaryTask | MulticlassTask) -> Panel:
    primary, curves = name == evaluation.primary_task, evaluation.curves.get(name)
    if isinstance(task, MulticlassTask):
        drawn = curves if isinstance(curves, MulticlassCurves) else None
        return MulticlassPanel(key_of(name), readable(name), primary, task.classes, task, drawn)
    columns = (f"{name}_truth", f"{name}_prob")
    chosen = [row for row in evaluation.nodules if row.get("status") == "matched" and all(map(row.get, columns))]
    y_true = np.array([row[columns[0]] == task.positive_class for row in chosen], dtype=bool)
    y_score = np.array([float(row[columns[1]]) for row in chosen], dtype=np.float64)
    of_score = curves if isinstance(curves, ScoreCurves) else None
    series = Series(name, readable(name), task, of_score, task.decision_curve, y_true, y_score)
    return BinaryPanel(
        key=key_of(name),
        title=readable(name),
        is_primary=primary,
        classes=(negative_class(evaluation.nodules, name, task.positive_class), task.positive_class),
        series=(series,),
        comparisons=task,
        crossval=task if isinstance(task, CrossvalBinaryTask) else None,
        intended=task.intention_to_diagnose if isinstance(task, PredictedBinaryTask) else None,
        grades=task.grades,
    )
