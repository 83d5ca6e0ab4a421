from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from dsmt_nnunet.statistics.clusters.units import cluster_codes
from dsmt_nnunet.statistics.named_warnings import (
    OneCaseInClassWarning,
    ZeroVarianceDifferenceWarning,
    ZeroVarianceWarning,
)
from dsmt_nnunet.statistics.roc.clustered import (
    clustered_auc_interval,
    clustered_aucs,
    clustered_paired_comparison,
    clustered_unpaired_comparison,
)
from dsmt_nnunet.statistics.roc.comparison import paired_comparison, unpaired_comparison
from dsmt_nnunet.statistics.roc.delong import auc_score, structural_components
from dsmt_nnunet.statistics.roc.interval import delong_interval
from tests.unit.statistics.clustered_data import made_cases


def naive_covariance(y: np.ndarray, one: np.ndarray, other: np.ndarray, patients: np.ndarray) -> float:
    """Obuchowski 1997, equations 3 to 6, patient after patient and pair after pair."""

    def psi(x: float, z: float) -> float:
        return 1.0 if x > z else 0.5 if x == z else 0.0

    def components(score: np.ndarray) -> tuple[dict, dict, float]:
        positive, negative = np.flatnonzero(y), np.flatnonzero(~y)
        v10 = {i: sum(psi(score[i], score[j]) for j in negative) / len(negative) for i in positive}
        v01 = {j: sum(psi(score[i], score[j]) for i in positive) / len(positive) for j in negative}
        return v10, v01, sum(v10.values()) / len(positive)

    a10, a01, a = components(one)
    b10, b01, b = components(other)
    m, n, everyone = y.sum(), (~y).sum(), np.unique(patients)
    s10 = s01 = s11 = s11_turned = 0.0
    with_positive = with_negative = 0
    for patient in everyone:
        mine = np.flatnonzero(patients == patient)
        positive, negative = [i for i in mine if y[i]], [i for i in mine if not y[i]]
        with_positive += bool(positive)
        with_negative += bool(negative)
        x_a, x_b = (sum(v[i] - auc for i in positive) for v, auc in ((a10, a), (b10, b)))
        y_a, y_b = (sum(v[i] - auc for i in negative) for v, auc in ((a01, a), (b01, b)))
        s10 += x_a * x_b
        s01 += y_a * y_b
        s11 += x_a * y_b
        s11_turned += x_b * y_a
    everyone_factor = len(everyone) / (len(everyone) - 1)
    return (
        with_positive / ((with_positive - 1) * m) * s10 / m
        + with_negative / ((with_negative - 1) * n) * s01 / n
        + everyone_factor * (s11 + s11_turned) / (m * n)
    )


def test_covariance_of_alike_patients_is_obuchowskis_formula_written_out() -> None:
    y_true, patients = np.tile([True, False, False], 15), np.repeat(np.arange(15), 3)
    scores = made_cases(15, 3).scores + 0.7 * y_true
    found = clustered_aucs(y_true, structural_components(y_true, scores), patients)
    expected = [[naive_covariance(y_true, a, b, patients) for b in scores] for a in scores]
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-10)
    assert (found.n_positive, found.n_negative) == (15, 15)


def test_a_patient_with_most_nodules_does_not_hide_its_own_spread() -> None:
    """Against leaving out each patient in turn, of whom one has 30 of 78 nodules; Obuchowski's formula falls short."""
    ratios = []
    for seed in range(8):
        rng, patients = np.random.default_rng(seed), np.repeat(np.arange(16), [2] * 12 + [8] * 3 + [30])
        shared, own = rng.normal(size=(2, 16))[:, patients], rng.normal(size=(2, 78))
        mixed = (shared + own) / np.sqrt(2)
        y_true, score = mixed[0] > 0, mixed[1] + 0.8 * (mixed[0] > 0)
        values = np.array([auc_score(y_true[patients != k], score[patients != k]) for k in range(16)])
        left_out = 15 / 16 * ((values - values.mean()) ** 2).sum()
        found = clustered_auc_interval(y_true, score, patients).se ** 2
        ratios.append((found / left_out, naive_covariance(y_true, score, score, patients) / left_out))
    ours, obuchowski = np.mean(ratios, axis=0)
    assert ours == pytest.approx(1, abs=0.08)
    assert obuchowski < 0.9


def test_without_clusters_it_is_delong() -> None:
    data = made_cases(60, 1)
    components = structural_components(data.y_true, data.scores)
    found = clustered_aucs(data.y_true, components, cluster_codes(None, 60))
    np.testing.assert_allclose(found.covariance, components.covariance, rtol=1e-10)
    with_t = clustered_paired_comparison(data.y_true, *data.scores)
    normal = paired_comparison(data.y_true, *data.scores)
    assert with_t.z == pytest.approx(normal.z)
    assert with_t.p_value > normal.p_value


def test_asah_variance_from_proc(roc_vectors, columns) -> None:
    data, expected = columns("asah.csv"), roc_vectors["asah_auc"]["expected"]["s100b"]
    interval = clustered_auc_interval(data["y"], data["s100b"], np.arange(len(data["y"])))
    assert interval.se == pytest.approx(expected["se_delong"], abs=1e-10)
    lower, upper = expected["ci95_logit_transformed"]
    assert interval.lower == pytest.approx(lower, abs=0.005)
    assert interval.upper == pytest.approx(upper, abs=0.005)


def test_copies_of_a_case_add_nothing() -> None:
    data = made_cases(60, 1)
    once = clustered_auc_interval(data.y_true, data.scores[0])
    y_true, score = np.repeat(data.y_true, 5), np.repeat(data.scores[0], 5)
    copied = clustered_auc_interval(y_true, score, np.repeat(np.arange(60), 5))
    assert (copied.auc, copied.se) == pytest.approx((once.auc, once.se))
    assert (copied.lower, copied.upper) == pytest.approx((once.lower, once.upper))
    naive = delong_interval(y_true, score)
    assert copied.upper - copied.lower > 1.8 * (naive.upper - naive.lower)


def test_interval_and_p_agree() -> None:
    for seed in range(40):
        data = made_cases(20, 4, seed)
        found = clustered_paired_comparison(data.y_true, data.scores[0], data.scores[1] + 0.02 * seed, data.patients)
        assert (found.p_value < 0.05) == (not found.ci[0] <= 0 <= found.ci[1])


def test_sites_are_compared_by_welchs_t() -> None:
    first, second = made_cases(40, 1, 1), made_cases(40, 1, 2)
    parts = [
        (structural_components(item.y_true, item.scores[0]), cluster_codes(None, 40), item.y_true)
        for item in (first, second)
    ]
    found = clustered_unpaired_comparison(*(clustered_aucs(y, c, codes) for c, codes, y in parts))
    normal = unpaired_comparison(parts[0][0], parts[1][0])
    assert (found.difference, found.se) == pytest.approx((normal.difference, normal.se))
    assert (found.p_value < 0.05) == (not found.ci[0] <= 0 <= found.ci[1])


def test_perfect_separation_counts_patients() -> None:
    y_true, patients = np.repeat([0, 1], 40), np.repeat(np.arange(20), 4)
    with pytest.warns(ZeroVarianceWarning, match="clusters counted as cases"):
        interval = clustered_auc_interval(y_true, np.arange(80.0), patients)
    assert interval.lower == pytest.approx(0.800, abs=5e-4)


def test_a_class_in_one_patient_has_no_interval() -> None:
    with pytest.warns(OneCaseInClassWarning, match="single cluster"):
        interval = clustered_auc_interval([1, 1, 0, 0, 0], [3, 2, 1, 2, 0], ["a", "a", "b", "c", "d"])
    assert math.isnan(interval.lower)
    assert interval.auc == pytest.approx(5.5 / 6)


def test_equal_orders_are_p_1_and_unequal_without_variance_are_not_tested() -> None:
    data = made_cases()
    same = clustered_paired_comparison(data.y_true, data.scores[0], 2 * data.scores[0] + 1, data.patients)
    assert (same.difference, same.p_value) == (0, 1)
    y_true, perfect = np.repeat([0, 1], 10), np.arange(20.0)
    with pytest.warns(ZeroVarianceDifferenceWarning):
        assert math.isnan(clustered_paired_comparison(y_true, perfect, -perfect, np.arange(20)).p_value)


def test_one_class_is_undefined() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert math.isnan(clustered_auc_interval([1, 1, 1], [1, 2, 3], [1, 2, 3]).lower)
        assert math.isnan(clustered_paired_comparison([1, 1, 1], [1, 2, 3], [3, 2, 1], [1, 2, 3]).p_value)
