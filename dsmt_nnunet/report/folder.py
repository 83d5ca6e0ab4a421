"""What `dsmt evaluate` left in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.evaluation.files import CASES_NAME, JOINED_NAME, SCORES_NAME, read_curves, read_metrics
from dsmt_nnunet.evaluation.records.curves import MulticlassCurves, ScoreCurves
from dsmt_nnunet.evaluation.records.metrics import (
    CrossvalMetrics,
    CrossvalSources,
    Metrics,
    PredictionMetrics,
    PredictionSources,
)
from dsmt_nnunet.evaluation.records.tasks import CrossvalTask, PredictedTask

Row = Mapping[str, str]


@dataclass(frozen=True)
class EvaluationFolder:
    """One evaluation.

    Attributes:
        path: the folder.
        metrics: content of metrics.json.
        curves: task or score -> its curves; empty where curves.json is missing.
        nodules: rows of joined.csv; empty where it is missing.
        cases: rows of scores.csv; empty where it is missing.
        dice: case -> Dice of its foreground, as cases.csv writes it.
    """

    path: Path
    metrics: Metrics
    curves: Mapping[str, ScoreCurves | MulticlassCurves]
    nodules: tuple[Row, ...] = ()
    cases: tuple[Row, ...] = ()
    dice: Mapping[str, str] | None = None

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
    cases = _read_rows(folder / CASES_NAME)
    return EvaluationFolder(
        path=folder,
        metrics=metrics,
        curves={} if curves is None else {**(curves.tasks or {}), **(curves.scores or {})},
        nodules=_read_rows(folder / JOINED_NAME),
        cases=_read_rows(folder / SCORES_NAME),
        dice={row["case_id"]: row.get("dice", "") for row in cases},
    )


def _read_rows(path: Path) -> tuple[Row, ...]:
    return tuple(row.values for row in read_csv(path).rows) if path.is_file() else ()
