"""The classification schema (which questions are asked of a nodule) and the table of nodules.

The schema is the `classification` block of dataset.json and holds no patient data; the nodules are rows of
`nodules.csv`, beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.covariates import Covariate
from dsmt_nnunet.diameter_range import DiameterRange
from dsmt_nnunet.mask_labels import check_labels

FloatArray = npt.NDArray[np.floating[Any]]

NODULE_TABLE_NAME = "nodules.csv"
TEST_NODULE_TABLE_NAME = "nodulesTs.csv"
UNKNOWN_LABEL = -1
"""Class index of a label that is not known; losses and metrics leave it out."""
VOTES_SUFFIX = "_votes"
"""Of the column that holds the single readers' votes on a task."""

POSITION_COLUMNS = ("x_mm", "y_mm", "z_mm")
FIXED_COLUMNS = ("case_id", "nodule_id", "patient_id", *POSITION_COLUMNS, "diameter_mm")
_TASK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class TaskKind(Enum):
    """How the classes of a task relate to each other."""

    BINARY = "binary"
    NOMINAL = "nominal"
    ORDINAL = "ordinal"


@dataclass(frozen=True)
class Question:
    """The yes-or-no question that the grades of an ordinal task answer: is it at least this grade?

    Attributes:
        negative, positive: names of the two answers.
        positive_from: the lowest grade that means yes.
        undecided: grades that mean neither; nodules of these are not asked about, and their probability is left out.
    """

    negative: str
    positive: str
    positive_from: str
    undecided: tuple[str, ...] = ()

    def to_block(self) -> dict[str, Any]:
        return {
            "negative": self.negative,
            "positive": self.positive,
            "from": self.positive_from,
            "undecided": list(self.undecided),
        }

    @classmethod
    def from_block(cls, block: Mapping[str, Any]) -> Question:
        return cls(
            str(block["negative"]),
            str(block["positive"]),
            str(block["from"]),
            tuple(map(str, block.get("undecided", ()))),
        )


@dataclass(frozen=True)
class Task:
    """One question asked of a nodule.

    Attributes:
        name: an identifier: letters, digits and underscores, a letter first.
        classes: class names, at least two; in a binary task the second is the positive class, in an ordinal one they
            are grades, the lowest first.
        ordered: whether the classes are grades.
        question: what the grades of an ordinal task are asked; None asks for the upper half of them.
    """

    name: str
    classes: tuple[str, ...]
    ordered: bool = False
    question: Question | None = None

    def __post_init__(self) -> None:
        if not _TASK_NAME.fullmatch(self.name):
            raise ValueError(
                f"Task name '{self.name}' must consist of letters, digits and underscores and begin with a letter."
            )
        if self.name in FIXED_COLUMNS:
            raise ValueError(f"Task name '{self.name}' is the name of a fixed column of {NODULE_TABLE_NAME}.")
        if self.name.endswith(VOTES_SUFFIX):
            raise ValueError(f"Task name '{self.name}' ends in '{VOTES_SUFFIX}', which names the readers' votes.")
        if len(self.classes) < 2:
            raise ValueError(f"Task '{self.name}' needs at least two classes, got {list(self.classes)}.")
        if len(set(self.classes)) != len(self.classes) or not all(
            name and name == name.strip() for name in self.classes
        ):
            raise ValueError(
                f"Task '{self.name}': class names must be unique, not empty and without blanks around them, "
                f"got {list(self.classes)}."
            )
        self._check_question()

    def _check_question(self) -> None:
        if self.question is None:
            return
        if self.kind is not TaskKind.ORDINAL:
            raise ValueError(f"Task '{self.name}' is {self.kind.value}; only grades (ordered: true) are asked.")
        unknown = [
            grade for grade in (self.question.positive_from, *self.question.undecided) if grade not in self.classes
        ]
        if unknown:
            raise ValueError(f"Task '{self.name}': its question names {unknown}; its grades are {list(self.classes)}.")
        cut = self.classes.index(self.question.positive_from)
        below = [grade for grade in self.classes[:cut] if grade not in self.question.undecided]
        if not below or any(self.classes.index(grade) > cut for grade in self.question.undecided):
            raise ValueError(
                f"Task '{self.name}': one decided grade at least must lie below '{self.question.positive_from}', and "
                f"no undecided grade above it; undecided are {list(self.question.undecided)}."
            )
        if self.question.positive_from in self.question.undecided or self.question.negative == self.question.positive:
            raise ValueError(
                f"Task '{self.name}': the lowest positive grade cannot be undecided, and the answers need two names."
            )

    @property
    def kind(self) -> TaskKind:
        """Binary, nominal or ordinal; two ordered classes are binary."""
        if len(self.classes) == 2:
            return TaskKind.BINARY
        return TaskKind.ORDINAL if self.ordered else TaskKind.NOMINAL

    @property
    def is_binary(self) -> bool:
        return self.kind is TaskKind.BINARY

    @property
    def positive_class(self) -> str:
        """Name of the positive class of a binary task (its second class)."""
        if not self.is_binary:
            raise ValueError(f"Task '{self.name}' has {len(self.classes)} classes; only a binary one has a positive.")
        return self.classes[1]

    def as_binary(self) -> Task:
        """The binary task of the same name that this one answers: itself, or the question of its grades.

        Raises:
            ValueError: a nominal task answers none.
        """
        if self.kind is TaskKind.NOMINAL:
            raise ValueError(f"Task '{self.name}' is nominal: its classes {list(self.classes)} answer no yes or no.")
        return (
            self
            if self.question_of_grades is None
            else Task(self.name, (self.question_of_grades.negative, self.question_of_grades.positive))
        )

    @property
    def question_of_grades(self) -> Question | None:
        """The question of an ordinal task, its default where none is set; None for another kind."""
        if self.kind is not TaskKind.ORDINAL or self.question is not None:
            return self.question
        cut = self.classes[len(self.classes) // 2]
        return Question(f"below {cut}", f"{cut} or above", cut)

    @property
    def strata(self) -> tuple[str, ...]:
        """What cases are stratified by, and each of which training needs: the binary answers, or nominal classes."""
        return self.classes if self.kind is TaskKind.NOMINAL else self.as_binary().classes

    def stratum(self, label: str | None) -> str | None:
        """The one of `strata` that a label belongs to; None when it is not known or undecided."""
        return label if self.kind is TaskKind.NOMINAL else self.binary_label(label)

    def binary_label(self, label: str | None) -> str | None:
        """The answer of `as_binary` that a label means; None when it is not known or undecided."""
        question = self.question_of_grades
        if label is None or question is None:
            return label
        if label in question.undecided:
            return None
        return question.positive if self.index(label) >= self.index(question.positive_from) else question.negative

    def binary_probabilities(self, probs: FloatArray) -> FloatArray:
        """Probabilities (..., 2) of `as_binary` from those of the classes (..., K): grades are summed up.

        Undecided grades are left out, and what is left adds up to 1.
        """
        question = self.question_of_grades
        if question is None:
            return probs
        cut = self.index(question.positive_from)
        decided = np.array([grade not in question.undecided for grade in self.classes])
        kept = np.where(decided, np.asarray(probs, dtype=np.float64), 0.0)
        pair: FloatArray = np.stack([kept[..., :cut].sum(-1), kept[..., cut:].sum(-1)], axis=-1)
        share: FloatArray = pair / np.maximum(pair.sum(-1, keepdims=True), np.finfo(np.float64).tiny)
        return share

    def to_block(self) -> dict[str, Any]:
        """Its part of the `classification` block; only what is not the default."""
        block: dict[str, Any] = {"classes": list(self.classes)}
        if self.ordered:
            block["ordered"] = True
        if self.question is not None:
            block["question"] = self.question.to_block()
        return block

    @classmethod
    def from_block(cls, name: str, block: Mapping[str, Any]) -> Task:
        unknown = set(block) - {"classes", "ordered", "question"}
        if unknown:
            raise ValueError(f"Task '{name}': {sorted(unknown)} are not known; known are classes, ordered, question.")
        ordered = block.get("ordered", False)
        if not isinstance(ordered, bool):
            raise ValueError(f"Task '{name}': ordered must be true or false, got {ordered!r}.")
        question = block.get("question")
        return cls(name, _class_names(block["classes"]), ordered, question and Question.from_block(question))

    def index(self, label: str | None) -> int:
        """Class index of a label; `UNKNOWN_LABEL` for None.

        Raises:
            ValueError: the label is not a class of this task.
        """
        if label is None:
            return UNKNOWN_LABEL
        if label not in self.classes:
            raise ValueError(f"'{label}' is not a class of task '{self.name}'; its classes are {list(self.classes)}.")
        return self.classes.index(label)


@dataclass(frozen=True)
class ClassificationSchema:
    """The tasks of a data set, in order, which of them is the primary one, what is known beside the image, and of
    which nodules they are asked: others are learnt from alone. None: of all."""

    tasks: tuple[Task, ...]
    primary_task: str
    covariates: tuple[Covariate, ...] = ()
    asked: DiameterRange | None = None

    def __post_init__(self) -> None:
        names = self.task_names
        if not names:
            raise ValueError("The classification schema needs at least one task.")
        if len(set(names)) != len(names):
            raise ValueError(f"Task names must be unique, got {list(names)}.")
        if self.primary_task not in names:
            raise ValueError(f"The primary task '{self.primary_task}' is not among the tasks {list(names)}.")
        columns = [*FIXED_COLUMNS, *names, *(f"{name}{VOTES_SUFFIX}" for name in names)]
        for covariate in self.covariates:
            if covariate.name in columns:
                raise ValueError(
                    f"Covariate '{covariate.name}' has the name of another column of {NODULE_TABLE_NAME}: a fixed one, "
                    f"a task or another covariate. Name it otherwise."
                )
            columns.append(covariate.name)

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.tasks)

    @property
    def primary(self) -> Task:
        return self[self.primary_task]

    @property
    def primary_index(self) -> int:
        return self.task_names.index(self.primary_task)

    def __getitem__(self, name: str) -> Task:
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(f"No task '{name}'; the tasks are {list(self.task_names)}.")

    @classmethod
    def from_block(cls, block: Mapping[str, Any]) -> ClassificationSchema:
        """Parses `{"tasks": {name: {"classes": [...]}}, "primary_task": name}`, and `covariates` where there are any.

        Raises:
            ValueError: the block lacks a part or breaks a rule of `Task` or of this class.
        """
        try:
            tasks = tuple(Task.from_block(str(name), spec) for name, spec in block["tasks"].items())
            primary = str(block["primary_task"])
            told = block.get("covariates", {})
            covariates = tuple(Covariate.from_block(str(name), spec) for name, spec in told.items())
            asked = DiameterRange.of(block.get("asked_diameter_mm"))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"The classification block must read {{'tasks': {{NAME: {{'classes': [...]}}}}, "
                f"'primary_task': NAME}}; got {block!r}."
            ) from error
        return cls(tasks, primary, covariates, asked)

    @classmethod
    def from_dataset_json(cls, dataset_json: Mapping[str, Any]) -> ClassificationSchema:
        """Reads the `classification` block of a dataset.json.

        Raises:
            ValueError: there is none, or it is malformed, or labels are not numbered from background on, or no nodules.
        """
        if "classification" not in dataset_json:
            raise ValueError(
                "dataset.json has no 'classification' block, so there is nothing to classify. "
                "Make the data set with 'dsmt convert table', or add the block by hand (docs/data-format.md)."
            )
        check_labels(dataset_json.get("labels", {}))
        return cls.from_block(dataset_json["classification"])

    def to_block(self) -> dict[str, Any]:
        """The `classification` block; `from_block` reads it back."""
        block: dict[str, Any] = {
            "tasks": {task.name: task.to_block() for task in self.tasks},
            "primary_task": self.primary_task,
        }
        if self.covariates:
            block["covariates"] = {covariate.name: covariate.to_block() for covariate in self.covariates}
        if self.asked is not None:
            block["asked_diameter_mm"] = [self.asked.smallest, self.asked.largest]
        return block


def _class_names(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list | tuple):
        raise TypeError(f"classes must be a list, got {names!r}")
    return tuple(map(str, names))
