"""What is reported of the grades of an ordinal task, beside the question that they answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dsmt_nnunet.evaluation.auc import quoted_auc
from dsmt_nnunet.evaluation.class_readers import ClassDecisions, class_readers, readings
from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule
from dsmt_nnunet.evaluation.multiclass import confusion_matrix
from dsmt_nnunet.evaluation.records.grades import CutScore, GradedScores
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.task_cases import TaskOptions, patient_of
from dsmt_nnunet.statistics.checks import FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.bootstrap import BootstrapEstimate
from dsmt_nnunet.statistics.clusters.ratio import clustered_mean, clustered_proportion
from dsmt_nnunet.statistics.ordinal.metrics import GradedPrediction, ordinal_metrics
from dsmt_nnunet.statistics.ordinal.weighted import c_index, mean_absolute_error, quadratic_kappa
from dsmt_nnunet.statistics.proportions import UNDEFINED
from dsmt_nnunet.statistics.resampled_t import corrected_resampled_t
from dsmt_nnunet.statistics.roc.interval import bounded_interval
from dsmt_nnunet.tasks import Task, TaskKind

RULE = "decided is the median grade of the probabilities, ranked by their mean grade"


def median_grades(probs: FloatArray) -> IntArray:
    """Index of the median grade of each row of probabilities, (N, K) -> (N,)."""
    reached = np.cumsum(probs, axis=1) >= 0.5 * probs.sum(axis=1, keepdims=True) - 1e-12
    return np.asarray(reached.argmax(axis=1), dtype=np.int64)


def evaluate_grades(
    joined: Sequence[JoinedNodule], task: Task, options: TaskOptions, settings: EvaluationSettings
) -> GradedScores | None:
    """Agreement and order of the grades of all nodules that were found and whose grade is known, undecided ones too.

    None for a task without grades, and where no grade is known. In a cross-validation what puts scores in an order
    (C-index, AUC at every cut) is the mean over folds.
    """
    found = [item for item in joined if item.status == "matched" and item.truth]
    chosen = [item for item in found if item.truth and item.truth.labels.get(task.name) is not None]
    if task.kind is not TaskKind.ORDINAL or not chosen:
        return None
    truth = np.array([task.index(item.truth.labels[task.name]) for item in chosen if item.truth], dtype=np.int64)
    answers = [item.predicted.tasks[task.name].probabilities for item in chosen if item.predicted]
    probs = np.array([[answer[name] for name in task.classes] for answer in answers], dtype=np.float64)
    grades, score = median_grades(probs), probs @ np.arange(len(task.classes))
    clusters = None
    if options.cluster is not None:
        clusters = tuple(patient_of(item.truth, options.cluster) for item in chosen if item.truth)
    folds = np.array([-1 if item.fold is None else item.fold for item in chosen], dtype=np.int64)
    table = ScoreTable(
        tuple(item.case_id for item in chosen),
        truth > 0,
        {task.name: score},
        clusters=clusters,
        folds=folds if len(np.unique(folds)) > 1 else None,
    )
    cases = ClassDecisions(task.classes, True, truth, grades, clusters)
    read = readings(chosen, options.readers.get(task.name, ()), task.classes)
    return replace(_graded(table, task, truth, grades, score, settings), readers=class_readers(cases, read, settings))


def _graded(
    table: ScoreTable, task: Task, truth: IntArray, grades: IntArray, score: FloatArray, settings: EvaluationSettings
) -> GradedScores:
    n_grades, everyone = len(task.classes), np.ones((1, len(truth)), dtype=np.int64)
    kappa_ci = c_ci = UNDEFINED
    kappa = float(quadratic_kappa(truth, grades, n_grades, everyone)[0])
    concordance = float(c_index(truth, score, everyone)[0]) if len(np.unique(truth)) > 1 else math.nan
    if settings.n_resamples and len(np.unique(truth)) > 1:
        found = ordinal_metrics(
            truth,
            GradedPrediction(grades, score),
            n_grades,
            table.clusters,
            settings.level,
            settings.n_resamples,
            settings.seed,
        )
        kappa_ci, c_ci = _ci(found.quadratic_kappa), _ci(found.c_index)
    if table.folds is not None:
        concordance, c_ci = _within_folds(table, truth, score, settings.level)
    error = clustered_mean(np.abs(grades - truth), table.clusters, settings.level)
    right = clustered_proportion(grades == truth, table.clusters, settings.level, settings.interval)
    return GradedScores(
        n=len(truth),
        grades=task.classes,
        rule=RULE,
        quadratic_kappa=kappa,
        quadratic_kappa_ci=kappa_ci,
        c_index=concordance,
        c_index_ci=c_ci,
        mean_absolute_error=float(mean_absolute_error(truth, grades, everyone)[0]),
        mean_absolute_error_ci=(max(error.ci[0], 0.0), error.ci[1]),
        accuracy=right.value,
        accuracy_ci=right.ci,
        auc_at_cuts=tuple(_cut(table, task, truth, cut, settings.level) for cut in range(1, n_grades)),
        confusion_matrix=confusion_matrix(truth, grades, n_grades),
    )


def _cut(table: ScoreTable, task: Task, truth: IntArray, cut: int, level: float) -> CutScore:
    """AUC of "this grade or above" against below."""
    part = ScoreTable(table.case_names, truth >= cut, table.scores, clusters=table.clusters, folds=table.folds)
    auc = quoted_auc(part, task.name, level)
    return CutScore(
        at_or_above=task.classes[cut],
        n_at_or_above=int((truth >= cut).sum()),
        auc=auc.auc,
        auc_ci=auc.auc_ci,
        auc_method=auc.auc_method,
    )


def _within_folds(
    table: ScoreTable, truth: IntArray, score: FloatArray, level: float
) -> tuple[float, tuple[float, float]]:
    """Mean C-index over the folds that hold several grades, with the corrected resampled t on the logit scale."""
    values, ratios = [], []
    folds = np.zeros(len(truth), dtype=np.int64) if table.folds is None else table.folds
    for fold in np.unique(folds).tolist():
        inside = folds == fold
        if len(np.unique(truth[inside])) > 1:
            weights = np.ones((1, int(inside.sum())), dtype=np.int64)
            values.append(float(c_index(truth[inside], score[inside], weights)[0]))
            ratios.append(float(inside.sum() / (~inside).sum()))
    if len(values) < 2:
        return (values[0] if values else math.nan), UNDEFINED
    found = corrected_resampled_t(values, float(np.mean(ratios)), level, null=0.5)
    return found.mean, bounded_interval(found.mean, found.se, found.df, level)


def _ci(estimate: BootstrapEstimate) -> tuple[float, float]:
    return estimate.ci
