from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dsmt_nnunet.statistics.roc.by_patient import auc_interval
from dsmt_nnunet.statistics.roc.partial import partial_auc, partial_fold_auc


def drawn(seed: int = 0, n_cases: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n_cases) % 3 == 0
    return labels, np.round(rng.normal(size=n_cases) + 1.2 * labels, 1)


def test_area_of_proc(columns) -> None:
    """pROC prints 0.0107 for ndka of aSAH at specificities of 0.9 to 1."""
    data = columns("asah.csv")
    assert partial_auc(data["y"], data["ndka"], 0.9).area == pytest.approx(0.0107, abs=5e-5)


@pytest.mark.parametrize("min_specificity", [0.5, 0.8, 0.97])
def test_standardised_is_sklearns(min_specificity: float) -> None:
    labels, scores = drawn()
    found = partial_auc(labels, scores, min_specificity)
    assert found.standardised == pytest.approx(roc_auc_score(labels, scores, max_fpr=1 - min_specificity))
    assert found.standardised_ci[0] < found.standardised < found.standardised_ci[1]


def test_the_whole_curve_is_the_auc_with_nearly_its_standard_error() -> None:
    labels, scores = drawn()
    patients = np.arange(len(labels)) // 3
    whole, auc = partial_auc(labels, scores, 0.0, patients), auc_interval(labels, scores, patients)
    assert whole.area == pytest.approx(auc.auc)
    assert whole.se == pytest.approx(auc.se, rel=0.05)


def test_copied_cases_of_a_patient_do_not_narrow_the_interval() -> None:
    labels, scores = drawn()
    patients = np.repeat(np.arange(len(labels)), 3)
    once, copied = (
        partial_auc(labels, scores, 0.8),
        partial_auc(np.repeat(labels, 3), np.repeat(scores, 3), 0.8, patients),
    )
    assert copied.mean_sensitivity_ci == pytest.approx(once.mean_sensitivity_ci)


def test_folds_are_not_put_in_one_order() -> None:
    labels, scores = drawn()
    folds = np.arange(len(labels)) % 4
    found = partial_fold_auc(labels, scores, folds, 0.8)
    shifted = partial_fold_auc(labels, scores + 10 * folds, folds, 0.8)
    assert shifted.mean_sensitivity_ci == found.mean_sensitivity_ci
    assert found.mean_sensitivity_ci[0] < found.mean_sensitivity < found.mean_sensitivity_ci[1]


def test_a_specificity_of_1_is_refused() -> None:
    with pytest.raises(ValueError, match="1 excluded"):
        partial_auc(*drawn(), 1.0)
