"""What single cells of a table hold: the split, numbers, positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dsmt_nnunet.csv_table import parse_number
from dsmt_nnunet.dataset_conversion.raw_dataset import SPLITS, Split
from dsmt_nnunet.tasks import POSITION_COLUMNS


def parse_split(text: str) -> Split:
    for split in SPLITS:
        if text.lower() == split:
            return split
    if text:
        raise ValueError(f"split must be one of {list(SPLITS)} (empty means train), got '{text}'.")
    return "train"


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
