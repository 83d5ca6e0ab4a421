from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from dsmt_nnunet.statistics.non_inferiority import non_inferiority


def test_it_is_the_one_sided_t_test_of_scipy() -> None:
    values = np.random.default_rng(0).normal(-0.01, 0.1, 60)
    se = values.std(ddof=1) / math.sqrt(60)
    found = non_inferiority(values.mean(), se, 59, 0.05)
    assert found.p_value == pytest.approx(ttest_1samp(values, -0.05, alternative="greater").pvalue)
    assert found.lower == pytest.approx(ttest_1samp(values, 0).confidence_interval(0.95).low)


@pytest.mark.parametrize("difference", np.linspace(-0.1, 0.05, 16))
def test_interval_and_p_say_the_same(difference: float) -> None:
    found = non_inferiority(difference, 0.02, math.nan, 0.05)
    assert found.is_shown == (found.p_value < 0.025) == (found.lower > -0.05)


def test_no_variance_shows_nothing_and_a_margin_is_positive() -> None:
    assert not non_inferiority(0.0, 0.0, 10, 0.05).is_shown
    with pytest.raises(ValueError, match="positive"):
        non_inferiority(0.0, 0.1, 10, 0.0)
