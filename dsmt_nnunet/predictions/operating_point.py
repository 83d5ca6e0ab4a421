"""The operating point of a trained model: for each task a temperature and a threshold from out-of-fold predictions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dsmt_nnunet.files import write_json
from dsmt_nnunet.predictions.answer_rules import number
from dsmt_nnunet.statistics.calibration.scaling import DEFAULT_TEMPERATURE, DEFAULT_THRESHOLD, apply_temperature
from dsmt_nnunet.tasks import ClassificationSchema

OPERATING_POINT_NAME = "operating_point.json"
SCHEMA_VERSION = 2


@dataclass(frozen=True)
class TaskOperatingPoint:
    """Temperature and threshold of one task.

    Attributes:
        temperature: divides the log-probabilities; above 1 it makes the model less sure.
        threshold: of the calibrated probability of the positive class; None for a multi-class task.
        method: how the threshold was chosen, e.g. "youden" or "target_sensitivity".
        details: further facts on the choice (counts, the sensitivity aimed at), carried along untouched.
    """

    temperature: float = DEFAULT_TEMPERATURE
    threshold: float | None = None
    method: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"A temperature must be a positive finite number, got {self.temperature!r}.")
        if self.threshold is not None and not (0 <= self.threshold <= 1):
            raise ValueError(f"A threshold is a probability between 0 and 1, got {self.threshold!r}.")


@dataclass(frozen=True)
class OperatingPoint:
    """What `operating_point.json` in a model folder holds. It names folds and counts, never a patient.

    Attributes:
        tasks: task name -> temperature and threshold; a task that is missing is left as the network gave it.
        chosen_on: the out-of-fold predictions it was chosen on: `folds`, `n`, `n_positive`.
        weights: digests of the networks that made them; it fits no others.
        classes: task name -> its classes.
    """

    tasks: Mapping[str, TaskOperatingPoint]
    chosen_on: Mapping[str, Any] = field(default_factory=dict)
    weights: tuple[str, ...] = ()
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def misfit(self, weights: Sequence[str], schema: ClassificationSchema) -> str | None:
        """Why this operating point is not one of a model, None where it is.

        Args:
            weights: digests of the model's networks.
            schema: its tasks.
        """
        for name, classes in self.classes.items():
            if name not in schema.task_names or schema[name].classes != classes:
                return f"it was chosen for {name} with the classes {list(classes)}, which the model does not have"
        if schema.primary_task not in self.tasks:
            return f"it says nothing of {schema.primary_task}, the primary task"
        others = sorted(set(weights) - set(self.weights))
        if others:
            return (
                f"it was chosen on networks with other weights ({len(others)} of {len(weights)} are not among them: "
                f"another fold, another checkpoint, or trained anew)"
            )
        return None

    def temperature(self, task_name: str) -> float:
        """Temperature of a task, 1 where none was fitted."""
        return self.tasks[task_name].temperature if task_name in self.tasks else DEFAULT_TEMPERATURE

    def threshold(self, task_name: str) -> float:
        """Threshold on the calibrated probability of the positive class (positive at or above), 0.5 where none."""
        chosen = self.tasks[task_name].threshold if task_name in self.tasks else None
        return DEFAULT_THRESHOLD if chosen is None else chosen

    def calibrate(self, task_name: str, probs: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of a task; see `apply_temperature`. `probs` has shape (..., K)."""
        return apply_temperature(probs, self.temperature(task_name))

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "tasks": {
                name: {
                    "temperature": task.temperature,
                    "threshold": task.threshold,
                    "method": task.method,
                    **task.details,
                }
                for name, task in self.tasks.items()
            },
            "chosen_on": dict(self.chosen_on),
            "weights": list(self.weights),
            "classes": {name: list(classes) for name, classes in self.classes.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> OperatingPoint:
        """Reads what `to_json` gave.

        Raises:
            ValueError: another schema version, or a part is missing or out of range.
        """
        if content.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"An operating point has schema_version {SCHEMA_VERSION}, this one has "
                f"{content.get('schema_version')!r}."
            )
        tasks = {}
        for name, item in content["tasks"].items():
            known = ("temperature", "threshold", "method")
            threshold = None if item["threshold"] is None else number(item["threshold"], f"{name}: threshold")
            details = {key: value for key, value in item.items() if key not in known}
            tasks[str(name)] = TaskOperatingPoint(
                number(item["temperature"], f"{name}: temperature"), threshold, str(item.get("method", "")), details
            )
        if not isinstance(content["weights"], list):
            raise ValueError(f"weights must be a list, got {content['weights']!r}")
        classes = {str(name): tuple(map(str, names)) for name, names in content["classes"].items()}
        return cls(tasks, content.get("chosen_on", {}), tuple(map(str, content["weights"])), classes)

    @classmethod
    def read(cls, folder: str | Path) -> OperatingPoint | None:
        """Reads `operating_point.json` of a model folder; None where there is none.

        Raises:
            ValueError: the file is there, but is not an operating point; the message names it.
        """
        path = Path(folder) / OPERATING_POINT_NAME
        if not path.is_file():
            return None
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{path} is not an operating point: {error}. Write it again with 'dsmt evaluate crossval', or "
                f"remove it."
            ) from error

    def write(self, folder: str | Path) -> Path:
        """Writes `operating_point.json` into a model folder, whole or not at all."""
        path = Path(folder) / OPERATING_POINT_NAME
        write_json(path, self.to_json())
        return path
