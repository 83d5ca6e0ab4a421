"""Several p values of one question, adjusted in one place that says over what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from statsmodels.stats.multitest import multipletests


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

    Source: Holm, Scandinavian Journal of Statistics 1979; 6: 65 (statsmodels).

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
    adjusted = multipletests(list(known.values()), method="holm")[1].tolist() if known else []
    found = dict(zip(known, adjusted, strict=True))
    raw = {name: float(value) for name, value in p_values.items()}
    return HolmFamily(over, raw, {name: found.get(name, math.nan) for name in raw}, len(known))
