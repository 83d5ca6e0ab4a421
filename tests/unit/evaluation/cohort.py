"""Made-up predictions on disk, as a predictor would leave them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.predictions.results import CasePrediction, NodulePrediction, TaskPrediction, write_case
from dsmt_nnunet.tasks import ClassificationSchema, Task

SCHEMA = ClassificationSchema(
    (Task("invasiveness", ("non-invasive", "invasive")), Task("texture", ("ground-glass", "part-solid", "solid"))),
    "invasiveness",
)


def answer(task: Task, probs: Sequence[float], threshold: float = 0.5) -> TaskPrediction:
    """An answer of one task; `probs` are of its classes."""
    probabilities = dict(zip(task.classes, map(float, probs), strict=True))
    if task.is_binary:
        return TaskPrediction(probabilities, {}, task.classes[int(probs[1] >= threshold)], threshold)
    return TaskPrediction(probabilities, {}, task.classes[int(np.argmax(probs))], None)


def found(
    nodule: Nodule, invasive: float, shift_mm: float = 0.0, texture: Sequence[float] = (0.2, 0.5, 0.3)
) -> NodulePrediction:
    """A predicted nodule beside a true one."""
    x_mm, y_mm, z_mm = nodule.centre_mm
    tasks = {
        "invasiveness": answer(SCHEMA["invasiveness"], (1 - invasive, invasive)),
        "texture": answer(SCHEMA["texture"], texture),
    }
    return NodulePrediction(nodule.nodule_id, (x_mm + shift_mm, y_mm, z_mm), 14.0, 1436.8, tasks)


def nodule(case: str, number: int, labels: Mapping[str, str | None], **further: Any) -> Nodule:
    """A true nodule; nodules of a case lie 60 mm apart."""
    values = {"patient_id": f"P-{case}", "diameter_mm": 14.0, "extra": {}} | further
    return Nodule(case, str(number), centre_mm=(60.0 * number, 10.0, -20.0), labels=labels, **values)


def write_prediction(
    folder: Path,
    case: str,
    nodules: Sequence[NodulePrediction],
    model: Mapping[str, Any] | None = None,
    schema: ClassificationSchema = SCHEMA,
) -> None:
    """Writes CASE.json."""
    folder.mkdir(parents=True, exist_ok=True)
    write_case(CasePrediction(case, schema, tuple(nodules), model or {}), folder / f"{case}.json")


def make_truth(n_cases: int, seed: int = 0) -> tuple[NoduleTable, np.ndarray]:
    """A table with one nodule a case, and the true log-odds of being invasive."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(scale=1.5, size=n_cases)
    invasive = rng.random(n_cases) < 1 / (1 + np.exp(-log_odds))
    nodules = []
    for number in range(n_cases):
        labels = {
            "invasiveness": SCHEMA["invasiveness"].classes[int(invasive[number])],
            "texture": SCHEMA["texture"].classes[number % 3],
        }
        extra = {
            "protocol": "AB"[number % 2],
            "reader_1": str(int(log_odds[number] + rng.normal() > 0)),
            "reader_2": str(int(np.clip(np.round(log_odds[number] + rng.normal()), -2, 2) + 3)),
            "reader_3": str(int(np.clip(np.round(log_odds[number] + rng.normal()), -2, 2) + 3)),
        }
        further = {"extra": extra, "diameter_mm": 8.0 + number % 12, "patient_id": f"P{number // 2}"}
        nodules.append(nodule(f"case_{number:03d}", 1, labels, **further))
    return NoduleTable(tuple(nodules)), log_odds


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV."""
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
