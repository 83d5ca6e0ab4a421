"""What single cells of a table hold: the split, numbers, positions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from dsmt_nnunet.dataset_conversion.raw_dataset import SPLITS, Split
from dsmt_nnunet.tasks import POSITION_COLUMNS

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
_AMBIGUOUS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")


def parse_split(text: str) -> Split:
    for split in SPLITS:
        if text.lower() == split:
            return split
    if text:
        raise ValueError(f"split must be one of {list(SPLITS)} (empty means train), got '{text}'.")
    return "train"


def parse_number(text: str, what: str) -> float:
    """A finite number; the decimal sign is a point or a comma, and nothing separates thousands."""
    if _AMBIGUOUS.fullmatch(text):
        raise ValueError(
            f"{what} is '{text}', which may be {text.replace(',', '.')} or {text.replace(',', '')}. Write a decimal "
            f"point, and no sign between thousands."
        )
    if not _NUMBER.fullmatch(text) or not math.isfinite(value := float(text.replace(",", "."))):
        raise ValueError(f"{what} must be a number, got '{text}'. Leave the cell empty when it is not known.")
    return value


def parse_mask_label(text: str) -> int | None:
    if not text:
        return None
    value = parse_number(text, "mask_label")
    if value < 1 or value != int(value):
        raise ValueError(f"mask_label must be a whole number from 1 on (0 is background), got '{text}'.")
    return int(value)


def parse_position(texts: Sequence[str]) -> tuple[float, float, float] | None:
    if not any(texts):
        return None
    x, y, z = (parse_number(text, name) for text, name in zip(texts, POSITION_COLUMNS, strict=True))
    return x, y, z


def parse_diameter(text: str) -> float:
    if not text:
        return math.nan
    value = parse_number(text, "diameter_mm")
    if value <= 0:
        raise ValueError(f"diameter_mm must be above 0, got '{text}'.")
    return value
