"""What numbers and decisions of a CASE.json must keep to; each raises ValueError where they do not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dsmt_nnunet.tasks import Task

_ROUNDING = 1e-3
_DECISIVE = ("weights", "mirroring", "temperatures", "thresholds")


def probabilities_of(values: Mapping[str, Any], task: Task) -> dict[str, float]:
    """One probability a class, in the order of the classes."""
    found = {name: number(value, f"{task.name}: probability of {name}") for name, value in values.items()}
    if sorted(found) != sorted(task.classes):
        raise ValueError(f"{task.name}: probabilities of {list(found)}, not of {list(task.classes)}")
    if min(found.values()) < 0 or abs(sum(found.values()) - 1) > _ROUNDING:
        raise ValueError(f"{task.name}: {found} are no probabilities; they lie between 0 and 1, and their sum is 1")
    return {name: found[name] for name in task.classes}


def check_decision(decision: str, probabilities: Mapping[str, float], threshold: float | None, task: Task) -> None:
    """The decision follows from the probabilities: by the threshold where there are two classes, else the largest."""
    if task.is_binary and threshold is None:
        raise ValueError(f"{task.name}: the decision between two classes lacks its threshold")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"{task.name}: the threshold {threshold:g} does not lie between 0 and 1")
    if threshold is not None and task.is_binary:
        margin = probabilities[task.positive_class] - threshold
        lacking = -margin if decision == task.positive_class else margin
    else:
        lacking = max(probabilities.values()) - probabilities[decision]
    if lacking > _ROUNDING:
        raise ValueError(
            f"{task.name}: the decision '{decision}' does not follow from {dict(probabilities)} and the threshold "
            f"{threshold}"
        )


def size(value: object, what: str) -> float:
    """A finite number from 0 on."""
    if (found := number(value, what)) < 0:
        raise ValueError(f"{what} must not be negative, got {found:g}")
    return found


def number(value: object, what: str) -> float:
    """A finite number, and no text or truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{what} must be a finite number, got {value!r}")
    return float(value)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What of CASE.json's `model` two predictions must share to lie in one folder, and do not."""
    return [key for key in _DECISIVE if one.get(key) != other.get(key)]
