"""Numbers as the page writes them."""

from __future__ import annotations

import math
import re
from typing import TypeGuard

UNDEFINED = "not defined"


def is_number(value: float | None) -> TypeGuard[float]:
    """Whether a value of metrics.json is defined."""
    return value is not None and math.isfinite(value)


def shown(value: float | None, digits: int = 3) -> str:
    """A number with fixed decimals, or `UNDEFINED`."""
    return f"{value:.{digits}f}" if is_number(value) else UNDEFINED


def interval(limits: tuple[float, float] | None, digits: int = 3) -> str:
    """`0.81 to 0.99`; "" where a limit is undefined."""
    if limits is None or not all(is_number(limit) for limit in limits):
        return ""
    return f"{shown(limits[0], digits)} to {shown(limits[1], digits)}"


def with_interval(value: float | None, limits: tuple[float, float] | None, digits: int = 3) -> str:
    """`0.92 (0.81 to 0.99)`, without the brackets where there is no interval."""
    listed = interval(limits, digits)
    return f"{shown(value, digits)} ({listed})" if listed else shown(value, digits)


def p_value(value: float | None) -> str:
    """Three decimals, `<0.001` below that."""
    if not is_number(value):
        return UNDEFINED
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def share(count: int, total: int) -> str:
    """`9 of 10`."""
    return f"{count} of {total}"


def counted(number: int, noun: str) -> str:
    """`1 nodule`, `2 nodules`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def readable(name: str) -> str:
    """A task or column name for people: `bubble_lucency` becomes `Bubble lucency`."""
    text = re.sub(r" (mm3?|ml)$", r" (\1)", name.replace("_", " ").strip())
    return text[:1].upper() + text[1:] if text.islower() else text
