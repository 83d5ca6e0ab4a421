"""What lies outside a scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def fill_values(padding_value: Sequence[float | None], data: Any) -> list[float]:
    """Value a channel outside the scan: the plan's, or the lowest value of the case."""
    return [
        float(np.min(data[channel])) if value is None else float(value) for channel, value in enumerate(padding_value)
    ]
