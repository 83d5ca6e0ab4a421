from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t
from sklearn.linear_model import LogisticRegression

from dsmt_nnunet.statistics.calibration.bins import calibration_bins, ece_if_calibrated, expected_calibration_error
from dsmt_nnunet.statistics.calibration.clipping import LOWEST_PROBABILITY, clipped, n_clipped
from dsmt_nnunet.statistics.calibration.logistic import logistic_calibration
from dsmt_nnunet.statistics.calibration.scaling import apply_temperature
from dsmt_nnunet.statistics.calibration.temperature import fit_temperature, negative_log_likelihood
from dsmt_nnunet.statistics.decisions.curve import decision_curve
from dsmt_nnunet.statistics.named_warnings import CalibrationWarning, SeparationWarning


@pytest.fixture
def overconfident() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose log-odds are twice too large."""
    rng = np.random.default_rng(2)
    log_odds = rng.normal(size=4000)
    return rng.random(4000) < expit(log_odds), expit(2 * log_odds)


def test_ece_equals_a_naive_loop_and_edges_belong_to_the_bin_above() -> None:
    rng = np.random.default_rng(0)
    y_true, probs = rng.random(200) < 0.4, np.round(rng.random(200), 2)
    total = 0.0
    for number in range(10):
        inside = [k for k in range(200) if min(int(probs[k] * 10 + 1e-9), 9) == number]
        if inside:
            total += len(inside) / 200 * abs(y_true[inside].mean() - probs[inside].mean())
    assert expected_calibration_error(y_true, probs) == pytest.approx(total, abs=1e-12)
    counts = [item.n for item in calibration_bins([0, 1, 0, 1], [0.0, 0.1, 0.3, 1.0])]
    assert counts == [1, 1, 0, 1, 0, 0, 0, 0, 0, 1]


def test_empty_bins_are_nan_and_probabilities_stay_in_0_to_1() -> None:
    bins = calibration_bins([0, 1], [0.05, 0.95])
    assert math.isnan(bins[5].observed)
    with pytest.raises(ValueError, match="to 1\\.5"):
        calibration_bins([0, 1], [0.5, 1.5])


def test_slope_and_intercept_equal_an_unpenalised_logistic_regression(overconfident) -> None:
    y_true, probs = overconfident
    result = logistic_calibration(y_true, probs)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit(probs)[:, None], y_true)
    assert result.slope == pytest.approx(model.coef_[0, 0], rel=1e-4)
    assert result.intercept_with_slope == pytest.approx(model.intercept_[0], abs=1e-4)
    assert result.slope == pytest.approx(0.5, abs=0.05)
    assert result.slope_ci[0] < 0.5 < result.slope_ci[1]


def test_intercept_is_calibration_in_the_large(overconfident) -> None:
    """At the fitted intercept the mean probability equals the share of positive cases."""
    y_true, probs = overconfident
    shifted = expit(logit(probs) + 0.7)
    result = logistic_calibration(y_true, shifted)
    corrected = expit(logit(shifted) + result.intercept)
    assert corrected.mean() == pytest.approx(y_true.mean(), abs=1e-6)
    assert result.intercept < -0.5


@pytest.mark.parametrize("probs", [[0.1, 0.2, 0.8, 0.9], [0.4, 0.4, 0.4, 0.4], [0.9, 0.8, 0.2, 0.1]])
def test_separated_or_constant_probabilities_have_no_slope(probs) -> None:
    with pytest.warns(SeparationWarning):
        result = logistic_calibration([0, 0, 1, 1], probs)
    assert math.isnan(result.slope)
    assert math.isfinite(result.intercept)


def test_one_class_has_no_recalibration() -> None:
    with pytest.warns(SeparationWarning):
        assert math.isnan(logistic_calibration([1, 1], [0.4, 0.6]).intercept)


def test_temperature_undoes_overconfidence(overconfident) -> None:
    y_true, probs = overconfident
    table = np.stack([1 - probs, probs], axis=1)
    temperature = fit_temperature(y_true, table)
    assert temperature == pytest.approx(2.0, abs=0.15)
    grid = np.linspace(1.5, 2.6, 111)
    losses = [
        negative_log_likelihood(y_true, np.stack([expit(-logit(probs) / t), expit(logit(probs) / t)], axis=1))
        for t in grid
    ]
    assert temperature == pytest.approx(grid[int(np.argmin(losses))], abs=0.011)


def test_temperature_of_three_classes() -> None:
    rng = np.random.default_rng(6)
    logits = rng.normal(size=(3000, 3))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (probs.cumsum(axis=1) > rng.random((3000, 1))).argmax(axis=1)
    sharp = probs**3 / (probs**3).sum(axis=1, keepdims=True)
    assert fit_temperature(labels, sharp) == pytest.approx(3.0, abs=0.3)


def test_too_few_cases_or_separated_classes_are_said() -> None:
    with pytest.warns(CalibrationWarning, match="stays 1"):
        assert fit_temperature([0, 1], np.array([[0.5, 0.5], [0.1, 0.9]])) == 1.0
    probs = np.tile([[0.6, 0.4], [0.4, 0.6]], (10, 1))
    with pytest.warns(CalibrationWarning, match="edge"):
        assert fit_temperature([0, 1] * 10, probs) == pytest.approx(0.05, rel=1e-2)


def test_net_benefit_by_hand() -> None:
    """10 cases, 4 positive; at 0.25 the model acts on 3 true and 2 false: 3/10 - 2/10 / 3."""
    y_true = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    probs = [0.9, 0.8, 0.25, 0.1, 0.7, 0.3, 0.2, 0.1, 0.1, 0.0]
    curve = decision_curve(y_true, probs, [0.25, 0.5])
    assert curve.model == pytest.approx([0.3 - 0.2 / 3, 0.2 - 0.1])
    assert curve.treat_all == pytest.approx([0.4 - 0.6 / 3, 0.4 - 0.6])
    assert curve.treat_none.tolist() == [0, 0]
    with pytest.raises(ValueError, match="between 0 and 1"):
        decision_curve(y_true, probs, [0.0, 1.0])
    with pytest.raises(ValueError, match="probabilities"):
        decision_curve([0, 1], [0.1, 7], [0.5])


def test_patients_make_the_calibration_interval_as_wide_as_their_number_asks() -> None:
    rng = np.random.default_rng(5)
    probs = rng.uniform(0.1, 0.9, 80)
    y_true = rng.random(80) < probs
    once = logistic_calibration(y_true, probs)
    y_true, probs, patients = np.repeat(y_true, 5), np.repeat(probs, 5), np.repeat(np.arange(80), 5)
    alone, whole = logistic_calibration(y_true, probs), logistic_calibration(y_true, probs, clusters=patients)
    assert whole.slope == pytest.approx(alone.slope)
    for name in ("slope_ci", "intercept_ci"):
        assert np.ptp(getattr(whole, name)) == pytest.approx(np.ptp(getattr(once, name)), rel=0.3)
        assert np.ptp(getattr(alone, name)) < 0.6 * np.ptp(getattr(whole, name))


def test_the_clustered_intercept_has_the_sandwich_variance_written_out() -> None:
    """Mancl and DeRouen's, equation 4, case by case, of patients with one to twelve cases."""
    rng = np.random.default_rng(6)
    patients = np.repeat(np.arange(15), [1, 2, 4, 12, 6] * 3)
    probs = rng.uniform(0.1, 0.9, 75)
    y_true = rng.random(75) < probs
    found = logistic_calibration(y_true, probs, clusters=patients)
    ones, log_odds = np.ones((75, 1)), logit(probs)
    of_slope = (np.c_[ones, log_odds], found.intercept_with_slope + found.slope * log_odds)
    of_intercept = (ones, found.intercept + log_odds)
    for (design, fitted), ci in ((of_slope, found.slope_ci), (of_intercept, found.intercept_ci)):
        p = expit(fitted)
        information = design.T @ np.diag(p * (1 - p)) @ design
        hat = np.diag(p * (1 - p)) @ design @ np.linalg.inv(information) @ design.T
        changes = []
        for k in range(15):
            mine = patients == k
            residual = np.linalg.solve(np.eye(mine.sum()) - hat[np.ix_(mine, mine)], (y_true - p)[mine])
            changes.append((np.linalg.inv(information) @ design[mine].T @ residual)[-1])
        u = np.array(changes)
        df = min(3 * (u**2).sum() ** 2 / (u**4).sum(), 14)
        assert np.ptp(ci) / 2 == pytest.approx(t.ppf(0.975, df) * np.sqrt((u**2).sum()), rel=1e-6)
    assert np.isnan(logistic_calibration(y_true, probs, clusters=np.zeros(75)).slope_ci).all()


def test_the_error_of_perfect_probabilities_is_known_beforehand() -> None:
    rng = np.random.default_rng(5)
    for n in (30, 200):
        seen, foretold = [], []
        for _ in range(150):
            probs = rng.random(n)
            seen.append(expected_calibration_error(rng.random(n) < probs, probs))
            foretold.append(ece_if_calibrated(probs, n_draws=200))
        assert np.mean(foretold) == pytest.approx(np.mean(seen), abs=0.012)
    assert math.isnan(ece_if_calibrated([]))


def test_a_temperature_of_few_cases_is_drawn_towards_1() -> None:
    """The error of log T where T is 1 halves; with many overconfident cases nothing is taken away."""
    plain, shrunk = [], []
    for seed in range(25):
        labels, probs = too_sure(70, 1.0, seed)
        grid = np.exp(np.linspace(-1.5, 1.5, 121))
        losses = [negative_log_likelihood(labels, apply_temperature(probs, value)) for value in grid]
        plain.append(np.log(grid[int(np.argmin(losses))]))
        shrunk.append(np.log(fit_temperature(labels, probs)))
    assert np.sqrt(np.mean(np.square(shrunk))) < 0.8 * np.sqrt(np.mean(np.square(plain)))
    labels, probs = too_sure(3000, 3.0, 0)
    assert fit_temperature(labels, probs) == pytest.approx(3.0, rel=0.1)


def test_copies_of_a_patient_do_not_vouch_for_each_other() -> None:
    labels, probs = too_sure(40, 1.3, 4)
    many, table = np.repeat(labels, 8), np.repeat(probs, 8, axis=0)
    whole = fit_temperature(many, table, np.repeat(np.arange(40), 8))
    assert abs(np.log(whole)) <= abs(np.log(fit_temperature(many, table)))


def test_one_wrong_case_at_0_does_not_decide() -> None:
    labels, probs = too_sure(60, 1.0, 2)
    sure = np.concatenate([probs, [[1.0, 0.0]]])
    nearly = np.concatenate([probs, [[1 - 1e-6, 1e-6]]])
    wrong = fit_temperature(np.append(labels, 1), sure)
    assert wrong == fit_temperature(np.append(labels, 1), nearly) < 10
    assert n_clipped(sure) == 2
    assert clipped(sure)[-1, 1] == LOWEST_PROBABILITY


def too_sure(n: int, temperature: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities whose log odds are too large by a factor."""
    rng = np.random.default_rng(seed)
    log_odds = 1.5 * rng.normal(size=n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-log_odds))).astype(int)
    probs = 1 / (1 + np.exp(-temperature * log_odds))
    return labels, np.stack([1 - probs, probs], axis=1)
