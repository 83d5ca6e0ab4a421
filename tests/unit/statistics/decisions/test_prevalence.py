from __future__ import annotations

import numpy as np
import pytest

from dsmt_nnunet.statistics.decisions.curve import decision_curve
from dsmt_nnunet.statistics.decisions.prevalence import at_prevalence


def case_control() -> tuple[np.ndarray, np.ndarray]:
    """100 positives with sensitivity 0.8, 100 negatives with specificity 0.78."""
    return np.repeat([1, 0], 100), np.r_[np.repeat([1, 0], [80, 20]), np.repeat([1, 0], [22, 78])]


def test_bayes_rule() -> None:
    found = at_prevalence(*case_control(), 0.05)
    assert found.ppv == pytest.approx(0.05 * 0.8 / (0.05 * 0.8 + 0.95 * 0.22))
    assert found.npv == pytest.approx(0.95 * 0.78 / (0.95 * 0.78 + 0.05 * 0.2))
    assert found.ppv_ci[0] < found.ppv < found.ppv_ci[1] < 0.3
    assert found.npv_ci[0] < found.npv < found.npv_ci[1]


def test_net_benefit_at_the_samples_own_prevalence_is_the_decision_curves() -> None:
    y_true, called = case_control()
    found = at_prevalence(y_true, called, 0.5, threshold_probability=0.3)
    curve = decision_curve(y_true, np.where(called, 0.9, 0.1), [0.3])
    assert found.net_benefit == pytest.approx(curve.model[0])
    assert found.net_benefit_all == pytest.approx(curve.treat_all[0])


@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_hold_in_a_simulation(clustered: bool) -> None:
    """500 samples of 60 + 60; with patients, four copies of each case."""
    rng = np.random.default_rng(0)
    held = []
    y_true = np.repeat([1, 0], 60)
    for _ in range(500):
        called = np.r_[rng.random(60) < 0.8, rng.random(60) < 0.2]
        if clustered:
            cases = (np.repeat(y_true, 4), np.repeat(called, 4))
            found = at_prevalence(*cases, 0.1, clusters=np.repeat(np.arange(120), 4))
        else:
            found = at_prevalence(y_true, called, 0.1)
        truth = (0.1 * 0.8 / (0.1 * 0.8 + 0.9 * 0.2), 0.9 * 0.8 / (0.9 * 0.8 + 0.1 * 0.2), 0.1 * 0.8 - 0.9 * 0.2)
        intervals = (found.ppv_ci, found.npv_ci, found.net_benefit_ci)
        held.append([low <= value <= high for (low, high), value in zip(intervals, truth, strict=True)])
    assert (np.mean(held, axis=0) > 0.915).all()
    assert (np.mean(held, axis=0) < 0.99).all()


def test_intervals_hold_near_1_with_few_cases() -> None:
    """300 samples of 30 + 30 at a sensitivity and specificity of 0.95; with z^2 / 2 cases added it is 0.8, and a net
    benefit about the observed rates 0.88."""
    rng, y_true, held = np.random.default_rng(0), np.repeat([1, 0], 30), []
    truth = (0.1 * 0.95 / (0.1 * 0.95 + 0.9 * 0.05), 0.9 * 0.95 / (0.9 * 0.95 + 0.1 * 0.05), 0.1 * 0.95 - 0.9 * 0.05)
    for _ in range(300):
        found = at_prevalence(y_true, np.r_[rng.random(30) < 0.95, rng.random(30) < 0.05], 0.1)
        intervals = (found.ppv_ci, found.npv_ci, found.net_benefit_ci)
        held.append([low <= value <= high for (low, high), value in zip(intervals, truth, strict=True)])
    assert np.mean(held, axis=0) == pytest.approx(0.95, abs=0.035)


def test_empty_cells_keep_their_width() -> None:
    found = at_prevalence(np.repeat([1, 0], 20), np.repeat([1, 0], 20), 0.1)
    assert (found.ppv, found.npv) == (1, 1)
    assert found.ppv_ci[0] < 0.9


def test_refusals() -> None:
    with pytest.raises(ValueError, match="prevalence lies strictly between"):
        at_prevalence([0, 1], [0, 1], 0.0)
    with pytest.raises(ValueError, match="both classes, got 2 positive of 2"):
        at_prevalence([1, 1], [0, 1], 0.1)


def test_a_decision_curve_at_a_stated_prevalence() -> None:
    rng = np.random.default_rng(3)
    y_true = np.arange(200) % 2
    probs = 1 / (1 + np.exp(-(rng.normal(size=200) + 1.5 * y_true - 0.7)))
    stated = decision_curve(y_true, probs, [0.1, 0.3], prevalence=0.05)
    for index, cut in enumerate((0.1, 0.3)):
        expected = at_prevalence(y_true, probs >= cut, 0.05, cut)
        assert stated.model[index] == pytest.approx(expected.net_benefit)
        assert stated.treat_all[index] == pytest.approx(expected.net_benefit_all)
    own, same = decision_curve(y_true, probs, [0.1, 0.3]), decision_curve(y_true, probs, [0.1, 0.3], prevalence=0.5)
    assert (own.prevalence, stated.prevalence) == (0.5, 0.05)
    np.testing.assert_allclose(own.model, same.model)
    assert stated.treat_all[0] < 0 < own.treat_all[0], "treating all seems to be worth it among cases and controls"
    with pytest.raises(ValueError, match="strictly between"):
        decision_curve(y_true, probs, prevalence=1.0)
    assert np.isnan(decision_curve([1, 1], [0.2, 0.8], [0.5], prevalence=0.3).model).all()
