"""What was said of a nodule in a task, beside the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dsmt_nnunet.csv_table import number_or_nan
from dsmt_nnunet.evaluation.records.tasks import BinaryTask, MulticlassTask
from dsmt_nnunet.report.folder import Row
from dsmt_nnunet.report.numbers import readable

Outcome = Literal["wrong", "missed", "extra", "right", "unknown"]
OUTCOMES: tuple[Outcome, ...] = ("wrong", "missed", "extra", "right", "unknown")
"""In the order of the wall: wrong decisions, nodules not found, findings that are none, right ones, no truth."""


@dataclass(frozen=True)
class Answer:
    """What was said of a nodule in one task.

    Attributes:
        task: name of the task.
        title: as people read it.
        truth, decision: class names (of grades the answers to their question), "" where there is none.
        truth_in_words: with the grade.
        class_shown: the class whose probability is shown.
        probability, spread, threshold: NaN where there is none.
        outcome: right, wrong, ...
        error: |probability - truth| of a binary task, 1 - probability of the true class of another; NaN without truth.
    """

    task: str
    title: str
    truth: str
    truth_in_words: str
    decision: str
    class_shown: str
    probability: float
    spread: float
    threshold: float
    outcome: Outcome
    error: float

    @property
    def rank(self) -> tuple[int, float]:
        """Sorts mistakes first, the largest error first."""
        return OUTCOMES.index(self.outcome), -self.error if self.error == self.error else 0.0


def answer_of(row: Row, task: str, metrics: BinaryTask | MulticlassTask) -> Answer:
    """The answer of one task to the nodule of a row of joined.csv."""
    truth, decision, grade = (row.get(f"{task}_{what}", "") for what in ("truth", "decision", "grade"))
    binary = isinstance(metrics, BinaryTask)
    shown = metrics.positive_class if isinstance(metrics, BinaryTask) else truth or decision
    ending = "" if binary else f"_{shown}"
    probability = number_or_nan(row.get(f"{task}_prob{ending}", ""))
    if not truth:
        error = math.nan
    elif binary:
        error = abs(probability - float(truth == shown))
    else:
        error = 1 - probability
    return Answer(
        task=task,
        title=readable(task),
        truth=truth,
        truth_in_words=(f"{truth} ({grade})" if truth else f"{grade}, undecided") if grade else truth,
        decision=decision,
        class_shown=shown,
        probability=probability,
        spread=number_or_nan(row.get(f"{task}_spread{ending}", "")),
        threshold=number_or_nan(row.get(f"{task}_threshold", "")),
        outcome=_outcome(row["status"], truth, decision),
        error=error,
    )


def _outcome(status: str, truth: str, decision: str) -> Outcome:
    if status in ("missed", "crashed"):
        return "missed"
    if status == "extra":
        return "extra"
    if not truth:
        return "unknown"
    return "right" if truth == decision else "wrong"
