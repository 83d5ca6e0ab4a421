from __future__ import annotations

import math

import numpy as np
import pytest

from dsmt_nnunet.statistics.named_warnings import OneClassWarning, ZeroVarianceDifferenceWarning
from dsmt_nnunet.statistics.roc.comparison import (
    AucComparison,
    joint_comparison,
    paired_comparison,
    unpaired_comparison,
)
from dsmt_nnunet.statistics.roc.delong import structural_components


def check_paired(result: AucComparison, expected: dict) -> None:
    assert result.difference == pytest.approx(expected["diff"], abs=1e-9)
    assert result.se == pytest.approx(expected["se_diff"], abs=1e-9)
    assert result.z == pytest.approx(expected["z"], abs=1e-8)
    assert result.p_value == pytest.approx(expected["p_two_sided"], rel=1e-8)
    assert result.ci == pytest.approx(expected["ci95_diff"], abs=1e-9)


@pytest.mark.parametrize("pair", ["wfns_vs_s100b", "wfns_vs_ndka", "s100b_vs_ndka", "ndka_vs_s100b"])
def test_paired_tests_from_proc(pair, roc_vectors, columns) -> None:
    data = columns("asah.csv")
    first, second = pair.split("_vs_")
    expected = roc_vectors["asah_paired_delong"]["expected"][pair]
    check_paired(paired_comparison(data["y"], data[first], data[second]), expected)


def test_one_flipped_score_is_not_flipped_back(roc_vectors, columns) -> None:
    data = columns("asah.csv")
    result = paired_comparison(data["y"], data["s100b"], -data["ndka"])
    check_paired(result, roc_vectors["asah_direction"]["expected"]["paired_test_s100b_vs_minus_ndka"])
    assert result.auc_second < 0.5


def test_ovarian_pairs_and_joint_test_from_proc(roc_vectors, columns) -> None:
    data, expected = columns("delong1988_ovarian.csv"), roc_vectors["delong1988_ovarian"]["expected"]
    y_true, alb, kg, tp = 1 - data["popind"], -data["alb"], data["totscore_raw"], -data["tp"]
    check_paired(paired_comparison(y_true, alb, kg), expected["alb_vs_kg"])
    check_paired(paired_comparison(y_true, tp, kg), expected["tp_vs_kg"])
    joint = joint_comparison(y_true, np.stack([alb, kg, tp]))
    assert joint.chi2 == pytest.approx(expected["joint_chisq"], abs=1e-8)
    assert joint.df == expected["joint_df"]
    assert joint.p_value == pytest.approx(expected["joint_p"], abs=1e-8)


@pytest.mark.parametrize("name", ["wfns", "s100b", "ndka"])
def test_two_cohorts_from_proc(name, roc_vectors, columns) -> None:
    data, expected = columns("asah.csv"), roc_vectors["asah_unpaired_by_gender"]["expected"][name]
    parts = [
        structural_components(data["y"][data["gender"] == gender], data[name][data["gender"] == gender])
        for gender in ("Male", "Female")
    ]
    result = unpaired_comparison(*parts)
    assert result.difference == pytest.approx(expected["diff"], abs=1e-9)
    assert result.se == pytest.approx(expected["se_diff"], abs=1e-9)
    assert result.z == pytest.approx(expected["D"], abs=1e-8)
    assert result.df == pytest.approx(expected["df_welch"], rel=1e-8)
    assert result.p_value == pytest.approx(expected["p_two_sided_t"], abs=1e-9)
    assert result.p_value_normal == pytest.approx(expected["p_two_sided_normal"], abs=1e-9)


def test_covariance_and_sample_variance_matter() -> None:
    """Ovarian-like pair: the z of the test uses var1 + var2 - 2 cov with n - 1 in the denominators."""
    rng = np.random.default_rng(5)
    y_true = np.arange(40) % 2 == 0
    first = rng.normal(size=40) + y_true
    second = first + rng.normal(scale=0.3, size=40)
    covariance = structural_components(y_true, np.stack([first, second])).covariance
    expected = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    result = paired_comparison(y_true, first, second)
    assert result.se == pytest.approx(expected, abs=1e-12)
    assert result.se < math.sqrt(covariance[0, 0] + covariance[1, 1]) / 2


def test_equal_curves_have_z_0_and_p_1() -> None:
    y_true, score = [0, 1, 0, 1, 1, 0], np.array([0.2, 0.9, 0.4, 0.3, 0.7, 0.1])
    result = paired_comparison(y_true, score, 3 * score + 1)
    assert (result.difference, result.z, result.p_value) == (0.0, 0.0, 1.0)


def test_unequal_curves_with_variance_0_are_not_tested() -> None:
    y_true = [0] * 6 + [1] * 6
    with pytest.warns(ZeroVarianceDifferenceWarning):
        result = paired_comparison(y_true, np.arange(12.0), np.zeros(12))
    assert result.difference == 0.5
    assert math.isnan(result.p_value)
    assert math.isnan(result.ci[0])


def test_one_class_has_no_comparison() -> None:
    with pytest.warns(OneClassWarning):
        assert math.isnan(paired_comparison([1, 1, 1], [1, 2, 3], [3, 2, 1]).p_value)


def test_joint_test_of_two_scores_is_the_paired_one_squared_and_drops_copies() -> None:
    rng = np.random.default_rng(8)
    y_true = np.arange(50) % 2 == 0
    first, second = rng.normal(size=(2, 50)) + y_true
    z = paired_comparison(y_true, first, second).z
    joint = joint_comparison(y_true, np.stack([first, second, 2 * second]))
    assert joint.df == 1
    assert joint.chi2 == pytest.approx(z**2, rel=1e-9)
