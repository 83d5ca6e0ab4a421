from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from sklearn.metrics import mean_absolute_error as sklearn_mean_absolute_error
from statsmodels.stats.inter_rater import cohens_kappa

from dsmt_nnunet.statistics.ordinal.measures import (
    C_INDEX,
    COHENS_KAPPA,
    MACRO_AUC,
    MEAN_ABSOLUTE_ERROR,
    QUADRATIC_KAPPA,
    Answers,
    ClassCases,
    class_indices,
)
from dsmt_nnunet.statistics.ordinal.weighted import c_index, mean_absolute_error, quadratic_kappa


def naive_c_index(grades: np.ndarray, score: np.ndarray) -> float:
    credit, pairs = 0.0, 0
    for i in range(len(grades)):
        for j in range(len(grades)):
            if grades[i] > grades[j]:
                pairs += 1
                credit += 1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0
    return credit / pairs


def graded() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 90)
    score = np.round(truth + rng.normal(0, 1.2, 90), 1)
    return truth, np.clip(np.round(score), 0, 3).astype(int), score


def answers() -> Answers:
    _, decided, score = graded()
    return Answers(decided, np.column_stack([0 * score, -score, score, 0 * score]))


def test_weights_are_copies_of_cases() -> None:
    truth, grades, score = graded()
    weights = np.random.default_rng(1).integers(0, 3, size=(3, 90))
    for row in weights:
        t, g, s = (np.repeat(item, row) for item in graded())
        assert quadratic_kappa(truth, grades, 4, row[None])[0] == pytest.approx(
            cohen_kappa_score(t, g, weights="quadratic")
        )
        assert c_index(truth, score, row[None])[0] == pytest.approx(naive_c_index(t, s))
        assert mean_absolute_error(truth, grades, row[None])[0] == pytest.approx(np.abs(t - g).mean())


def test_measures_equal_sklearn_and_the_naive_form() -> None:
    truth, grades, score = graded()
    cases = ClassCases.create(truth, 4, True)
    assert QUADRATIC_KAPPA.value(cases, answers()) == pytest.approx(
        cohen_kappa_score(truth, grades, weights="quadratic")
    )
    assert C_INDEX.value(cases, answers()) == pytest.approx(naive_c_index(truth, score))
    assert MEAN_ABSOLUTE_ERROR.value(cases, answers()) == pytest.approx(sklearn_mean_absolute_error(truth, grades))
    probs = np.random.default_rng(2).dirichlet(np.ones(4), 90)
    nominal, said = ClassCases.create(truth, 4, False), Answers(grades, probs)
    assert COHENS_KAPPA.value(nominal, said) == pytest.approx(cohen_kappa_score(truth, grades))
    each = roc_auc_score(truth, probs, multi_class="ovr", average="macro")
    assert MACRO_AUC.value(nominal, said) == pytest.approx(each)


def test_the_interval_of_kappa_is_near_the_one_of_fleiss_cohen_and_everitt() -> None:
    """Their example: kappa 0.429, standard error 0.0537 for non-null values (Psychological Bulletin 1969; 72: 323)."""
    counts = np.array([[106, 10, 4], [22, 28, 10], [2, 12, 6]])
    first, second = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices((3, 3)))
    found = COHENS_KAPPA.estimate(ClassCases.create(first, 3, False), Answers(second))
    assert found.estimate == pytest.approx(0.429, abs=5e-4)
    assert found.se == pytest.approx(0.0537, rel=0.02)
    assert found.se == pytest.approx(cohens_kappa(counts).std_kappa, rel=0.02)


@pytest.mark.parametrize("measure", [QUADRATIC_KAPPA, C_INDEX, MEAN_ABSOLUTE_ERROR])
def test_copied_cases_of_a_patient_do_not_narrow_the_intervals(measure) -> None:
    once = measure.estimate(ClassCases.create(graded()[0], 4, True), answers())
    several = ClassCases.create(np.repeat(graded()[0], 4), 4, True, np.repeat(np.arange(90), 4))
    copied = measure.estimate(several, answers().of(np.repeat(np.arange(90), 4)))
    assert copied.ci == pytest.approx(once.ci)


def test_a_class_that_does_not_exist_names_its_row() -> None:
    with pytest.raises(ValueError, match=r"0 to 2, got .*3.* row 1"):
        class_indices([0, 3, 1], 3)


def test_one_grade_alone_has_no_kappa() -> None:
    assert np.isnan(quadratic_kappa(np.zeros(5, int), np.zeros(5, int), 3, np.ones((1, 5), int))[0])
