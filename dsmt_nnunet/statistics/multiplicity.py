"""Several p values of one question, adjusted in one place that says over what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy import typing as npt


@dataclass(frozen=True)
class HolmFamily:
    """p values of one family, as they were and adjusted.

    Attributes:
        over: in words, what the family is ("4 readers against model_a").
        raw: p value of each member; NaN where there is no test.
        adjusted: Holm's p value of each member; NaN where there is no test.
        n_tests: tests of the family, those without a p value left out.
    """

    over: str
    raw: dict[str, float]
    adjusted: dict[str, float]
    n_tests: int

    @property
    def sentence(self) -> str:
        """What was adjusted over, for the table's foot."""
        if self.n_tests < 2:
            return f"One test ({self.over}); nothing to adjust."
        return f"p values adjusted by Holm over {self.n_tests} tests: {self.over}."


def holm(p_values: Mapping[str, float], over: str) -> HolmFamily:
    """Holm's step-down adjustment, which holds the familywise error whatever the dependence of the tests.

    Source: Holm, Scandinavian Journal of Statistics 1979; 6: 65. statsmodels gives the same numbers, but collects
    garbage at every call, which took longer than all that a table is asked.

    Args:
        p_values: p value of each member; NaN where it could not be tested.
        over: what the family is, in words.

    Raises:
        ValueError: `over` is empty, or a p value lies outside 0 to 1.
    """
    if not over.strip():
        raise ValueError("An adjustment must say over what: `over` is empty.")
    known = {name: float(value) for name, value in p_values.items() if not math.isnan(value)}
    for name, value in known.items():
        if not 0 <= value <= 1:
            raise ValueError(f"The p value of '{name}' must lie in 0 to 1, got {value:g}.")
    found = dict(zip(known, _step_down(np.array(list(known.values()))).tolist(), strict=True))
    raw = {name: float(value) for name, value in p_values.items()}
    return HolmFamily(over, raw, {name: found.get(name, math.nan) for name in raw}, len(known))


def _step_down(p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(M,) from (M,): the smallest times M, the next times M - 1, and so on, none smaller than those before it."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return adjusted
