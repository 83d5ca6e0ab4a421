"""Binomial proportions with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from scipy.special import betaincinv

from dsmt_nnunet.statistics.t_test import t_quantile

IntervalMethod = Literal["wilson", "clopper-pearson"]
UNDEFINED = (math.nan, math.nan)


@dataclass(frozen=True)
class Proportion:
    """`count` of `total`; value and interval are NaN where `total` is 0."""

    count: int
    total: int
    value: float
    ci: tuple[float, float]


def wilson_limits(share: float, n_cases: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's limits of a proportion at a number of cases that need not be whole."""
    z = t_quantile(math.inf, level)
    centre = (share + z**2 / (2 * n_cases)) / (1 + z**2 / n_cases)
    half = z / (1 + z**2 / n_cases) * math.sqrt(share * (1 - share) / n_cases + z**2 / (4 * n_cases**2))
    return (0.0 if share == 0 else max(centre - half, 0.0)), (1.0 if share == 1 else min(centre + half, 1.0))


def clopper_pearson_limits(share: float, n_cases: float, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's limits of a proportion at a number of cases that need not be whole."""
    hits, tail = share * n_cases, (1 - level) / 2
    lower = 0.0 if share == 0 else float(betaincinv(hits, n_cases - hits + 1, tail))
    return lower, 1.0 if share == 1 else float(betaincinv(hits + 1, n_cases - hits, 1 - tail))


LIMITS: Mapping[str, Callable[[float, float, float], tuple[float, float]]] = {
    "wilson": wilson_limits,
    "clopper-pearson": clopper_pearson_limits,
}


def proportion(count: int, total: int, method: IntervalMethod = "wilson", level: float = 0.95) -> Proportion:
    """A proportion with its Wilson or Clopper-Pearson interval.

    Source: Newcombe, Statistics in Medicine 1998; 17: 857, methods 3 and 5.

    Raises:
        ValueError: an unknown method, or a count outside 0 to total.
    """
    if method not in LIMITS:
        raise ValueError(f"The interval of a proportion is one of {list(LIMITS)}, got '{method}'.")
    if not 0 <= count <= total:
        raise ValueError(f"A count must lie in 0 to its total, got {count} of {total}.")
    if total == 0:
        return Proportion(0, 0, math.nan, UNDEFINED)
    return Proportion(int(count), int(total), count / total, LIMITS[method](count / total, total, level))
