"""The block of one task in metrics.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule
from dsmt_nnunet.evaluation.multiclass import confusion_matrix, multiclass_block
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.table import evaluate_table
from dsmt_nnunet.evaluation.task_cases import TaskCases, TaskOptions, known_label
from dsmt_nnunet.statistics.checks import FloatArray
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.statistics.decisions.metrics import METRIC_NAMES, decision_metrics
from dsmt_nnunet.statistics.named_warnings import ClusteredDataWarning, IncompleteDataWarning, WarningLog
from dsmt_nnunet.statistics.roc.curve import roc_curve
from dsmt_nnunet.tasks import Task

MISSED_NOTE = (
    "AUC and calibration are of the nodules that were found; a missed nodule has no probability. In "
    "'including_missed' a missed nodule counts as called negative."
)


def binary_task_block(
    cases: TaskCases,
    decisions: Sequence[Decisions],
    options: TaskOptions,
    settings: EvaluationSettings,
    log: WarningLog,
    probabilities: FloatArray | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Block and curves of a binary task.

    The metrics of the first operating point stand beside the AUC too, under their own names.

    Args:
        cases: nodules of the task.
        decisions: operating points.
        options: groups, patients, readers, further thresholds.
        settings: how intervals are made.
        log: takes the named warnings.
        probabilities: recalibrated, for calibration and decision curve; those of `cases` by default.
    """
    name = cases.task.name
    table = cases.score_table(options, decisions)
    recalibrated = None if probabilities is None else {name: probabilities}
    content, curves = evaluate_table(table, settings, log, recalibrated)
    block = content.pop("scores")[name]
    decision_curve = content.pop("decision_curve")[name]
    first = block["operating_points"][0] if block["operating_points"] else {}
    keys = ("threshold", *(key for metric in METRIC_NAMES for key in (metric, f"{metric}_ci")))
    block |= {key: first[key] for key in keys if key in first}
    block["positive_class"] = cases.task.positive_class
    block |= content | {"decision_curve": decision_curve}
    return block, curves[name] | {"decision_curve": decision_curve}


def multiclass_task_block(
    cases: TaskCases, options: TaskOptions, settings: EvaluationSettings, log: WarningLog
) -> dict[str, Any]:
    """Block of a task with more than two classes; the decision is the most probable class."""
    if options.readers.get(cases.task.name):
        raise ValueError(f"Readers can be compared on binary tasks; '{cases.task.name}' has more than two classes.")
    with log.collect(cases.task.name):
        return multiclass_block(
            cases.labels, cases.probs, cases.decided, cases.task.classes, settings, cases.clusters(options)
        )


def multiclass_curves(cases: TaskCases) -> dict[str, Any]:
    """Confusion matrix and one-against-rest ROC curves of a task with more than two classes."""
    classes = cases.task.classes
    return {
        "classes": classes,
        "confusion_matrix": confusion_matrix(cases.labels, cases.decided, len(classes)),
        "roc_one_vs_rest": {
            name: roc_curve(cases.labels == index, cases.probs[:, index]) for index, name in enumerate(classes)
        },
    }


def including_missed_block(
    cases: TaskCases, joined: Sequence[JoinedNodule], decisions: Decisions, settings: EvaluationSettings
) -> dict[str, Any]:
    """Metrics of a binary task over all true nodules with a known label, the missed ones called negative."""
    labels = [known_label(item.truth, cases.task) for item in joined if item.status == "missed"]
    missed = np.array([label for label in labels if label >= 0], dtype=np.int64)
    y_true = np.concatenate([cases.labels, missed]) == 1
    called = np.concatenate([decisions.called_positive, np.zeros(len(missed), dtype=bool)])
    metrics = decision_metrics(y_true, called, settings.interval, settings.level)
    block: dict[str, Any] = {"n": len(y_true), "n_missed": len(missed), "n_missed_positive": int((missed == 1).sum())}
    for name in ("sensitivity", "specificity", "accuracy"):
        value = getattr(metrics, name)
        block |= {name: value.value, f"{name}_ci": value.ci}
    return block


def warn_of_gaps(joined: Sequence[JoinedNodule], cases: TaskCases, task: Task, log: WarningLog) -> None:
    """Says how many nodules a task leaves out, and why."""
    unknown = sum(item.status == "matched" for item in joined) - len(cases.nodules)
    missed = sum(item.status == "missed" and known_label(item.truth, task) >= 0 for item in joined)
    if unknown:
        log.add(IncompleteDataWarning, task.name, f"{unknown} nodules have no known label and are left out.")
    if missed:
        log.add(IncompleteDataWarning, task.name, f"{missed} labelled nodules were missed. {MISSED_NOTE}")


def warn_of_patients(joined: Sequence[JoinedNodule], options: TaskOptions, log: WarningLog) -> None:
    """Says where patients have several nodules and the evaluation was not told to keep them together."""
    patients = [item.truth.patient_id for item in joined if item.truth is not None]
    if options.cluster is None and len(set(patients)) < len(patients):
        log.add(
            ClusteredDataWarning,
            "cases",
            f"{len(patients)} nodules of {len(set(patients))} patients are taken as independent; "
            f"--cluster patient_id resamples whole patients.",
        )
