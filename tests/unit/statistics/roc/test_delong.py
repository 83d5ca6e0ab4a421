from __future__ import annotations

import time
import warnings

import numpy as np
import pytest

from dsmt_nnunet.statistics.named_warnings import OneCaseInClassWarning, OneClassWarning
from dsmt_nnunet.statistics.roc.delong import auc_score, structural_components

# WFNS grades 1 to 5 of the aSAH data (Turck et al., Intensive Care Med 2010; in pROC), by outcome
WFNS_GOOD, WFNS_POOR = (37, 20, 3, 8, 4), (2, 12, 1, 8, 18)


def naive_auc(y_true: np.ndarray, scores: np.ndarray) -> float:
    """Half credit for ties, one pair after the other."""
    credit = [
        1.0 if positive > negative else 0.5 if positive == negative else 0.0
        for positive in scores[y_true]
        for negative in scores[~y_true]
    ]
    return sum(credit) / len(credit)


def naive_covariance(y_true: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """DeLong 1988 as printed: the full matrix of pairs, then sample covariances."""
    psi = [
        np.array([[1.0 if p > n else 0.5 if p == n else 0.0 for n in score[~y_true]] for p in score[y_true]])
        for score in scores
    ]
    rows = np.array([matrix.mean(axis=1) for matrix in psi])
    columns = np.array([matrix.mean(axis=0) for matrix in psi])
    return np.cov(rows) / rows.shape[1] + np.cov(columns) / columns.shape[1]


@pytest.fixture
def tied() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    y_true = np.arange(60) % 3 == 0
    return y_true, np.round(rng.normal(size=(3, 60)) + 0.8 * y_true, 1)


def test_auc_and_covariance_equal_the_naive_form_with_ties(tied: tuple[np.ndarray, np.ndarray]) -> None:
    y_true, scores = tied
    components = structural_components(y_true, scores)
    np.testing.assert_allclose(components.auc, [naive_auc(y_true, score) for score in scores], atol=1e-12)
    np.testing.assert_allclose(components.covariance, naive_covariance(y_true, scores), atol=1e-12)


def test_hanley_mcneil_1982_table() -> None:
    """Radiology 1982; 143: 29, table I: 58 normal and 51 abnormal CTs by rating 1 to 5; published area 0.893."""
    normal, abnormal = (33, 6, 6, 11, 2), (3, 2, 2, 11, 33)
    ratings = np.repeat(np.r_[1:6, 1:6], [*normal, *abnormal])
    y_true = np.repeat([False, True], [58, 51])
    components = structural_components(y_true, ratings)
    assert components.auc[0] == pytest.approx(0.893171061528059, abs=1e-12)
    assert np.sqrt(components.covariance[0, 0]) == pytest.approx(0.0307244083793811, abs=1e-10)


def test_ties_count_half() -> None:
    """pROC documents 0.8237 for wfns, interval 0.7485 to 0.8988; without ties it would be 0.747, with all 0.900."""
    grades = np.repeat(np.r_[1:6, 1:6], [*WFNS_GOOD, *WFNS_POOR])
    components = structural_components(np.repeat([0, 1], [72, 41]), grades)
    assert components.auc[0] == pytest.approx(0.823678861788618, abs=1e-12)
    assert components.covariance[0, 0] == pytest.approx(0.00146991470882363, abs=1e-12)


@pytest.mark.parametrize("name", ["wfns", "s100b", "ndka"])
def test_asah_values_from_proc(name, roc_vectors, columns) -> None:
    data, expected = columns("asah.csv"), roc_vectors["asah_auc"]["expected"][name]
    components = structural_components(data["y"], data[name])
    assert components.positive.shape[1] == expected["n_pos"]
    assert components.auc[0] == pytest.approx(expected["auc"], abs=1e-10)
    assert components.covariance[0, 0] == pytest.approx(expected["var_delong"], abs=1e-10)


def test_ovarian_covariance_from_proc(roc_vectors, columns) -> None:
    data, expected = columns("delong1988_ovarian.csv"), roc_vectors["delong1988_ovarian"]["expected"]
    components = structural_components(1 - data["popind"], np.stack([-data["alb"], data["totscore_raw"], -data["tp"]]))
    np.testing.assert_allclose(components.auc, [expected["auc"][key] for key in ("alb", "kg", "tp")], atol=1e-10)
    np.testing.assert_allclose(components.covariance, expected["cov_row_major"], atol=1e-10)


def test_direction_is_never_flipped(roc_vectors, columns) -> None:
    data, expected = columns("asah.csv"), roc_vectors["asah_direction"]["expected"]
    negated = structural_components(data["y"], -data["s100b"])
    assert negated.auc[0] == pytest.approx(expected["auc_negated_fixed_direction"], abs=1e-10)
    assert negated.covariance[0, 0] == pytest.approx(expected["var_negated"], abs=1e-10)
    assert auc_score(1 - data["y"], data["s100b"]) == pytest.approx(expected["auc_labels_swapped"], abs=1e-10)


def test_one_class_is_nan_with_a_named_warning() -> None:
    for label in (0, 1):
        with pytest.warns(OneClassWarning):
            assert np.isnan(auc_score([label] * 5, np.arange(5.0)))


def test_one_case_in_a_class_has_an_auc_but_no_variance() -> None:
    components = structural_components([1, 0, 0, 0], [0.5, 0.1, 0.9, 0.2])
    assert components.auc[0] == pytest.approx(2 / 3)
    with pytest.warns(OneCaseInClassWarning):
        assert np.isnan(components.covariance[0, 0])


def test_identical_scores_give_one_half_with_variance_exactly_zero() -> None:
    components = structural_components([0, 1] * 7, np.full(14, 0.3))
    assert components.auc[0] == 0.5
    assert components.covariance[0, 0] == 0.0


def test_nan_scores_name_their_rows() -> None:
    with pytest.raises(ValueError, match="rows 1, 3"):
        auc_score([0, 1, 0, 1], [0.1, np.nan, 0.2, np.inf])


def test_labels_other_than_0_and_1_are_refused() -> None:
    with pytest.raises(ValueError, match="0 or 1"):
        auc_score([1, 2, 1], [0.1, 0.2, 0.3])


def test_twenty_thousand_cases_take_less_than_a_second() -> None:
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 2, 20_000)
    scores = np.round(rng.normal(size=(2, 20_000)) + y_true, 3)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        covariance = structural_components(y_true, scores).covariance
    assert time.perf_counter() - start < 1.0
    assert covariance[0, 0] > 0
