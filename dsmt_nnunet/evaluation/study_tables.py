"""The tables of a study: one row a run, and one row a nodule with the score of every run."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.evaluation.delong import auc_score
from dsmt_nnunet.evaluation.dice import dice_of_files
from dsmt_nnunet.inference.results import read_folder
from dsmt_nnunet.tasks import ClassificationSchema, Nodule, NoduleTable

FLOOR = "logistic_diameter_mean_hu"
"""Logistic regression on what a ruler and a region of interest tell: the floor a network must beat."""

Key = tuple[str, str]


@dataclass(frozen=True)
class Run:
    """One trained model on the unseen cases.

    Attributes:
        label: trainer, and the checkpoint where it is not the final one.
        seed: of the training.
        predictions: folder with CASE.json and masks.
        checkpoint: of the model.
        minutes, memory_gb: of the training; NaN if it was trained before.
    """

    label: str
    seed: int
    predictions: Path
    checkpoint: Path
    minutes: float
    memory_gb: float


def write_study(raw: Path, runs: Sequence[Run], out: Path) -> None:
    """Writes runs.csv and scores.csv.

    Args:
        raw: the raw data set, its test cases with a `cohort` column.
        runs: finished runs.
        out: folder.
    """
    schema = ClassificationSchema.from_dataset_json(json.loads((raw / "dataset.json").read_text(encoding="utf-8")))
    truth = NoduleTable.read(raw / "nodulesTs.csv", schema)
    known = [nodule for nodule in truth.nodules if nodule.labels.get(schema.primary_task)]
    scores = {run: _scores(run) for run in runs}
    _write_runs(raw, schema, truth, scores, out / "runs.csv")
    columns: dict[str, dict[Key, float]] = {FLOOR: _floor(raw, schema)}
    seeds_of: dict[str, list[dict[Key, float]]] = defaultdict(list)
    for run, tasks in scores.items():
        columns[f"{run.label}_seed{run.seed}"] = tasks[schema.primary_task]
        seeds_of[run.label].append(tasks[schema.primary_task])
    for label, seeds in seeds_of.items():
        columns[label] = {key: float(np.mean([seed[key] for seed in seeds])) for key in seeds[0]}
    rows = []
    for nodule in known:
        key = (nodule.case_id, nodule.nodule_id)
        positive = nodule.labels[schema.primary_task] == schema.primary.positive_class
        row: dict[str, Any] = {
            "case_id": nodule.case_id,
            "nodule_id": nodule.nodule_id,
            "patient_id": nodule.patient_id,
            "cohort": nodule.extra.get("cohort", ""),
            "diameter_mm": f"{nodule.diameter_mm:.2f}",
            "truth": int(positive),
        }
        rows.append({**row, **{name: f"{values[key]:.5f}" for name, values in columns.items()}})
    _write_csv(out / "scores.csv", rows)


def _write_runs(
    raw: Path,
    schema: ClassificationSchema,
    truth: NoduleTable,
    scores: Mapping[Run, Mapping[str, Mapping[Key, float]]],
    path: Path,
) -> None:
    kept = {(row["run"], row["seed"]): row for row in _rows_of(path)}
    rows = []
    for run, tasks in scores.items():
        before = kept.get((run.label, str(run.seed)), {})
        row: dict[str, Any] = {
            "run": run.label,
            "seed": run.seed,
            "parameters": _parameters(run.checkpoint),
            "training_minutes": before.get("training_minutes", "") if math.isnan(run.minutes) else f"{run.minutes:.1f}",
            "peak_memory_gb": before.get("peak_memory_gb", "") if math.isnan(run.memory_gb) else f"{run.memory_gb:.2f}",
        }
        for cohort in sorted({nodule.extra.get("cohort", "") for nodule in truth.nodules}):
            own = [nodule for nodule in truth.nodules if nodule.extra.get("cohort", "") == cohort]
            for task in schema.tasks:
                if task.is_binary:
                    row[f"{cohort}_{task.name}_auc"] = f"{_auc(own, task.name, task.positive_class, tasks):.4f}"
            row[f"{cohort}_dice"] = f"{_dice(raw, run.predictions, {nodule.case_id for nodule in own}):.4f}"
        rows.append(row)
        kept.pop((run.label, str(run.seed)), None)
    # Runs of an earlier call keep their rows.
    _write_csv(path, [*rows, *kept.values()])


def _scores(run: Run) -> dict[str, dict[Key, float]]:
    """Task name -> nodule -> probability of the last class."""
    scores: dict[str, dict[Key, float]] = defaultdict(dict)
    for case in read_folder(run.predictions):
        for nodule in case.nodules:
            for name, task in nodule.tasks.items():
                scores[name][case.case_id, nodule.nodule_id] = list(task.probabilities.values())[-1]
    return scores


def _auc(nodules: Sequence[Nodule], task: str, positive: str, scores: Mapping[str, Mapping[Key, float]]) -> float:
    known = [nodule for nodule in nodules if nodule.labels.get(task)]
    truth = [int(nodule.labels[task] == positive) for nodule in known]
    if len(set(truth)) < 2:
        return math.nan
    return auc_score(truth, [scores[task][nodule.case_id, nodule.nodule_id] for nodule in known])


def _dice(raw: Path, predictions: Path, case_ids: set[str]) -> float:
    """Mean over cases."""
    names = [f"{case_id}.nii.gz" for case_id in sorted(case_ids)]
    return float(np.mean([dice_of_files(raw / "labelsTs" / name, predictions / name) for name in names]))


def _parameters(checkpoint: Path) -> int:
    weights = torch.load(checkpoint, map_location="cpu", weights_only=False)["network_weights"]
    return sum(value.numel() for name, value in weights.items() if not name.startswith("decoder.encoder."))


def _floor(raw: Path, schema: ClassificationSchema) -> dict[Key, float]:
    """Scores of the unseen nodules by logistic regression on diameter and mean HU of the training ones."""
    features, labels, _ = _measured(raw, "Tr", "nodules.csv", schema)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features[labels >= 0], labels[labels >= 0])
    features, _, keys = _measured(raw, "Ts", "nodulesTs.csv", schema)
    return dict(zip(keys, model.predict_proba(features)[:, 1].tolist(), strict=True))


def _measured(
    raw: Path, part: str, table: str, schema: ClassificationSchema
) -> tuple[np.ndarray, np.ndarray, list[Key]]:
    """(N, 2) diameter in mm and mean HU of the mask within that diameter, (N,) label or -1, and the nodules."""
    features, labels, keys = [], [], []
    for case_id, nodules in NoduleTable.read(raw / table, schema).by_case().items():
        image = sitk.ReadImage(str(raw / f"images{part}" / f"{case_id}_0000.nii.gz"))
        mask = sitk.ReadImage(str(raw / f"labels{part}" / f"{case_id}.nii.gz"))
        hu = sitk.GetArrayViewFromImage(image)
        inside = np.argwhere(sitk.GetArrayViewFromImage(mask) > 0)
        spacing = np.array(image.GetSpacing())[::-1]
        for nodule in nodules:
            centre = np.array(image.TransformPhysicalPointToContinuousIndex(nodule.centre_mm))[::-1]
            near = inside[np.linalg.norm((inside - centre) * spacing, axis=1) <= nodule.diameter_mm]
            features.append([nodule.diameter_mm, float(hu[tuple(near.T)].mean()) if len(near) else 0.0])
            label = nodule.labels.get(schema.primary_task)
            labels.append(schema.primary.index(label) if label else -1)
            keys.append((case_id, nodule.nodule_id))
    return np.array(features), np.array(labels), keys


def _rows_of(path: Path) -> list[dict[str, str]]:
    return [row.values for row in read_csv(path).rows] if path.is_file() else []


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    partial = path.with_name(f".{path.name}.tmp")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)
