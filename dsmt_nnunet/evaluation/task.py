"""What is reported of one task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from dsmt_nnunet.evaluation.class_comparisons import ClassTable, class_comparisons
from dsmt_nnunet.evaluation.class_readers import class_readers, readings
from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule, truth_value
from dsmt_nnunet.evaluation.multiclass import ClassAnswers, class_curves, evaluate_classes
from dsmt_nnunet.evaluation.patients import PATIENT_COLUMN, patients, warn_of_independence
from dsmt_nnunet.evaluation.records.curves import MulticlassCurves, ScoreCurves
from dsmt_nnunet.evaluation.records.score import DecisionValues
from dsmt_nnunet.evaluation.records.tasks import BinaryTask, MulticlassTask
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.table import evaluate_table
from dsmt_nnunet.evaluation.task_cases import TaskCases, TaskOptions, group_levels, known_label
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.checks import FloatArray, IntArray
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.statistics.named_warnings import IncompleteDataWarning, WarningLog
from dsmt_nnunet.statistics.ordinal.measures import Answers, ClassCases
from dsmt_nnunet.tasks import Task

MISSED_NOTE = (
    "Calibration and the first AUC are of the nodules that were found; 'intention_to_diagnose' is of all that were to "
    "be diagnosed, and so are the comparisons with readers."
)


def evaluate_binary_task(
    cases: TaskCases,
    decisions: Sequence[Decisions],
    options: TaskOptions,
    settings: EvaluationSettings,
    log: WarningLog,
    probabilities: FloatArray | None = None,
    folds: IntArray | None = None,
    everyone: ScoreTable | None = None,
) -> tuple[BinaryTask, ScoreCurves]:
    """Metrics and curves of a binary task.

    Args:
        cases: nodules of the task.
        decisions: operating points, at least one.
        options: groups, patients, readers, further thresholds.
        settings: how intervals are made.
        log: takes the named warnings.
        probabilities: recalibrated, for calibration and decision curve; those of `cases` by default.
        folds: fold of each nodule of a cross-validation, shape (N,).
        everyone: the table of all nodules that were to be diagnosed, on which readers are compared with the model.
    """
    name = cases.task.name
    table = cases.score_table(options, decisions, folds)
    recalibrated = None if probabilities is None else {name: probabilities}
    result = evaluate_table(table, settings, log, recalibrated, everyone)
    score, curves = result.scores[name], result.curves[name]
    first = score.operating_points[0]
    stated = {item.name: getattr(first, item.name) for item in fields(DecisionValues)}
    task = widened(
        BinaryTask,
        result.comparisons,
        score,
        **stated,
        positive_class=cases.task.positive_class,
        decision_curve=curves.decision_curve,
    )
    return task, curves


def evaluate_multiclass_task(
    cases: TaskCases,
    options: TaskOptions,
    settings: EvaluationSettings,
    log: WarningLog,
    folds: IntArray | None = None,
    calibrated: FloatArray | None = None,
) -> tuple[MulticlassTask, MulticlassCurves]:
    """Metrics and curves of a task with more than two classes; the decision is the most probable class.

    Args:
        cases: nodules of the task.
        options: patients, readers.
        settings: how intervals are made.
        log: takes the named warnings.
        folds: fold of each nodule of a cross-validation, shape (N,).
        calibrated: probabilities of temperatures chosen on the other folds, shape (N, K).
    """
    answers = (cases.labels, cases.probs, cases.decided, cases.task.classes)
    columns = options.readers.get(cases.task.name, ())
    read = readings(cases.nodules, columns, cases.task.classes)
    if other := [name for name in columns if name not in read]:
        raise ValueError(
            f"Reader columns {other} of task '{cases.task.name}' hold other words than its classes "
            f"{list(cases.task.classes)}, or nothing. Leave a cell empty where the reader gave no rating."
        )
    with log.collect(cases.task.name):
        task = evaluate_classes(ClassAnswers(*answers, cases.clusters(options), folds, calibrated), settings)
        known = ClassCases.create(cases.labels, len(cases.task.classes), False, cases.clusters(options), folds)
        model = Answers(cases.decided, cases.probs)
        task = replace(task, readers=class_readers(known, model, cases.task.classes, read, settings))
    table = ClassTable(known, {cases.task.name: model}, group_levels(cases.nodules, options.groups))
    task = widened(MulticlassTask, task, class_comparisons(table, settings, log))
    return task, class_curves(*answers)


def warn_of_gaps(joined: Sequence[JoinedNodule], cases: TaskCases, task: Task, log: WarningLog) -> None:
    """Says how many nodules a task leaves out, and why."""
    unknown = sum(item.status == "matched" for item in joined) - len(cases.nodules)
    missed = sum(item.predicted is None and known_label(item.truth, task) >= 0 for item in joined)
    if unknown:
        log.add(IncompleteDataWarning, task.name, f"{unknown} nodules have no known label and are left out.")
    if missed:
        log.add(IncompleteDataWarning, task.name, f"{missed} labelled nodules have no answer. {MISSED_NOTE}")


def warn_of_patients(joined: Sequence[JoinedNodule], options: TaskOptions, log: WarningLog) -> None:
    """Says which spellings are taken for one patient, or that patients were not to be the unit."""
    column = options.cluster or PATIENT_COLUMN
    names = [truth_value(item.truth, column) for item in joined if item.truth is not None]
    if options.cluster is None:
        warn_of_independence(names, log)
    else:
        patients(names, column, log)
