"""How well calibrated each run of a study is, before and after temperature scaling on cases it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.evaluation.out_of_fold import nested_calibration
from dsmt_nnunet.evaluation.score import calibration
from dsmt_nnunet.predictions.results import read_folder
from dsmt_nnunet.statistics.calibration.scaling import apply_temperature
from dsmt_nnunet.statistics.calibration.temperature import fit_temperature
from dsmt_nnunet.study.floors import MeasuredNodule

LEVEL = 0.95
_REPORTED = ("brier", "ece", "calibration_slope")
Array = npt.NDArray[Any]


def calibration_row(
    task: str, predictions: Sequence[Path], validation: Sequence[Path], nodules: Sequence[MeasuredNodule]
) -> dict[str, str]:
    """Temperature of the primary task, and calibration without and with it.

    Args:
        task: the primary task, whose answers are two: its classes, or those to the question of its grades.
        predictions: folders with the answers for the unseen cases, one a fold.
        validation: folders with the answers for validation cases that are not among the unseen ones, on which the
            temperature is chosen; none in a cross-validation, where each fold's is chosen on the other folds.
        nodules: of all cases, with their labels.

    Returns:
        Empty cells where there is nothing to choose the temperature on.
    """
    labels, probs, folds = _pooled(task, predictions, nodules)
    row = {"nodules": str(len(labels)), "temperature": "", **_figures(labels, probs, "")}
    calibrated, temperature = None, float("nan")
    if validation:
        temperature = fit_temperature(*_pooled(task, validation, nodules)[:2])
        calibrated = apply_temperature(probs, temperature)
    elif len(predictions) > 1:
        nested = nested_calibration(labels, probs, folds)
        calibrated, temperature = nested.probs, float(np.mean([choice.temperature for choice in nested.choices]))
    if calibrated is None:
        return {**row, **{f"{name}_scaled": "" for name in _REPORTED}}
    return {**row, "temperature": f"{temperature:.3f}", **_figures(labels, calibrated, "_scaled")}


def _figures(labels: Array, probs: Array, suffix: str) -> dict[str, str]:
    found = calibration(labels == 1, probs[:, 1], LEVEL)
    return {f"{name}{suffix}": f"{getattr(found, name):.4f}" for name in _REPORTED}


def _pooled(task: str, folders: Sequence[Path], nodules: Sequence[MeasuredNodule]) -> tuple[Array, Array, Array]:
    """Labels (N,), probabilities (N, 2) and numbers of the folders (N,), of the nodules whose label is known."""
    label_of = {measured.key: measured.label for measured in nodules}
    labels, probs, folds = [], [], []
    for number, folder in enumerate(folders):
        for case in read_folder(folder):
            for nodule in case.nodules:
                label = label_of.get((case.case_id, nodule.nodule_id), -1)
                if label >= 0:
                    labels.append(label)
                    probs.append(list(nodule.tasks[task].answer_probabilities.values()))
                    folds.append(number)
    return np.array(labels), np.array(probs, dtype=float).reshape(-1, 2), np.array(folds)
