"""What one interval or test gave on one draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """An interval, a p value, or both.

    Attributes:
        name: of what is judged.
        interval: NaN where it was not given; None for a test alone.
        truth: that the interval should hold; NaN without an interval.
        p_value: of a null that is true; None for an interval alone.
        averaged: whether the interval is of the mean of `truth` over all draws (of a procedure, not of its model).
    """

    name: str
    interval: tuple[float, float] | None
    truth: float
    p_value: float | None = None
    averaged: bool = False


@dataclass(frozen=True)
class Rates:
    """Shares of the draws; NaN where there is no such thing.

    Attributes:
        coverage: of the intervals that were given.
        type_1_error: of the tests that were given, at 0.05.
        undefined: draws without an interval or without a p value.
    """

    coverage: float
    type_1_error: float
    undefined: float


def rates(outcomes: Sequence[Outcome]) -> Rates:
    """How often the intervals held and the tests rejected."""
    mean_truth = sum(item.truth for item in outcomes) / len(outcomes)
    held, rejected, missing = [], [], 0
    for item in outcomes:
        known = [] if item.interval is None else list(item.interval)
        known += [] if item.p_value is None else [item.p_value]
        if any(math.isnan(value) for value in known):
            missing += 1
            continue
        if item.interval is not None:
            held.append(item.interval[0] <= (mean_truth if item.averaged else item.truth) <= item.interval[1])
        if item.p_value is not None:
            rejected.append(item.p_value < 0.05)
    return Rates(_mean(held), _mean(rejected), missing / len(outcomes))


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else math.nan
