"""Every nodule that was to be diagnosed: found, missed, and of cases that have no prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dsmt_nnunet.evaluation.auc import quoted_auc
from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule
from dsmt_nnunet.evaluation.records.tasks import IntentionToDiagnose
from dsmt_nnunet.evaluation.score import operating_point
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.task_cases import TaskCases, TaskOptions, known_label
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.tasks import Task

RULE = (
    "All nodules that were to be diagnosed: a missed one is called negative and ranked below every score; one of a "
    "case without a prediction counts as wrong, ranked last where it is positive and first where it is negative."
)
_BELOW, _ABOVE = -1.0, 2.0
"""Scores below and above every probability."""


def intended_table(
    cases: TaskCases, joined: Sequence[JoinedNodule], task: Task, options: TaskOptions, decisions: Sequence[Decisions]
) -> ScoreTable:
    """The table of a binary task over all nodules of known label.

    Args:
        cases: the nodules that were found.
        joined: all nodules.
        task: as the truth has it: of grades the ordinal one.
        options: groups, patients, readers, further thresholds.
        decisions: on the nodules that were found.
    """
    lost = [item for item in joined if item.predicted is None and known_label(item.truth, task) >= 0]
    labels = np.array([known_label(item.truth, task) for item in lost], dtype=np.int64)
    crashed = np.array([item.status == "crashed" for item in lost], dtype=bool)
    score = np.where(crashed & (labels == 0), _ABOVE, _BELOW)
    everyone = TaskCases(
        cases.task,
        (*cases.nodules, *lost),
        np.concatenate([cases.labels, labels]),
        np.concatenate([cases.probs, np.stack([1 - score, score], axis=1)]),
        cases.grades,
    )
    called = crashed & (labels == 0)
    calls = [
        Decisions(
            np.concatenate([item.called_positive, called]), item.threshold, item.source, item.chosen_on_reported_data
        )
        for item in decisions
    ]
    return everyone.score_table(options, calls)


def intention_to_diagnose(
    table: ScoreTable, cases: TaskCases, joined: Sequence[JoinedNodule], task: Task, settings: EvaluationSettings
) -> IntentionToDiagnose:
    """What an `intended_table` gives at its first operating point.

    Source: Schuetz et al., BMJ 2012; 345: e6717 (results that could not be evaluated count as wrong).
    """
    name = cases.task.name
    point = operating_point(table.y_true, table.decisions[name][0], settings, table.clusters)

    def lost(status: str) -> list[int]:
        return [known_label(item.truth, task) for item in joined if item.status == status]

    missed, crashed = lost("missed"), lost("crashed")
    return widened(
        IntentionToDiagnose,
        quoted_auc(table, name, settings.level),
        **{item: getattr(point, item) for item in point.__dataclass_fields__ if _is_shared(item)},
        n=len(table),
        n_positive=int(table.y_true.sum()),
        n_missed=sum(label >= 0 for label in missed),
        n_missed_positive=sum(label == 1 for label in missed),
        n_crashed=sum(label >= 0 for label in crashed),
        n_crashed_positive=sum(label == 1 for label in crashed),
        rule=RULE,
    )


def _is_shared(name: str) -> bool:
    return name in IntentionToDiagnose.__dataclass_fields__ and name != "n"
