"""What is said of the tasks after an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from dsmt_nnunet.tasks import UNKNOWN_LABEL, Task

SMOOTHING = 0.8


def task_auc(labels: npt.NDArray[Any], probabilities: npt.NDArray[Any], task: Task) -> float:
    """AUC of a binary task, or the mean one-vs-rest AUC of a multi-class one; NaN where it is not defined.

    Args:
        labels: (N,), `UNKNOWN_LABEL` where not known.
        probabilities: (N, K).
        task: names the classes.
    """
    known = labels != UNKNOWN_LABEL
    labels, probabilities = labels[known], probabilities[known]
    if not np.isfinite(probabilities).all():
        return math.nan
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


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
