"""What is reported of a task with more than two classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.evaluation.records.curves import MulticlassCurves
from dsmt_nnunet.evaluation.records.tasks import ClassScore, MulticlassTask
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.calibration.temperature import negative_log_likelihood
from dsmt_nnunet.statistics.checks import FloatArray, IntArray
from dsmt_nnunet.statistics.proportions import UNDEFINED, proportion
from dsmt_nnunet.statistics.resampling import Resampler, percentile_interval, resampled_aucs
from dsmt_nnunet.statistics.roc.curve import roc_curve
from dsmt_nnunet.statistics.roc.interval import delong_interval


def confusion_matrix(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, n_classes: int) -> tuple[tuple[int, ...], ...]:
    """Counts of cases, K rows of the true and K columns of the predicted class."""
    matrix = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(matrix, (np.asarray(y_true, dtype=np.int64), np.asarray(y_pred, dtype=np.int64)), 1)
    return tuple(tuple(row) for row in matrix.tolist())


def evaluate_classes(
    y_true: IntArray,
    probs: FloatArray,
    decisions: IntArray,
    classes: Sequence[str],
    settings: EvaluationSettings,
    clusters: Sequence[str] | None = None,
) -> MulticlassTask:
    """One-against-rest AUC of each class and their mean, accuracy, confusion matrix.

    The macro AUC is the plain mean over all classes, NaN where a class has no case or no counterpart.

    Args:
        y_true: class indices, shape (N,).
        probs: shape (N, K).
        decisions: class indices chosen, shape (N,).
        classes: names of the K classes.
        settings: how intervals are made.
        clusters: patient of each case.
    """
    n_classes = len(classes)
    counts = np.bincount(y_true, minlength=n_classes)
    samples = None
    if settings.n_resamples and len(y_true) and counts.min() >= 2:
        resampler = Resampler.create(y_true, clusters, settings.n_resamples, settings.seed)
        samples = [resampled_aucs(y_true == index, probs[:, index], resampler)[:, 0] for index in range(n_classes)]
    per_class = {}
    for index, name in enumerate(classes):
        interval = delong_interval(y_true == index, probs[:, index], settings.level)
        bootstrap = UNDEFINED if samples is None else percentile_interval(samples[index], settings.level)
        per_class[name] = ClassScore(
            n=int(counts[index]),
            auc=interval.auc,
            auc_ci_delong=(interval.lower, interval.upper),
            auc_ci_method=interval.method,
            auc_ci_bootstrap=bootstrap,
            sensitivity=_share(int((decisions[y_true == index] == index).sum()), int(counts[index])),
        )
    right = proportion(int((decisions == y_true).sum()), len(y_true), settings.interval, settings.level)
    macro = float(np.mean([item.auc for item in per_class.values()]))
    macro_ci = UNDEFINED if samples is None else percentile_interval(np.mean(samples, axis=0), settings.level)
    return MulticlassTask(
        n=len(y_true),
        classes=tuple(classes),
        auc_one_vs_rest=per_class,
        auc_macro=macro,
        auc_macro_ci_bootstrap=macro_ci,
        accuracy=right.value,
        accuracy_ci=right.ci,
        balanced_accuracy=float(np.mean([item.sensitivity for item in per_class.values()])),
        log_loss=negative_log_likelihood(y_true, probs) if len(y_true) else math.nan,
        confusion_matrix=confusion_matrix(y_true, decisions, n_classes),
        confusion_matrix_axes="rows: truth, columns: prediction, in the order of classes",
    )


def class_curves(y_true: IntArray, probs: FloatArray, decisions: IntArray, classes: Sequence[str]) -> MulticlassCurves:
    """Confusion matrix and one-against-rest ROC curves; the arguments are those of `evaluate_classes`."""
    return MulticlassCurves(
        classes=tuple(classes),
        confusion_matrix=confusion_matrix(y_true, decisions, len(classes)),
        roc_one_vs_rest={name: roc_curve(y_true == index, probs[:, index]) for index, name in enumerate(classes)},
    )


def _share(count: int, total: int) -> float:
    return count / total if total else math.nan
