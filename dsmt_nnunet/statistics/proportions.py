"""Binomial proportions with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy.stats import binomtest

IntervalMethod = Literal["wilson", "clopper-pearson"]
_SCIPY_NAMES = {"wilson": "wilson", "clopper-pearson": "exact"}
UNDEFINED = (math.nan, math.nan)


@dataclass(frozen=True)
class Proportion:
    """`count` of `total`; value and interval are NaN where `total` is 0."""

    count: int
    total: int
    value: float
    ci: tuple[float, float]


def proportion(count: int, total: int, method: IntervalMethod = "wilson", level: float = 0.95) -> Proportion:
    """A proportion with its Wilson or Clopper-Pearson interval (scipy).

    Source: Newcombe, Statistics in Medicine 1998; 17: 857, methods 3 and 5.

    Raises:
        ValueError: an unknown method, or a count outside 0 to total.
    """
    if method not in _SCIPY_NAMES:
        raise ValueError(f"The interval of a proportion is one of {list(_SCIPY_NAMES)}, got '{method}'.")
    if not 0 <= count <= total:
        raise ValueError(f"A count must lie in 0 to its total, got {count} of {total}.")
    if total == 0:
        return Proportion(0, 0, math.nan, UNDEFINED)
    interval = binomtest(int(count), int(total)).proportion_ci(level, _SCIPY_NAMES[method])
    lower = 0.0 if count == 0 else float(interval.low)
    upper = 1.0 if count == total else float(interval.high)
    return Proportion(int(count), int(total), count / total, (lower, upper))
