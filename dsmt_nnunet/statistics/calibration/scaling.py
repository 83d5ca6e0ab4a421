"""Temperature scaling of probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.calibration.clipping import LOG_FLOOR
from dsmt_nnunet.statistics.checks import FloatArray

DEFAULT_TEMPERATURE = 1.0
DEFAULT_THRESHOLD = 0.5


def apply_temperature(probs: npt.ArrayLike, temperature: float) -> FloatArray:
    """softmax(log p / T): temperature scaling written on probabilities.

    It keeps the order of the cases within a binary task, and T undone is `apply_temperature(probs, 1 / T)`.
    Source: Guo et al., On calibration of modern neural networks, ICML 2017, equation 9.

    Args:
        probs: probabilities, shape (..., K), K classes that add up to 1.
        temperature: T, positive.

    Returns:
        Array of the same shape, float64.
    """
    scaled = np.log(np.clip(np.asarray(probs, dtype=np.float64), LOG_FLOOR, None)) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    weights = np.exp(scaled)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), dtype=np.float64)
