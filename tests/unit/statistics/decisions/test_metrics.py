from __future__ import annotations

import math

import numpy as np
import pytest

from dsmt_nnunet.statistics.decisions.metrics import (
    METRIC_NAMES,
    decision_metrics,
    f1_of_overlap,
    weighted_decision_metrics,
)
from dsmt_nnunet.statistics.named_warnings import NoPositiveDecisionWarning
from dsmt_nnunet.statistics.proportions import proportion


def test_every_binomial_interval_from_r(table_vectors) -> None:
    entries = table_vectors["binomial_ci"]["expected"]
    assert len(entries) >= 17
    for name, entry in entries.items():
        for level in (90, 95, 99):
            for method, key in (("wilson", "wilson"), ("clopper-pearson", "clopper_pearson")):
                result = proportion(entry["x"], entry["n"], method, level / 100)
                assert result.ci == pytest.approx(entry[f"{key}{level}"], abs=1e-9), (name, method, level)


@pytest.mark.parametrize(
    ("count", "total", "wilson", "exact"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0, 0.1611), (0.0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_intervals_printed_by_newcombe_1998(count, total, wilson, exact) -> None:
    """Statistics in Medicine 1998; 17: 857, table I."""
    assert proportion(count, total).ci == pytest.approx(wilson, abs=5.1e-5)
    assert proportion(count, total, "clopper-pearson").ci == pytest.approx(exact, abs=5.1e-5)


def test_limits_at_the_ends_are_exact_and_no_case_is_nan() -> None:
    assert proportion(0, 7).ci[0] == 0.0
    assert proportion(7, 7, "clopper-pearson").ci[1] == 1.0
    assert math.isnan(proportion(0, 0).value)
    with pytest.raises(ValueError, match="wald"):
        proportion(1, 2, "wald")
    with pytest.raises(ValueError, match="3 of 2"):
        proportion(3, 2)


def test_counts_and_values_by_hand() -> None:
    y_true = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    y_pred = [1, 1, 1, 0, 1, 0, 0, 0, 0, 0]
    result = decision_metrics(y_true, y_pred)
    assert (result.tp, result.fp, result.tn, result.fn) == (3, 1, 5, 1)
    values = [getattr(result, name).value for name in METRIC_NAMES]
    assert values == pytest.approx([3 / 4, 5 / 6, 3 / 4, 5 / 6, 3 / 4, 0.8])


def test_ppv_without_a_positive_decision_is_nan_not_0() -> None:
    with pytest.warns(NoPositiveDecisionWarning, match="called positive"):
        result = decision_metrics([1, 0, 0], [0, 0, 0])
    assert math.isnan(result.ppv.value)
    assert result.npv.value == pytest.approx(2 / 3)
    assert result.f1.value == 0.0
    with pytest.warns(NoPositiveDecisionWarning):
        assert math.isnan(decision_metrics([0, 0], [0, 0]).f1.value)


def test_f1_interval_covers_the_true_f1_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    probabilities = (0.3, 0.1, 0.45, 0.15)
    true_f1 = 2 * 0.3 / (2 * 0.3 + 0.1 + 0.15)
    inside = 0
    for tp, fp, _, fn in rng.multinomial(100, probabilities, size=600):
        lower, upper = f1_of_overlap(proportion(int(tp), int(tp + fp + fn))).ci
        inside += lower <= true_f1 <= upper
    assert 0.925 <= inside / 600 <= 0.975


def test_weighted_metrics_equal_repeated_cases() -> None:
    rng = np.random.default_rng(1)
    y_true, y_pred = rng.integers(0, 2, 30), rng.integers(0, 2, 30)
    weights = rng.integers(0, 4, size=(3, 30))
    samples = weighted_decision_metrics(y_true, y_pred, weights)
    for row in range(3):
        repeated = decision_metrics(np.repeat(y_true, weights[row]), np.repeat(y_pred, weights[row]))
        for name in METRIC_NAMES:
            assert samples[name][row] == pytest.approx(getattr(repeated, name).value), name
