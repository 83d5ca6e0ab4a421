from __future__ import annotations

import numpy as np
import pytest

from dsmt_nnunet.statistics.decisions.metrics import decision_metrics
from dsmt_nnunet.statistics.decisions.threshold import (
    cut_points,
    sensitivity_to_expect,
    specificity_threshold,
    target_sensitivity_threshold,
    youden_threshold,
)
from dsmt_nnunet.statistics.roc.curve import roc_curve


@pytest.mark.parametrize("name", ["wfns", "s100b", "ndka"])
def test_youden_counts_from_proc(name, roc_vectors, columns) -> None:
    data = columns("asah.csv")
    expected = roc_vectors["asah_best_threshold"]["expected"][name]["youden"]["1"]
    choice = youden_threshold(data["y"], data[name])
    metrics = decision_metrics(data["y"], data[name] >= choice.threshold)
    assert {key: getattr(metrics, key) for key in ("tp", "fp", "tn", "fn")} == {
        key: expected[key] for key in ("tp", "fp", "tn", "fn")
    }
    assert choice.threshold == pytest.approx(expected["threshold"])
    assert metrics.accuracy.value == pytest.approx(expected["accuracy"])
    assert metrics.ppv.value == pytest.approx(expected["ppv"])
    assert metrics.npv.value == pytest.approx(expected["npv"])


def test_cut_points_with_ties_by_hand() -> None:
    points = cut_points([0, 1, 0, 1, 1], [1, 1, 2, 2, 3])
    assert points.thresholds.tolist() == [1, 2, 3]
    assert points.sensitivity == pytest.approx([1, 2 / 3, 1 / 3])
    assert points.specificity == pytest.approx([0, 1 / 2, 1])


def test_every_hanley_mcneil_point_and_none_dropped(roc_vectors, columns) -> None:
    data = columns("hanley_mcneil_1982_ct.csv")
    expected = roc_vectors["hanley_mcneil_1982_ct"]["expected"]["all_points"]
    curve = roc_curve(data["y"], data["rating"])
    assert curve.tpr[::-1] == pytest.approx([point["sensitivity"] for point in expected])
    assert 1 - curve.fpr[::-1] == pytest.approx([point["specificity"] for point in expected])


def test_collinear_points_of_a_curve_are_kept() -> None:
    assert len(roc_curve([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6]).fpr) == 7


def test_among_equal_youden_values_the_most_sensitive_is_taken() -> None:
    choice = youden_threshold([0, 1, 0, 1], [1, 2, 3, 4])
    assert choice.threshold == 1.5
    assert (choice.sensitivity, choice.specificity) == (1.0, 0.5)


def test_target_sensitivity_is_reached_by_the_highest_threshold() -> None:
    y_true, scores = [0, 1, 0, 1, 1, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.4, 0.5, 0.9]
    choice = target_sensitivity_threshold(y_true, scores, 0.75)
    assert choice.sensitivity == 0.75
    assert 0.3 < choice.threshold <= 0.4
    assert target_sensitivity_threshold(y_true, scores, 1.0).sensitivity == 1.0
    with pytest.raises(ValueError, match="got 1\\.2"):
        target_sensitivity_threshold(y_true, scores, 1.2)


def test_threshold_between_neighbouring_floats_keeps_the_decisions() -> None:
    low = 0.3
    high = np.nextafter(low, 1)
    assert youden_threshold([0, 1], [low, high]).threshold == high


def test_one_class_has_no_threshold() -> None:
    with pytest.raises(ValueError, match="both classes"):
        youden_threshold([1, 1], [0.1, 0.2])


@pytest.mark.parametrize("seed", range(30))
def test_no_choice_is_dominated(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y_true = np.arange(24) % 3 == 0
    score = np.round(rng.normal(size=24) + 1.5 * y_true, 1)
    pairs = [_counts(y_true, score, cut) for cut in [*np.unique(score), score.max() + 1]]
    choices = [youden_threshold(y_true, score)]
    choices += [target_sensitivity_threshold(y_true, score, target) for target in (0.5, 0.95)]
    choices += [specificity_threshold(y_true, score, target) for target in (0.0, 0.5, 0.9, 1.0)]
    for choice in choices:
        mine = _counts(y_true, score, choice.threshold)
        assert (mine[0] / 8, mine[1] / 16) == pytest.approx((choice.sensitivity, choice.specificity))
        assert not any(a >= mine[0] and b >= mine[1] and (a, b) != mine for a, b in pairs)


def _counts(y_true: np.ndarray, score: np.ndarray, cut: float) -> tuple[int, int]:
    """True positives and true negatives."""
    return int((score >= cut)[y_true].sum()), int((score < cut)[~y_true].sum())


def test_a_perfect_score_is_perfect_at_any_specificity() -> None:
    choice = specificity_threshold([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 0.5)
    assert (choice.sensitivity, choice.specificity) == (1, 1)


def test_the_specificity_of_calling_nobody_is_always_there() -> None:
    choice = specificity_threshold([1, 0], [0.1, 0.9], 0.7)
    assert (choice.sensitivity, choice.specificity) == (0, 1)
    assert choice.threshold > 0.9


def test_a_threshold_aimed_at_095_gives_less_on_others() -> None:
    """Wilks: 19 of 20 positives at or above the cut are 19 / 21 on average; simulated beside it."""
    expected = sensitivity_to_expect(0.95, 20)
    assert expected.mean == pytest.approx(19 / 21)
    rng = np.random.default_rng(0)
    true = 1 - np.sort(rng.random((20_000, 20)), axis=1)[:, 1]
    assert true.mean() == pytest.approx(expected.mean, abs=0.002)
    assert np.quantile(true, [0.025, 0.975]) == pytest.approx(expected.ci, abs=0.01)
    with pytest.raises(ValueError, match="0 excluded"):
        sensitivity_to_expect(0.0, 20)
