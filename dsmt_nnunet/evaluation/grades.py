"""What is reported of the grades of an ordinal task, beside the question that they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dsmt_nnunet.evaluation.auc import quoted_auc
from dsmt_nnunet.evaluation.class_comparisons import ClassTable, class_comparisons, measure_value
from dsmt_nnunet.evaluation.class_readers import class_readers, readings
from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule
from dsmt_nnunet.evaluation.multiclass import confusion_matrix
from dsmt_nnunet.evaluation.records.grades import CutScore, GradedScores
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.task_cases import TaskOptions, group_levels, patient_of
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.checks import FloatArray, IntArray
from dsmt_nnunet.statistics.named_warnings import WarningLog
from dsmt_nnunet.statistics.ordinal.measures import (
    ACCURACY,
    C_INDEX,
    GRADE_MEASURES,
    MEAN_ABSOLUTE_ERROR,
    QUADRATIC_KAPPA,
    Answers,
    ClassCases,
    mean_grades,
)
from dsmt_nnunet.tasks import Task, TaskKind

RULE = "decided is the median grade of the probabilities, ranked by their mean grade"


def median_grades(probs: FloatArray) -> IntArray:
    """Index of the median grade of each row of probabilities, (N, K) -> (N,)."""
    reached = np.cumsum(probs, axis=1) >= 0.5 * probs.sum(axis=1, keepdims=True) - 1e-12
    return np.asarray(reached.argmax(axis=1), dtype=np.int64)


def evaluate_grades(
    joined: Sequence[JoinedNodule], task: Task, options: TaskOptions, settings: EvaluationSettings, log: WarningLog
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
    grades, score = median_grades(probs), mean_grades(probs)
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
    cases = ClassCases.create(truth, len(task.classes), True, clusters, table.folds)
    model = Answers(grades, probs)
    read = readings(chosen, options.readers.get(task.name, ()), task.classes)
    graded = _graded(table, task, cases, model, settings)
    graded = replace(graded, readers=class_readers(cases, model, task.classes, read, settings))
    compared = ClassTable(cases, {task.name: model}, group_levels(chosen, options.groups))
    return widened(GradedScores, graded, class_comparisons(compared, settings, log))


def _graded(
    table: ScoreTable, task: Task, cases: ClassCases, model: Answers, settings: EvaluationSettings
) -> GradedScores:
    found = {measure: measure_value(measure, cases, model, settings) for measure in GRADE_MEASURES}
    kappa, order, error, right = (found[item] for item in (QUADRATIC_KAPPA, C_INDEX, MEAN_ABSOLUTE_ERROR, ACCURACY))
    n_grades = len(task.classes)
    return GradedScores(
        n=len(cases.truth),
        grades=task.classes,
        rule=RULE,
        quadratic_kappa=kappa.value,
        quadratic_kappa_ci=kappa.ci,
        c_index=order.value,
        c_index_ci=order.ci,
        mean_absolute_error=error.value,
        mean_absolute_error_ci=error.ci,
        accuracy=right.value,
        accuracy_ci=right.ci,
        auc_at_cuts=tuple(_cut(table, task, cases.truth, cut, settings.level) for cut in range(1, n_grades)),
        confusion_matrix=confusion_matrix(cases.truth, model.decided, n_grades),
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
