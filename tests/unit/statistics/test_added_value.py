from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize
from scipy.stats import chi2, norm

from dsmt_nnunet.statistics.added_value import LIKELIHOOD_RATIO, SANDWICH, added_value
from dsmt_nnunet.statistics.named_warnings import SeparationWarning

RNG = np.random.default_rng(0)
SIZE = RNG.normal(size=300)
SCORE = 0.6 * SIZE + RNG.normal(size=300)
LABELS = RNG.random(300) < 1 / (1 + np.exp(-(SIZE + 0.4 * SCORE)))


def log_likelihood(columns: np.ndarray) -> float:
    def loss(weights: np.ndarray) -> float:
        odds = weights[0] + columns @ weights[1:]
        return float(np.logaddexp(0, odds).sum() - odds[LABELS].sum())

    return -float(minimize(loss, np.zeros(columns.shape[1] + 1), tol=1e-12).fun)


def test_the_likelihood_ratio_of_both_regressions() -> None:
    found = added_value(LABELS, SCORE, SIZE[:, None])
    ratio = 2 * (log_likelihood(np.column_stack([SCORE, SIZE])) - log_likelihood(SIZE[:, None]))
    assert found.p_value == pytest.approx(chi2.sf(ratio, 1), rel=1e-4)
    assert (found.test, len(found.base_weights)) == (LIKELIHOOD_RATIO, 1)
    assert found.weight > 0


def test_copies_of_a_patient_add_nothing() -> None:
    once = added_value(LABELS, SCORE, SIZE[:, None], np.arange(300))
    copied = added_value(
        np.repeat(LABELS, 4), np.repeat(SCORE, 4), np.repeat(SIZE, 4)[:, None], np.repeat(np.arange(300), 4)
    )
    assert copied.test == SANDWICH
    assert copied.weight == pytest.approx(once.weight, rel=1e-6)
    table = sm.add_constant(np.column_stack([SCORE, SIZE]))
    robust = sm.GLM(LABELS * 1.0, table, sm.families.Binomial()).fit(cov_type="HC0")
    assert -norm.isf(copied.p_value / 2) == pytest.approx(-robust.tvalues[1], abs=0.1)
    independent = added_value(np.repeat(LABELS, 4), np.repeat(SCORE, 4), np.repeat(SIZE, 4)[:, None])
    assert independent.p_value < 1e-3 * once.p_value


@pytest.mark.parametrize("clusters", [None, np.arange(300) // 3], ids=["cases", "patients"])
@pytest.mark.parametrize("base", [np.full(300, 3.0), 2 * SCORE + 1], ids=["constant", "the score itself"])
def test_columns_that_say_nothing_of_their_own_have_no_weights(base, clusters) -> None:
    with pytest.warns(SeparationWarning, match="follows from the others"):
        found = added_value(LABELS, SCORE, np.column_stack([SIZE, base]), clusters)
    assert np.isnan([found.p_value, found.weight, *found.base_weights]).all()
    assert len(found.base_weights) == 2


@pytest.mark.parametrize("sizes", [[3] * 60, [1] * 22 + [2] * 8 + [4] * 6 + [12] * 4], ids=["alike", "unequal"])
def test_it_rejects_a_useless_score_as_often_as_it_says(sizes: list[int]) -> None:
    p_values, n = [], sum(sizes)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        patients = np.repeat(np.arange(len(sizes)), sizes)
        size = rng.normal(size=len(sizes))[patients] + rng.normal(size=n)
        score = rng.normal(size=len(sizes))[patients] + rng.normal(size=n)
        labels = size + 1.5 * rng.normal(size=len(sizes))[patients] + rng.logistic(size=n) > 0
        p_values.append(added_value(labels, score, size[:, None], patients).p_value)
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09


def test_separated_classes_have_no_weight() -> None:
    with pytest.warns(SeparationWarning):
        assert math.isnan(added_value(LABELS, np.where(LABELS, 3.0, -3.0), SIZE[:, None]).weight)
    with pytest.warns(SeparationWarning, match="One class"):
        assert math.isnan(added_value(np.ones(10), np.arange(10), np.arange(10)[:, None]).p_value)
