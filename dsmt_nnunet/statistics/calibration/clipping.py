"""The one place where probabilities are held away from 0 and 1 before a logarithm, and counted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import FloatArray

LOWEST_PROBABILITY = 1e-6
"""What is measured in logarithms (likelihood, temperature, slope and intercept) sees no probability below this, nor one
above 1 less this: a single wrong case with a probability of 0 would outweigh all others."""
LOG_FLOOR = 1e-12
"""What is only transformed keeps the order of smaller probabilities; this keeps a saturated 0 finite."""


def clipped(probs: npt.ArrayLike) -> FloatArray:
    """Probabilities held in `LOWEST_PROBABILITY` to 1 less it, of any shape."""
    return np.clip(np.asarray(probs, dtype=np.float64), LOWEST_PROBABILITY, 1 - LOWEST_PROBABILITY)


def n_clipped(probs: npt.ArrayLike) -> int:
    """How many probabilities lie outside `LOWEST_PROBABILITY` to 1 less it."""
    table = np.asarray(probs, dtype=np.float64)
    return int(((table < LOWEST_PROBABILITY) | (table > 1 - LOWEST_PROBABILITY)).sum())
