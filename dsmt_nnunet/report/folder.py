"""What `dsmt evaluate` left in a folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.evaluation.files import CASES_NAME, JOINED_NAME, SCORES_NAME, read_curves, read_metrics
from dsmt_nnunet.evaluation.records.curves import MulticlassCurves, ScoreCurves
from dsmt_nnunet.evaluation.records.free_response import FreeResponseCurves
from dsmt_nnunet.evaluation.records.metrics import (
    CrossvalMetrics,
    CrossvalSources,
    Metrics,
    PredictionMetrics,
    PredictionSources,
    TableMetrics,
)
from dsmt_nnunet.evaluation.records.tasks import CrossvalBinaryTask, CrossvalTask, PredictedBinaryTask, PredictedTask
from dsmt_nnunet.statistics.roc.delong import auc_score

Row = Mapping[str, str]
_AGAIN = "Was an evaluation interrupted, or a file changed? Evaluate again."


@dataclass(frozen=True)
class EvaluationFolder:
    """One evaluation.

    Attributes:
        path: the folder.
        metrics: content of metrics.json.
        curves: task or score -> its curves; empty where curves.json is missing.
        nodules: rows of joined.csv; empty where it is missing.
        cases: rows of scores.csv; empty where it is missing.
        marks: curves of all that a search marked; None where nothing was searched, or curves.json is missing.
        dice: case -> Dice of its foreground, as cases.csv writes it.
    """

    path: Path
    metrics: Metrics
    curves: Mapping[str, ScoreCurves | MulticlassCurves]
    nodules: tuple[Row, ...] = ()
    cases: tuple[Row, ...] = ()
    dice: Mapping[str, str] | None = None
    marks: FreeResponseCurves | None = None

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def tasks(self) -> Mapping[str, PredictedTask | CrossvalTask]:
        """Task -> its metrics; none in a table or a reader study."""
        return self.metrics.tasks if isinstance(self.metrics, PredictionMetrics | CrossvalMetrics) else {}

    @property
    def primary_task(self) -> str | None:
        """None in a table or a reader study."""
        return self.metrics.primary_task if isinstance(self.metrics, PredictionMetrics | CrossvalMetrics) else None

    @property
    def source(self) -> str:
        """Name of the folder of predictions, or of the model, that was evaluated; "" elsewhere."""
        inputs = self.metrics.inputs
        if isinstance(inputs, PredictionSources):
            return inputs.predictions
        return inputs.model if isinstance(inputs, CrossvalSources) else ""


def read_evaluation(folder: str | Path) -> EvaluationFolder:
    """Reads a folder written by `dsmt evaluate`.

    Raises:
        FileNotFoundError: it holds no metrics.json.
        ValueError: metrics.json or curves.json is damaged, or was written by another release.
    """
    folder = Path(folder)
    metrics, curves = read_metrics(folder), read_curves(folder)
    cases, nodules = _read_rows(folder / CASES_NAME), _read_rows(folder / JOINED_NAME)
    scores = _read_rows(folder / SCORES_NAME)
    if nodules and isinstance(metrics, PredictionMetrics | CrossvalMetrics):
        _check_nodules(folder, nodules, metrics)
    if scores and isinstance(metrics, TableMetrics) and len(scores) != metrics.n:
        raise ValueError(
            f"{folder}: {SCORES_NAME} holds {len(scores)} cases, and metrics.json was made of {metrics.n}. {_AGAIN}"
        )
    return EvaluationFolder(
        path=folder,
        metrics=metrics,
        curves={} if curves is None else {**(curves.tasks or {}), **(curves.scores or {})},
        nodules=nodules,
        cases=scores,
        dice={row["case_id"]: row.get("dice", "") for row in cases},
        marks=None if curves is None else curves.free_response,
    )


def _check_nodules(folder: Path, nodules: Sequence[Row], metrics: PredictionMetrics | CrossvalMetrics) -> None:
    """
    Raises:
        ValueError: metrics.json was not made of the nodules in joined.csv.
    """
    for name, task in metrics.tasks.items():
        if not isinstance(task, PredictedBinaryTask | CrossvalBinaryTask):
            continue
        if task.grades is not None and f"{name}_grade" not in nodules[0]:
            raise ValueError(
                f"{folder}: {JOINED_NAME} of an earlier release has grades where the answers to {name} should stand, "
                f"by which every decision looks wrong. {_AGAIN}"
            )
        rows = [row for row in nodules if row.get(f"{name}_truth") and row.get(f"{name}_prob")]
        truth = np.array([row[f"{name}_truth"] == task.positive_class for row in rows], dtype=bool)
        score = np.array([float(row[f"{name}_prob"]) for row in rows], dtype=np.float64)
        auc = auc_score(truth, score) if 0 < truth.sum() < len(truth) else math.nan
        if isinstance(task, CrossvalBinaryTask):  # its AUC is of folds, and of calibrated probabilities
            auc = task.auc
        if len(rows) != task.n or not (abs(auc - task.auc) < 1e-6 or (math.isnan(auc) and math.isnan(task.auc))):
            raise ValueError(
                f"{folder}: {JOINED_NAME} holds other answers to {name} than metrics.json was made of "
                f"({len(rows)} nodules, AUC {auc:.4g}; {task.n}, {task.auc:.4g}). {_AGAIN}"
            )


def _read_rows(path: Path) -> tuple[Row, ...]:
    return tuple(row.values for row in read_csv(path).rows) if path.is_file() else ()
