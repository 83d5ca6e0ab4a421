from __future__ import annotations

import math

import numpy as np
import pytest

from dsmt_nnunet.statistics.decisions.elsewhere import chosen_elsewhere
from dsmt_nnunet.statistics.decisions.threshold import youden_threshold


def test_noise_is_worth_nothing_elsewhere() -> None:
    """Judged on the cases that chose it Youden's threshold of noise promises something; out of the bag it does not."""
    own, elsewhere = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y_true, score = np.arange(60) % 2, rng.normal(size=60)
        choice = youden_threshold(y_true, score)
        own.append(choice.sensitivity + choice.specificity - 1)
        found = chosen_elsewhere(y_true, score, youden_threshold, n_resamples=100)
        elsewhere.append(found.sensitivity + found.specificity - 1)
    assert np.mean(own) > 0.12
    assert abs(np.mean(elsewhere)) < 0.06


def test_it_foretells_what_the_threshold_gives_on_other_cases() -> None:
    rng = np.random.default_rng(1)
    promised, found, real = [], [], []
    for _ in range(30):
        y_true, score = np.arange(50) % 2, rng.normal(size=50) + np.arange(50) % 2
        choice = youden_threshold(y_true, score)
        promised.append(choice.sensitivity + choice.specificity)
        item = chosen_elsewhere(y_true, score, youden_threshold, n_resamples=60)
        found.append(item.sensitivity + item.specificity)
        others = rng.normal(size=(2, 4000)) + np.array([[1], [0]])
        real.append((others[0] >= choice.threshold).mean() + (others[1] < choice.threshold).mean())
        assert item.sensitivity_ci[0] < item.sensitivity < item.sensitivity_ci[1]
    assert abs(np.mean(found) - np.mean(real)) < 0.04
    assert np.mean(promised) - np.mean(real) > 0.05


def test_patients_are_drawn_whole() -> None:
    rng = np.random.default_rng(2)
    y_true, score = np.arange(40) % 2, rng.normal(size=40)
    copied = chosen_elsewhere(
        np.repeat(y_true, 5), np.repeat(score, 5), youden_threshold, np.repeat(np.arange(40), 5), n_resamples=200
    )
    leaking = chosen_elsewhere(np.repeat(y_true, 5), np.repeat(score, 5), youden_threshold, n_resamples=200)
    assert leaking.sensitivity + leaking.specificity > copied.sensitivity + copied.specificity + 0.1


def test_a_single_patient_of_a_class_leaves_it_undefined() -> None:
    found = chosen_elsewhere([1, 0, 0, 0], [0.9, 0.1, 0.2, 0.3], youden_threshold)
    assert (found.n_draws, math.isnan(found.sensitivity)) == (0, True)
    with pytest.raises(ValueError, match="finite"):
        chosen_elsewhere([1, 0], [math.nan, 0.1], youden_threshold)
