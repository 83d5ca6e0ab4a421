"""What is said of the tasks after an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from dsmt_nnunet.dataloading.sampling import NO_NODULE
from dsmt_nnunet.tasks import UNKNOWN_LABEL, Task, TaskKind

SMOOTHING = 0.8
FloatArray = npt.NDArray[np.floating[Any]]


class TaskOutputs(TypedDict):
    """What the network says of the nodules of a validation batch.

    `nodules` (B,), `NO_NODULE` for background; `labels` (B, T); `logits`, one (B, K) a task; `losses` (T,).
    """

    nodules: npt.NDArray[np.int_]
    labels: npt.NDArray[np.int_]
    logits: list[FloatArray]
    losses: FloatArray


def task_auc(labels: npt.NDArray[np.int_], probabilities: FloatArray, task: Task) -> float:
    """AUC of a binary task or of the question of grades, or the mean one-vs-rest AUC of a nominal one; NaN where it is
    not defined.

    Args:
        labels: (N,), `UNKNOWN_LABEL` where not known.
        probabilities: (N, K).
        task: names the classes.
    """
    known = labels != UNKNOWN_LABEL
    labels, probabilities = labels[known], probabilities[known]
    if not np.isfinite(probabilities).all():
        return math.nan
    if task.kind is TaskKind.ORDINAL:
        answers = [task.binary_label(task.classes[label]) for label in labels]
        decided = np.array([answer is not None for answer in answers], dtype=bool)
        task_of_answers = task.as_binary()
        labels = np.array([task_of_answers.index(answer) for answer in answers], dtype=int)[decided]
        probabilities, task = task.binary_probabilities(probabilities)[decided], task_of_answers
    columns = [1] if task.is_binary else range(len(task.classes))
    aucs = [
        roc_auc_score(labels == column, probabilities[:, column])
        for column in columns
        if 0 < np.count_nonzero(labels == column) < len(labels)
    ]
    return float(np.mean(aucs)) if aucs else math.nan


def smoothed(values: Sequence[float], smoothing: float = SMOOTHING) -> float:
    """Exponential moving average of the values that are defined; NaN where none is."""
    average = math.nan
    for value in values:
        if not math.isnan(value):
            average = value if math.isnan(average) else smoothing * average + (1 - smoothing) * value
    return average


def nodule_aucs(outputs: Sequence[TaskOutputs], tasks: Sequence[Task]) -> list[float]:
    """AUC of each task over the nodules of an epoch: one that came up twice counts once, background patches do not.

    Args:
        outputs: one a batch.
        tasks: in the order of labels and logits.
    """
    nodules = np.concatenate([output["nodules"] for output in outputs])
    labels = np.concatenate([output["labels"] for output in outputs])
    _, first = np.unique(nodules, return_index=True)
    first = first[nodules[first] != NO_NODULE]
    aucs = []
    for position, task in enumerate(tasks):
        logits = np.concatenate([output["logits"][position] for output in outputs])
        aucs.append(task_auc(labels[first, position], softmax(logits[first], axis=-1), task))
    return aucs


def mean_of_defined(values: FloatArray) -> FloatArray:
    """Column means over what is defined; NaN where nothing is, without a warning."""
    defined = ~np.isnan(values)
    return np.where(defined.any(0), np.where(defined, values, 0).sum(0) / np.maximum(defined.sum(0), 1), np.nan)
