from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from dsmt_nnunet.evaluation.out_of_fold import choose_operating_point, nested_calibration
from dsmt_nnunet.statistics.calibration.scaling import apply_temperature
from dsmt_nnunet.statistics.named_warnings import (
    CalibrationWarning,
    OneCaseInClassWarning,
    OneClassWarning,
    ThresholdWarning,
)
from dsmt_nnunet.statistics.roc.folds import crossval_auc


def binary(score: np.ndarray) -> np.ndarray:
    return np.stack([1 - score, score], axis=1)


def test_perfect_folds_on_different_scales_pool_to_three_quarters() -> None:
    with pytest.warns(OneCaseInClassWarning):
        result = crossval_auc([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1])
    assert (result.mean, result.pooled) == (1.0, 0.75)


def test_a_null_model_under_leave_one_out_pools_to_0_and_has_no_fold_auc() -> None:
    """Each left-out case is given the prevalence of the others: lower for a positive case."""
    y_true = np.array([0, 1] * 10)
    scores = (y_true.sum() - y_true) / (len(y_true) - 1)
    with pytest.warns(OneClassWarning):
        result = crossval_auc(y_true, scores, np.arange(20))
    assert result.pooled == 0.0
    assert math.isnan(result.mean)
    assert result.n_folds == 0


def test_a_fold_with_one_class_is_left_out_of_the_mean() -> None:
    with pytest.warns(OneClassWarning, match="Fold 1"):
        result = crossval_auc([0, 1, 0, 1, 1, 1], [0.1, 0.9, 0.6, 0.4, 0.2, 0.3], [0, 0, 0, 0, 1, 1])
    assert (result.n_folds, result.mean) == (1, 0.75)
    assert math.isnan(result.folds[1].interval.auc)


def test_interval_of_the_mean_is_wider_than_that_of_these_models() -> None:
    rng = np.random.default_rng(0)
    y_true, folds = np.arange(200) % 2, np.repeat(np.arange(5), 40)
    result = crossval_auc(y_true, rng.normal(size=200) + y_true, folds)
    variance = sum(item.interval.se**2 for item in result.folds) / 25
    half = 1.959964 * math.sqrt(variance) / (result.mean * (1 - result.mean))
    odds = [math.log(value / (1 - value)) for value in (*result.ci_these_models, result.mean)]
    assert (odds[0], odds[1]) == pytest.approx((odds[2] - half, odds[2] + half), rel=1e-5)
    assert result.ci[0] < result.mean < result.ci[1]


def test_no_fold_is_judged_by_its_own_threshold() -> None:
    """Fold 1 would choose a threshold between 0.7 and 0.8 for itself; the other folds choose one of 0.3 to 0.4."""
    y_true = np.array([0, 1] * 20)
    folds = np.repeat([0, 1, 2, 3], 10)
    score = np.where(y_true == 1, 0.4, 0.3) + np.where(folds == 1, 0.4, 0.0)
    nested = nested_calibration(y_true, binary(score), folds)
    assert nested.called_positive[folds == 1].all()
    assert (nested.called_positive[folds == 0] == y_true[folds == 0]).all()
    own = choose_operating_point(y_true[folds == 1], binary(score[folds == 1]))
    choice = next(item for item in nested.choices if item.fold == 1)
    assert choice.threshold < 0.5 < own.threshold


def test_a_useless_score_is_reported_as_useless() -> None:
    """Chosen and judged on the same cases noise reaches J > 0; chosen on other folds it does not."""
    rng = np.random.default_rng(1)
    own, honest = [], []
    for _ in range(20):
        y_true, folds = rng.integers(0, 2, 60), np.repeat(np.arange(3), 20)
        probs = binary(rng.uniform(0.2, 0.8, 60))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)
            point = choose_operating_point(y_true, probs)
            nested = nested_calibration(y_true, probs, folds)
        called = apply_temperature(probs, point.temperature)[:, 1] >= point.threshold
        own.append(_youden(y_true, called))
        honest.append(_youden(y_true, nested.called_positive))
    assert np.mean(own) > 0.12
    assert abs(np.mean(honest)) < 0.08


def test_target_sensitivity_and_counts_are_kept() -> None:
    rng = np.random.default_rng(2)
    y_true = np.arange(100) % 2
    score = 1 / (1 + np.exp(-(rng.normal(size=100) + 2 * y_true - 1)))
    point = choose_operating_point(y_true, binary(score), target_sensitivity=0.95)
    assert point.method == "target_sensitivity"
    assert {name: point.details[name] for name in ("n", "n_positive", "target_sensitivity")} == {
        "n": 100,
        "n_positive": 50,
        "target_sensitivity": 0.95,
    }
    # 48 of 50 at or above it: Beta(48, 3).
    assert point.details["sensitivity_to_expect"] == pytest.approx(48 / 51)


def test_one_class_keeps_the_default_threshold() -> None:
    with pytest.warns(ThresholdWarning, match="stays 0.5"), pytest.warns(CalibrationWarning):
        point = choose_operating_point(np.zeros(20, int), binary(np.linspace(0.1, 0.9, 20)))
    assert (point.temperature, point.threshold) == (1.0, 0.5)


def test_one_fold_cannot_be_nested() -> None:
    with pytest.raises(ValueError, match="two folds"):
        nested_calibration(np.array([0, 1]), binary(np.array([0.2, 0.8])), np.zeros(2, int))


def _youden(y_true: np.ndarray, called: np.ndarray) -> float:
    return float(called[y_true == 1].mean() - called[y_true == 0].mean())
