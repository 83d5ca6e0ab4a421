"""What is reported of a task with more than two classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.evaluation.class_comparisons import measure_value
from dsmt_nnunet.evaluation.records.curves import MulticlassCurves
from dsmt_nnunet.evaluation.records.tasks import ClassScore, MulticlassTask
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.calibration.temperature import negative_log_likelihood
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.ratio import clustered_mean, clustered_proportion
from dsmt_nnunet.statistics.clusters.units import cluster_codes
from dsmt_nnunet.statistics.ordinal.measures import COHENS_KAPPA, Answers, ClassCases
from dsmt_nnunet.statistics.proportions import Proportion
from dsmt_nnunet.statistics.roc.by_patient import macro_auc
from dsmt_nnunet.statistics.roc.curve import roc_curve
from dsmt_nnunet.statistics.roc.folds import macro_fold_auc


def confusion_matrix(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, n_classes: int) -> tuple[tuple[int, ...], ...]:
    """Counts of cases, K rows of the true and K columns of the predicted class."""
    matrix = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(matrix, (np.asarray(y_true, dtype=np.int64), np.asarray(y_pred, dtype=np.int64)), 1)
    return tuple(tuple(row) for row in matrix.tolist())


@dataclass(frozen=True)
class ClassAnswers:
    """What was said of N cases in K classes.

    Attributes:
        y_true: class indices, shape (N,).
        probs: that rank the cases, shape (N, K).
        decisions: class indices chosen, shape (N,).
        classes: names of the K classes.
        clusters: patient of each case.
        folds: fold of each case of a cross-validation, shape (N,); None where one model answered.
        calibrated: probabilities that log loss and Brier score are of, shape (N, K); `probs` by default.
    """

    y_true: IntArray
    probs: FloatArray
    decisions: IntArray
    classes: Sequence[str]
    clusters: Sequence[str] | None = None
    folds: IntArray | None = None
    calibrated: FloatArray | None = None


def evaluate_classes(answers: ClassAnswers, settings: EvaluationSettings) -> MulticlassTask:
    """One-against-rest AUC of each class and their mean, agreement, calibration, confusion matrix.

    The macro AUC is the plain mean over all classes, NaN where a class has no case or no counterpart; of several folds
    all AUCs are means over folds.
    """
    y_true, decisions, clusters, level = answers.y_true, answers.decisions, answers.clusters, settings.level
    n_classes, codes = len(answers.classes), cluster_codes(clusters, len(y_true))
    aucs = macro_auc(y_true, answers.probs, clusters, level)
    if answers.folds is not None and len(np.unique(answers.folds)) > 1:
        aucs = macro_fold_auc(y_true, answers.probs, answers.folds, clusters, level)

    def share(hits: BoolArray, among: BoolArray) -> Proportion:
        return clustered_proportion(hits[among], codes[among], level, settings.interval)

    per_class = {}
    for index, (name, interval) in enumerate(zip(answers.classes, aucs.classes, strict=True)):
        found = share(decisions == index, y_true == index)
        per_class[name] = ClassScore(
            n=int((y_true == index).sum()),
            auc=interval.auc,
            auc_ci=(interval.lower, interval.upper),
            auc_method=interval.method,
            sensitivity=found.value,
            sensitivity_ci=found.ci,
        )
    right = share(decisions == y_true, np.ones(len(y_true), dtype=bool))
    probs = answers.probs if answers.calibrated is None else answers.calibrated
    brier = clustered_mean(((probs - np.eye(n_classes)[y_true]) ** 2).sum(axis=1), clusters, level, upper=2.0)
    cases = ClassCases(y_true, n_classes, False, codes)
    kappa = measure_value(COHENS_KAPPA, cases, Answers(decisions), settings)
    return MulticlassTask(
        n=len(y_true),
        classes=tuple(answers.classes),
        auc_one_vs_rest=per_class,
        auc_macro=aucs.mean.auc,
        auc_macro_ci=(aucs.mean.lower, aucs.mean.upper),
        accuracy=right.value,
        accuracy_ci=right.ci,
        balanced_accuracy=float(np.mean([item.sensitivity for item in per_class.values()])),
        kappa=kappa.value,
        kappa_ci=kappa.ci,
        brier=brier.estimate,
        brier_ci=brier.ci,
        log_loss=negative_log_likelihood(y_true, probs) if len(y_true) else math.nan,
        confusion_matrix=confusion_matrix(y_true, decisions, n_classes),
        confusion_matrix_axes="rows: truth, columns: prediction, in the order of classes",
    )


def class_curves(y_true: IntArray, probs: FloatArray, decisions: IntArray, classes: Sequence[str]) -> MulticlassCurves:
    """Confusion matrix and one-against-rest ROC curves; the arguments are those of `ClassAnswers`."""
    return MulticlassCurves(
        classes=tuple(classes),
        confusion_matrix=confusion_matrix(y_true, decisions, len(classes)),
        roc_one_vs_rest={name: roc_curve(y_true == index, probs[:, index]) for index, name in enumerate(classes)},
    )
