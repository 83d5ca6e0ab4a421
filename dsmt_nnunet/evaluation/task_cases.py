"""The nodules on which a task can be judged: found, and with a known truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dsmt_nnunet.csv_table import number_or_nan
from dsmt_nnunet.evaluation.group_bands import GroupColumn
from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule, truth_value
from dsmt_nnunet.evaluation.patients import INDEPENDENT, PATIENT_COLUMN
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.identifiers import same_person_key
from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.statistics.checks import FloatArray, IntArray
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.tasks import Task, TaskKind

FROM_FILES = "the prediction files (operating point of the model, 0.5 without one)"


@dataclass(frozen=True)
class TaskOptions:
    """Columns of the truth table that an evaluation uses, and thresholds stated beside the model's own.

    Attributes:
        groups: columns to form subgroups of.
        cluster: column that names the patient; None to take every case for a patient of its own.
        readers: task -> columns with readers' ratings; "" stands for the primary task until `resolved`.
        thresholds: task -> further thresholds.
    """

    groups: tuple[GroupColumn, ...] = ()
    cluster: str | None = PATIENT_COLUMN
    readers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def resolved(self, primary_task: str) -> TaskOptions:
        """The same options, readers without a task (key "") given to the primary one."""
        readers = {task: names for task, names in self.readers.items() if task}
        if "" in self.readers:
            readers[primary_task] = (*self.readers[""], *readers.get(primary_task, ()))
        return replace(self, readers=readers)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the truth table that is named."""
        readers = [name for names in self.readers.values() for name in names]
        return tuple(
            dict.fromkeys([*(group.name for group in self.groups), *([self.cluster] if self.cluster else []), *readers])
        )


@dataclass(frozen=True)
class TaskCases:
    """N nodules with truth and answer of one task.

    Attributes:
        task: the task.
        nodules: matched nodules.
        labels: true class indices, shape (N,).
        probs: predicted probabilities, shape (N, K).
        grades: of an ordinal task, whose question `task` is; readers may rate by them.
    """

    task: Task
    nodules: tuple[JoinedNodule, ...]
    labels: IntArray
    probs: FloatArray
    grades: tuple[str, ...] = ()

    @classmethod
    def of(cls, joined: Sequence[JoinedNodule], task: Task) -> TaskCases:
        """The matched nodules whose label of the task is known; of grades, what they answer is asked."""
        asked = task if task.kind is TaskKind.NOMINAL else task.as_binary()
        chosen = tuple(item for item in joined if item.status == "matched" and known_label(item.truth, task) >= 0)
        labels = np.array([known_label(item.truth, task) for item in chosen], dtype=np.int64)
        probs = np.array([[_answer(item, task)[name] for name in asked.classes] for item in chosen], dtype=np.float64)
        grades = task.classes if task.kind is TaskKind.ORDINAL else ()
        return cls(asked, chosen, labels, probs.reshape(len(chosen), len(asked.classes)), grades)

    @property
    def decided(self) -> IntArray:
        """Class indices of the decisions in the prediction files, shape (N,)."""
        decisions = [item.predicted.tasks[self.task.name].decision for item in self.nodules if item.predicted]
        return np.array([self.task.index(decision) for decision in decisions], dtype=np.int64)

    def file_decisions(self) -> Decisions:
        """Decisions of a binary task as the prediction files hold them."""
        thresholds = {item.predicted.tasks[self.task.name].threshold for item in self.nodules if item.predicted}
        shared = thresholds.pop() if len(thresholds) == 1 else None
        return Decisions(self.decided == 1, float("nan") if shared is None else float(shared), FROM_FILES)

    def clusters(self, options: TaskOptions) -> tuple[str, ...] | None:
        """Patient of each nodule; None without a cluster column."""
        if options.cluster is None:
            return None
        return tuple(patient_of(item.truth, options.cluster) for item in self.nodules if item.truth)

    def score_table(
        self, options: TaskOptions, decisions: Sequence[Decisions], folds: IntArray | None = None
    ) -> ScoreTable:
        """The table of a binary task, its score named after the task.

        Args:
            options: groups, patients, readers, further thresholds.
            decisions: operating points.
            folds: fold of each nodule where several models answered, shape (N,).

        Raises:
            ValueError: a rating is neither a class name nor a number, or a group column breaks its rules.
        """
        name = self.task.name
        score = self.probs[:, 1]
        stated = [Decisions.at_threshold(score, cut, "stated by the user") for cut in options.thresholds.get(name, ())]
        return ScoreTable(
            case_names=tuple(f"{item.case_id}/{item.truth.nodule_id}" for item in self.nodules if item.truth),
            y_true=self.labels == 1,
            scores={name: score},
            decisions={name: (*decisions, *stated)},
            readers={reader: self._ratings(reader) for reader in options.readers.get(name, ())},
            groups=group_levels(self.nodules, options.groups),
            clusters=self.clusters(options),
            folds=folds,
        )

    def _ratings(self, column: str) -> FloatArray:
        ratings, texts = [], _column(self.nodules, column)
        by_grade = any(text in self.grades for text in texts) and not any(text in self.task.classes for text in texts)
        names = self.grades if by_grade and not all(map(_is_number, self.grades)) else self.task.classes
        for item, text in zip(self.nodules, texts, strict=True):
            try:
                ratings.append(float(names.index(text)) if text in names else _rating(text))
            except ValueError:
                raise ValueError(
                    f"Reader column '{column}', case '{item.case_id}': '{text}' is neither a class of task "
                    f"'{self.task.name}' ({', '.join(names)}) nor a number. Leave the cell empty where the "
                    f"reader gave no rating."
                ) from None
        return np.array(ratings, dtype=np.float64)


def patient_of(nodule: Nodule, column: str) -> str:
    """Patient of a true nodule, the same for all spellings of a person.

    Raises:
        ValueError: its cell is empty.
    """
    name = truth_value(nodule, column)
    if not name:
        raise ValueError(
            f"Nodule '{nodule.nodule_id}' of case '{nodule.case_id}' names no patient in column '{column}'. Fill it "
            f"in, or take every nodule for a patient of its own with --cluster {INDEPENDENT}."
        )
    return same_person_key(name)


def group_levels(nodules: Sequence[JoinedNodule], groups: Sequence[GroupColumn]) -> dict[str, tuple[str, ...]]:
    """Column -> level of each nodule, which has a truth."""
    return {group.name: group.levels(_column(nodules, group.name)) for group in groups}


def _column(nodules: Sequence[JoinedNodule], column: str) -> tuple[str, ...]:
    return tuple(truth_value(item.truth, column) for item in nodules if item.truth)


def known_label(nodule: Nodule | None, task: Task) -> int:
    """Index among the task's strata of a nodule's label, below 0 where it is not known, or undecided."""
    stratum = None if nodule is None else task.stratum(nodule.labels.get(task.name))
    return -1 if stratum is None else task.strata.index(stratum)


def _answer(item: JoinedNodule, task: Task) -> Mapping[str, float]:
    answer = None if item.predicted is None else item.predicted.tasks.get(task.name)
    if answer is None or set(answer.probabilities) != set(task.classes):
        raise ValueError(
            f"Case '{item.case_id}': the prediction lacks the probabilities of task '{task.name}' for the classes "
            f"{list(task.classes)}. Predict this case again."
        )
    if not all(np.isfinite(value) for value in answer.probabilities.values()):
        raise ValueError(
            f"Case '{item.case_id}', task '{task.name}': probabilities must be finite, got "
            f"{dict(answer.probabilities)}. Predict this case again."
        )
    return answer.answer_probabilities


def _is_number(text: str) -> bool:
    return bool(np.isfinite(number_or_nan(text)))


def _rating(text: str) -> float:
    value = number_or_nan(text) if text else float("nan")
    if text and not np.isfinite(value):
        raise ValueError(text)
    return value
