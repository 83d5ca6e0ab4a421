from __future__ import annotations

import math

import numpy as np
import pytest

from dsmt_nnunet.statistics.named_warnings import OneCaseInClassWarning, OneClassWarning, ZeroVarianceWarning
from dsmt_nnunet.statistics.roc.interval import delong_interval, newcombe_limits


def check_entry(y_true: np.ndarray, score: np.ndarray, expected: dict) -> None:
    for level in (90, 95, 99):
        clipped = delong_interval(y_true, score, level / 100, "clipped")
        assert (clipped.lower, clipped.upper) == pytest.approx(expected[f"ci{level}_pROC_clipped"], abs=1e-9)
        logit = delong_interval(y_true, score, level / 100)
        assert (logit.lower, logit.upper) == pytest.approx(expected[f"ci{level}_logit_transformed"], abs=1e-9)
        assert (clipped.method, logit.method) == ("delong-wald-clipped", "delong-logit")


@pytest.mark.parametrize("name", ["wfns", "s100b", "ndka"])
def test_asah_intervals_from_proc(name, roc_vectors, columns) -> None:
    data = columns("asah.csv")
    check_entry(data["y"], data[name], roc_vectors["asah_auc"]["expected"][name])


def test_hanley_mcneil_intervals_from_proc(roc_vectors, columns) -> None:
    data = columns("hanley_mcneil_1982_ct.csv")
    check_entry(data["y"], data["rating"], roc_vectors["hanley_mcneil_1982_ct"]["expected"])


def test_ovarian_intervals_from_proc(roc_vectors, columns) -> None:
    data, expected = columns("delong1988_ovarian.csv"), roc_vectors["delong1988_ovarian"]["expected"]
    scores = {"alb": -data["alb"], "kg": data["totscore_raw"], "tp": -data["tp"]}
    for name, score in scores.items():
        interval = delong_interval(1 - data["popind"], score, scale="clipped")
        assert (interval.lower, interval.upper) == pytest.approx(expected["ci95"][name], abs=1e-9)
        assert interval.se == pytest.approx(expected["se"][name], abs=1e-9)


def test_a_wald_interval_past_1_is_clipped() -> None:
    cases = [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.8, 0.9]
    interval = delong_interval(*cases, scale="clipped")
    assert interval.auc + 1.96 * interval.se > 1
    assert interval.upper == 1.0
    assert interval.auc < delong_interval(*cases).upper < 1


def test_perfect_separation_gets_newcombes_interval_and_says_so() -> None:
    """Newcombe's method 5 at AUC 1 with 10 + 10 cases: lower limit 0.800."""
    with pytest.warns(ZeroVarianceWarning, match="Newcombe"):
        interval = delong_interval([0] * 10 + [1] * 10, np.arange(20.0))
    assert (interval.auc, interval.se, interval.method) == (1.0, 0.0, "newcombe-method-5")
    assert interval.lower == pytest.approx(0.800, abs=5e-4)
    assert interval.upper == 1.0


def test_perfect_inversion_is_reported_as_0() -> None:
    with pytest.warns(ZeroVarianceWarning):
        interval = delong_interval([1] * 10 + [0] * 10, np.arange(20.0))
    assert (interval.auc, interval.lower) == (0.0, 0.0)
    assert interval.upper == pytest.approx(0.200, abs=5e-4)


def test_identical_scores_are_one_half_with_a_wide_interval() -> None:
    with pytest.warns(ZeroVarianceWarning, match="constant"):
        interval = delong_interval([0] * 10 + [1] * 10, np.ones(20))
    assert interval.auc == 0.5
    assert interval.lower < 0.3
    assert interval.upper == pytest.approx(1 - interval.lower, abs=1e-6)


def test_newcombe_limits_solve_their_equation() -> None:
    lower, upper = newcombe_limits(0.7, 12, 30)
    for theta in (lower, upper):
        variance = theta * (1 - theta) / (12 * 30)
        variance *= 1 + 20 * (1 - theta) / (2 - theta) + 20 * theta / (1 + theta)
        assert abs(0.7 - theta) == pytest.approx(1.959964 * math.sqrt(variance), abs=1e-6)


def test_undefined_cases_are_nan_with_named_warnings() -> None:
    with pytest.warns(OneClassWarning):
        assert math.isnan(delong_interval([1, 1], [0.1, 0.2]).auc)
    with pytest.warns(OneCaseInClassWarning):
        interval = delong_interval([1, 0, 0], [0.3, 0.1, 0.2])
    assert interval.auc == 1.0
    assert math.isnan(interval.lower)
    assert interval.method == "undefined"
