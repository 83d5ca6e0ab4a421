"""Binary decisions of one score, and where their threshold came from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray


@dataclass(frozen=True)
class Decisions:
    """Decisions on all cases of a table.

    Attributes:
        called_positive: shape (N,).
        threshold: positive at or above it; NaN where it differs between cases (each fold its own).
        source: in words, where the threshold came from.
        chosen_on_reported_data: whether it was chosen on the very cases it is reported on.
    """

    called_positive: BoolArray
    threshold: float
    source: str
    chosen_on_reported_data: bool = False

    @classmethod
    def at_threshold(
        cls, scores: FloatArray, threshold: float, source: str, chosen_on_reported_data: bool = False
    ) -> Decisions:
        """Decisions score >= threshold.

        Raises:
            ValueError: the threshold is not a finite number.
        """
        if not math.isfinite(threshold):
            raise ValueError(f"A threshold must be a finite number, got {threshold!r}.")
        return cls(scores >= threshold, float(threshold), source, chosen_on_reported_data)
