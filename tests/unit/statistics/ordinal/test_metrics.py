from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from sklearn.metrics import mean_absolute_error as sklearn_mean_absolute_error

from dsmt_nnunet.statistics.ordinal.metrics import GradedPrediction, ordinal_comparison, ordinal_metrics
from dsmt_nnunet.statistics.ordinal.weighted import c_index, mean_absolute_error, quadratic_kappa


def naive_c_index(grades: np.ndarray, score: np.ndarray) -> float:
    credit, pairs = 0.0, 0
    for i in range(len(grades)):
        for j in range(len(grades)):
            if grades[i] > grades[j]:
                pairs += 1
                credit += 1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0
    return credit / pairs


@pytest.fixture
def graded() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 90)
    score = np.round(truth + rng.normal(0, 1.2, 90), 1)
    return truth, np.clip(np.round(score), 0, 3).astype(int), score


def test_measures_equal_sklearn_and_the_naive_form(graded) -> None:
    truth, grades, score = graded
    found = ordinal_metrics(truth, GradedPrediction(grades, score), 4, n_resamples=100)
    assert found.quadratic_kappa.estimate == pytest.approx(cohen_kappa_score(truth, grades, weights="quadratic"))
    assert found.c_index.estimate == pytest.approx(naive_c_index(truth, score))
    assert found.mean_absolute_error.estimate == pytest.approx(sklearn_mean_absolute_error(truth, grades))
    assert [item.cut for item in found.cuts] == [1, 2, 3]
    for item in found.cuts:
        assert item.interval.auc == pytest.approx(roc_auc_score(truth >= item.cut, score))
        assert item.n_at_or_above == (truth >= item.cut).sum()
        assert item.interval.method == "obuchowski-logit"


def test_weights_are_copies_of_cases(graded) -> None:
    truth, grades, score = graded
    weights = np.random.default_rng(1).integers(0, 3, size=(3, 90))
    for row in weights:
        t, g, s = (np.repeat(item, row) for item in graded)
        assert quadratic_kappa(truth, grades, 4, row[None])[0] == pytest.approx(
            cohen_kappa_score(t, g, weights="quadratic")
        )
        assert c_index(truth, score, row[None])[0] == pytest.approx(naive_c_index(t, s))
        assert mean_absolute_error(truth, grades, row[None])[0] == pytest.approx(np.abs(t - g).mean())


def test_equal_accuracy_and_unequal_kappa_are_told_apart() -> None:
    """Errors to the next grade against errors to the farthest one, as many of them."""
    truth = np.repeat(np.arange(3), 40)
    wrong = np.arange(120) % 4 == 0
    near = np.where(wrong, np.where(truth == 2, 1, truth + 1), truth)
    far = np.where(wrong, np.where(truth == 0, 2, 0), truth)
    assert (near == truth).mean() == (far == truth).mean()
    found = ordinal_comparison(truth, GradedPrediction(near, near), GradedPrediction(far, far), 3, n_resamples=500)
    assert found.quadratic_kappa.estimate > 0.3
    assert found.quadratic_kappa.p_value < 0.05
    assert found.mean_absolute_error.estimate < 0


def test_copied_cases_of_a_patient_do_not_narrow_the_intervals(graded) -> None:
    patients = np.repeat(np.arange(90), 4)
    once = ordinal_metrics(graded[0], GradedPrediction(*graded[1:]), 4, n_resamples=1000)
    truth, grades, score = (np.repeat(item, 4) for item in graded)
    copied = ordinal_metrics(truth, GradedPrediction(grades, score), 4, patients, n_resamples=1000)
    for name in ("quadratic_kappa", "c_index", "mean_absolute_error"):
        assert np.ptp(getattr(copied, name).ci) == pytest.approx(np.ptp(getattr(once, name).ci), rel=0.15)


def test_a_grade_that_does_not_exist_names_its_row() -> None:
    with pytest.raises(ValueError, match=r"0 to 2, got .*3.* row 1"):
        ordinal_metrics([0, 3, 1], GradedPrediction([0, 1, 1], [0, 1, 1]), 3)
    with pytest.raises(ValueError, match="one predicted grade a case, 3"):
        ordinal_metrics([0, 2, 1], GradedPrediction([0, 1], [0, 1, 1]), 3)


def test_one_grade_alone_has_no_kappa() -> None:
    assert np.isnan(quadratic_kappa(np.zeros(5, int), np.zeros(5, int), 3, np.ones((1, 5), int))[0])
