from __future__ import annotations

import numpy as np
import pytest

from dsmt_nnunet.statistics.calibration.brier import brier_parts


def pooled(probs: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Isotonic regression by its min-max formula, for probabilities that all differ."""
    order = np.argsort(probs)
    sorted_outcome, fitted = outcome[order], np.empty(len(outcome))
    for place in range(len(outcome)):
        fitted[order[place]] = max(
            min(sorted_outcome[low : high + 1].mean() for high in range(place, len(outcome)))
            for low in range(place + 1)
        )
    return fitted


def test_parts_add_up_to_the_score_and_are_those_of_the_naive_regression() -> None:
    rng = np.random.default_rng(0)
    probs = rng.random(30)
    labels = rng.random(30) < probs**2
    found, again = brier_parts(labels, probs), pooled(probs, labels.astype(float))
    score, after = np.mean((probs - labels) ** 2), np.mean((again - labels) ** 2)
    assert found.miscalibration - found.discrimination + found.uncertainty == pytest.approx(score)
    assert found.miscalibration == pytest.approx(score - after)


def test_shifted_probabilities_lose_calibration_and_no_discrimination() -> None:
    labels = np.arange(100) % 4 == 0
    probs = np.where(labels, 0.6, 0.1)
    assert brier_parts(labels, probs / 2).discrimination == brier_parts(labels, probs).discrimination
    assert brier_parts(labels, probs / 2).miscalibration > brier_parts(labels, probs).miscalibration
    assert brier_parts(labels, np.full(100, 0.25)).discrimination == 0
