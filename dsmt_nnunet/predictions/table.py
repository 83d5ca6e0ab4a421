"""classification.csv: one row a nodule, of all cases that were predicted together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from dsmt_nnunet import files
from dsmt_nnunet.predictions.results import POSITION_COLUMNS, CasePrediction, NodulePrediction
from dsmt_nnunet.tasks import ClassificationSchema, TaskKind

CLASSIFICATION_TABLE_NAME = "classification.csv"


def table_columns(schema: ClassificationSchema) -> list[str]:
    """Columns of classification.csv."""
    columns = ["case_id", "nodule_id", *POSITION_COLUMNS, "diameter_mm", "volume_mm3"]
    for task in schema.tasks:
        columns.append(task.name)
        if task.kind is not TaskKind.NOMINAL:
            columns.append(f"{task.name}_prob")
        if not task.is_binary:
            columns += [f"{task.name}_prob_{name}" for name in task.classes]
    return columns


def write_table(predictions: Iterable[CasePrediction], path: str | Path) -> None:
    """Writes classification.csv: one row a nodule, of all cases given.

    Raises:
        ValueError: no case, or cases with different schemas.
    """
    predictions = list(predictions)
    if not predictions:
        raise ValueError("No case to write.")
    schema = predictions[0].schema
    if any(prediction.schema != schema for prediction in predictions):
        raise ValueError(f"{path}: the cases were predicted with different tasks; give each model its own folder.")
    rows = [_table_row(case.case_id, nodule, schema) for case in predictions for nodule in case.nodules]
    files.write_rows(path, (table_columns(schema), *rows))


def _table_row(case_id: str, nodule: NodulePrediction, schema: ClassificationSchema) -> Sequence[str]:
    row = [case_id, nodule.nodule_id, *(f"{value:.3f}" for value in nodule.centre_mm)]
    row += ["" if math.isnan(nodule.diameter_mm) else f"{nodule.diameter_mm:.2f}", f"{nodule.volume_mm3:.1f}"]
    for task in schema.tasks:
        answer = nodule.tasks[task.name]
        row.append(answer.decision)
        if task.kind is not TaskKind.NOMINAL:
            row.append(f"{answer.answer_probabilities[task.as_binary().positive_class]:.6f}")
        if not task.is_binary:
            row += [f"{answer.probabilities[name]:.6f}" for name in task.classes]
    return row
