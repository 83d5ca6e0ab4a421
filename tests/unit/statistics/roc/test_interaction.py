from __future__ import annotations

import numpy as np
import pytest

from dsmt_nnunet.statistics.named_warnings import OneCaseInClassWarning
from dsmt_nnunet.statistics.roc.by_patient import level_difference
from dsmt_nnunet.statistics.roc.interaction import auc_interaction


def drawn(apart: tuple[float, float, float], seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    labels, level = np.arange(360) % 2 == 0, np.arange(360) % 3
    return labels, rng.normal(size=360) + np.array(apart)[level] * labels, [level == index for index in range(3)]


def test_two_levels_are_nearly_the_unpaired_comparison() -> None:
    labels, scores, levels = drawn((1.5, 0.8, 1.0))
    found = auc_interaction(labels, scores, levels[:2])
    pair = level_difference(labels, scores, (levels[0], levels[1]))
    assert found.estimates[0] - found.estimates[1] == pytest.approx(pair.difference)
    assert np.sqrt(found.statistic) == pytest.approx(abs(pair.z), rel=0.02)


def test_only_levels_that_differ_are_told_apart() -> None:
    assert auc_interaction(*drawn((2.5, 0.3, 1.0))).p_value < 0.001
    assert auc_interaction(*drawn((1.0, 1.0, 1.0))).p_value > 0.05


def test_a_difference_of_scores_that_is_the_same_everywhere_is_no_interaction() -> None:
    labels, scores, levels = drawn((1.0, 1.0, 1.0))
    second = scores + np.random.default_rng(1).normal(0, 2, 360)
    found = auc_interaction(labels, np.stack([scores, second]), levels)
    assert min(found.estimates) > 0
    assert found.p_value > 0.05
    swapped = second.copy()
    swapped[levels[0]] = -scores[levels[0]]
    assert auc_interaction(labels, np.stack([scores, swapped]), levels).p_value < 0.001


def test_a_level_with_few_patients_is_left_out() -> None:
    labels, scores, levels = drawn((1.0, 1.0, 1.0))
    few = levels[2] & (np.cumsum(levels[2]) <= 8)
    with pytest.warns(OneCaseInClassWarning, match="Level 2 is left out"):
        found = auc_interaction(labels, scores, [*levels[:2], few])
    assert found.levels == (0, 1)
    assert np.isfinite(found.p_value)
    with pytest.warns(OneCaseInClassWarning, match="Level 'west' is left out"):
        auc_interaction(labels, scores, [*levels[:2], few], names=["north", "south", "west"])
