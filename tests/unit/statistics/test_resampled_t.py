from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from dsmt_nnunet.statistics.resampled_t import corrected_resampled_t


def test_formula_written_out() -> None:
    values = np.array([0.03, 0.05, -0.01, 0.08, 0.02])
    found = corrected_resampled_t(values, 1 / 4)
    statistic = values.mean() / math.sqrt((1 / 5 + 1 / 4) * values.var(ddof=1))
    assert found.t == pytest.approx(statistic)
    assert found.p_value == pytest.approx(2 * t.sf(statistic, 4))
    assert (found.p_value < 0.05) == (not found.ci[0] <= 0 <= found.ci[1])


def test_it_is_the_plain_t_test_widened() -> None:
    """t = 1.5 / sqrt(1.25) ... the plain t shrinks by sqrt((1 / J) / (1 / J + n2 / n1)); ten times ten folds."""
    values = np.random.default_rng(0).normal(0.5, 1, 100)
    plain = ttest_1samp(values, 0.1)
    found = corrected_resampled_t(values, 1 / 9, null=0.1)
    assert found.t == pytest.approx(plain.statistic * math.sqrt((1 / 100) / (1 / 100 + 1 / 9)))
    assert found.df == plain.df


def test_repeats_do_not_make_it_certain() -> None:
    values = np.array([0.03, 0.05, -0.01, 0.08, 0.02])
    once, often = corrected_resampled_t(values, 0.25), corrected_resampled_t(np.tile(values, 100), 0.25)
    assert often.se > 0.6 * once.se


def test_without_spread() -> None:
    assert corrected_resampled_t([0.0, 0.0, 0.0], 0.5).p_value == 1
    assert math.isnan(corrected_resampled_t([0.1, 0.1, 0.1], 0.5).p_value)
    assert math.isnan(corrected_resampled_t([0.1], 0.5).se)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="positive, got 0"):
        corrected_resampled_t([1, 2], 0)
    with pytest.raises(ValueError, match="finite"):
        corrected_resampled_t([1, np.nan], 0.25)
