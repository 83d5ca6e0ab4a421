from __future__ import annotations

import math

import numpy as np
import pytest

from dsmt_nnunet.statistics.decisions.clustered_pairs import clustered_pairs
from dsmt_nnunet.statistics.decisions.mcnemar import mcnemar
from tests.unit.statistics.clustered_data import made_cases


def test_both_statistics_written_out() -> None:
    data = made_cases(18, 5, 2)
    first, second = ((score > 0.4) == data.y_true for score in data.scores)
    found = clustered_pairs(first, second, data.patients)
    top = bottom = scatter = 0.0
    difference = (first.sum() - second.sum()) / len(first)
    for patient in range(18):
        mine = data.patients == patient
        b, c, n = (first & ~second)[mine].sum(), (~first & second)[mine].sum(), mine.sum()
        top += (b - c) / n
        bottom += ((b - c) / n) ** 2
        scatter += ((b - c) - n * difference) ** 2
    assert found.durkalski_chi2 == pytest.approx(top**2 / bottom)
    assert found.difference == pytest.approx(difference)
    assert found.se == pytest.approx(math.sqrt(18 / 17 * scatter) / len(first))
    assert (found.p_value < 0.05) == (not found.ci[0] <= 0 <= found.ci[1])


def test_durkalski_is_mcnemar_for_single_cases() -> None:
    """R's `?mcnemar.test`, approval of the president: 794, 150, 86, 570; chi2 without correction 17.356."""
    first, second = (np.repeat(value, [794, 150, 86, 570]) for value in ([1, 1, 0, 0], [1, 0, 1, 0]))
    found = clustered_pairs(first, second)
    assert found.durkalski_chi2 == pytest.approx(17.3559322033898)
    assert found.durkalski_p == pytest.approx(mcnemar(first, second).p_value)
    assert found.ci == pytest.approx(mcnemar(first, second).ci, abs=0.001)


def test_copies_of_a_case_add_nothing() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random(50) < 0.8, rng.random(50) < 0.6
    once = clustered_pairs(first, second)
    copied = clustered_pairs(np.repeat(first, 6), np.repeat(second, 6), np.repeat(np.arange(50), 6))
    assert copied.p_value == pytest.approx(once.p_value)
    assert copied.durkalski_chi2 == pytest.approx(once.durkalski_chi2)
    assert copied.ci == pytest.approx(once.ci)


def test_no_discordant_case_is_p_1_with_a_width() -> None:
    right = np.arange(40) % 4 != 0
    found = clustered_pairs(right, right, np.repeat(np.arange(10), 4))
    assert (found.p_value, found.durkalski_p) == (1, 1)
    assert found.ci[0] < 0 < found.ci[1]


def test_other_cases_are_refused() -> None:
    with pytest.raises(ValueError, match="same cases twice"):
        clustered_pairs([1, 0], [1, 0, 1])
