"""What holds of every statistic, whatever the labels and scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dsmt_nnunet.statistics.calibration.bins import calibration_bins, expected_calibration_error
from dsmt_nnunet.statistics.calibration.scaling import apply_temperature
from dsmt_nnunet.statistics.decisions.curve import decision_curve
from dsmt_nnunet.statistics.decisions.mcnemar import mcnemar_from_counts
from dsmt_nnunet.statistics.decisions.threshold import cut_points
from dsmt_nnunet.statistics.proportions import proportion
from dsmt_nnunet.statistics.roc.curve import roc_curve
from dsmt_nnunet.statistics.roc.delong import auc_score, structural_components

Cohort = tuple[np.ndarray, np.ndarray]


@st.composite
def cohorts(draw: st.DrawFn) -> Cohort:
    """Labels of both classes, and probabilities with ties."""
    n_cases = draw(st.integers(4, 30))
    labels = draw(arrays.arrays(np.int64, n_cases, elements=st.integers(0, 1)))
    labels[:2], labels[2:4] = 0, 1
    steps = draw(arrays.arrays(np.int64, n_cases, elements=st.integers(0, 12)))
    return labels, steps / 12


@given(cohort=cohorts())
def test_the_auc_keeps_to_its_symmetries(cohort: Cohort) -> None:
    y_true, y_score = cohort
    auc = auc_score(y_true, y_score)
    assert 0 <= auc <= 1
    assert auc_score(y_true, -y_score) == pytest.approx(1 - auc)
    assert auc_score(1 - y_true, y_score) == pytest.approx(1 - auc)
    assert auc_score(y_true, np.exp(3 * y_score) - 7) == pytest.approx(auc)
    order = np.argsort(y_score, kind="stable")
    assert auc_score(y_true[order], y_score[order]) == pytest.approx(auc)


@given(cohort=cohorts())
def test_the_auc_is_the_area_under_a_curve_that_never_falls(cohort: Cohort) -> None:
    curve = roc_curve(*cohort)
    for rate in (curve.fpr, curve.tpr):
        assert (np.diff(rate) >= 0).all()
        assert (rate[0], rate[-1]) == (0, 1)
    assert (np.diff(curve.thresholds) < 0).all()
    area = np.sum(np.diff(curve.fpr) * (curve.tpr[1:] + curve.tpr[:-1]) / 2)
    assert area == pytest.approx(auc_score(*cohort))


@given(cohort=cohorts())
def test_the_covariance_of_two_aucs_is_one(cohort: Cohort) -> None:
    y_true, y_score = cohort
    covariance = structural_components(y_true, np.stack([y_score, y_score[::-1]])).covariance
    assert covariance == pytest.approx(covariance.T)
    assert (np.linalg.eigvalsh(covariance) >= -1e-12).all()


@given(cohort=cohorts())
def test_raising_the_threshold_trades_sensitivity_for_specificity(cohort: Cohort) -> None:
    points = cut_points(*cohort)
    assert (np.diff(points.thresholds) > 0).all()
    assert (np.diff(points.sensitivity) <= 0).all()
    assert (np.diff(points.specificity) >= 0).all()


@given(cohort=cohorts())
def test_every_case_is_in_one_bin_of_calibration(cohort: Cohort) -> None:
    y_true, y_prob = cohort
    bins = calibration_bins(y_true, y_prob)
    assert sum(item.n for item in bins) == len(y_true)
    assert sum(item.n_positive for item in bins) == y_true.sum()
    assert 0 <= expected_calibration_error(y_true, y_prob) <= 1


@given(cohort=cohorts())
def test_no_net_benefit_is_above_the_prevalence(cohort: Cohort) -> None:
    y_true, y_prob = cohort
    curve = decision_curve(y_true, y_prob)
    assert (curve.model <= y_true.mean() + 1e-12).all()
    assert (curve.treat_all <= y_true.mean() + 1e-12).all()


@given(
    weights=arrays.arrays(np.float64, (5, 4), elements=st.floats(0.01, 1)),
    temperature=st.floats(0.25, 8),
)
def test_a_temperature_keeps_the_sum_and_the_order_and_can_be_undone(weights: np.ndarray, temperature: float) -> None:
    probs = weights / weights.sum(axis=1, keepdims=True)
    scaled = apply_temperature(probs, temperature)
    assert scaled.sum(axis=1) == pytest.approx(np.ones(5))
    for before, after in zip(probs, scaled, strict=True):
        assert (np.diff(after[np.argsort(before)]) >= -1e-12).all()
    assert apply_temperature(scaled, 1 / temperature) == pytest.approx(probs)


@given(total=st.integers(1, 200), data=st.data())
@pytest.mark.parametrize("method", ["wilson", "clopper-pearson"])
def test_a_proportion_lies_in_its_interval(method: str, total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, total))
    found = proportion(count, total, method)
    assert 0 <= found.ci[0] <= found.value <= found.ci[1] <= 1
    mirrored = proportion(total - count, total, method)
    assert mirrored.ci == pytest.approx((1 - found.ci[1], 1 - found.ci[0]), abs=1e-9)


@given(counts=st.tuples(*[st.integers(0, 30)] * 4))
def test_mcnemar_is_the_same_the_other_way_round(counts: tuple[int, int, int, int]) -> None:
    both, first, second, neither = counts
    found, swapped = mcnemar_from_counts(*counts), mcnemar_from_counts(both, second, first, neither)
    assert swapped.p_exact == pytest.approx(found.p_exact, nan_ok=True)
    assert swapped.p_mid == pytest.approx(found.p_mid, nan_ok=True)
    if sum(counts):
        assert 0 <= found.p_mid <= found.p_exact <= 1
        assert swapped.difference == -found.difference
        assert swapped.ci == pytest.approx((-found.ci[1], -found.ci[0]))
