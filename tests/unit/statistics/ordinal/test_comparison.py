from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_ind

from dsmt_nnunet.statistics.ordinal.comparison import level_gap, measure_interaction, paired_gap
from dsmt_nnunet.statistics.ordinal.measures import (
    ACCURACY,
    C_INDEX,
    MACRO_AUC,
    MEAN_ABSOLUTE_ERROR,
    QUADRATIC_KAPPA,
    Answers,
    ClassCases,
)
from dsmt_nnunet.statistics.resampled_t import corrected_resampled_t
from dsmt_nnunet.statistics.roc.by_patient import level_difference, paired_auc_difference
from dsmt_nnunet.statistics.roc.interaction import auc_interaction

RNG = np.random.default_rng(0)
N = 120
TRUTH = RNG.integers(0, 3, N)
FIRST, SECOND = (np.clip(TRUTH + RNG.integers(-1, 2, N) * (RNG.random(N) < p), 0, 2) for p in (0.3, 0.8))
CASES = ClassCases.create(TRUTH, 3, True)


def test_differences_of_means_are_those_of_students_t() -> None:
    """Of single cases the jackknife of a mean is the t test (Efron and Tibshirani 1993, section 11.2)."""
    errors = [np.abs(item - TRUTH) for item in (FIRST, SECOND)]
    found = paired_gap(MEAN_ABSOLUTE_ERROR, CASES, Answers(FIRST), Answers(SECOND))
    expected = ttest_1samp(errors[0] - errors[1], 0)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6)
    assert found.ci == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-6)
    odd = np.arange(N) % 3 == 0
    found = level_gap(MEAN_ABSOLUTE_ERROR, CASES, Answers(FIRST), (odd, ~odd))
    expected = ttest_ind(errors[0][odd], errors[0][~odd], equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.01)


def test_two_classes_give_the_tests_of_an_auc() -> None:
    """Of two classes the macro AUC is the AUC, and the jackknife is DeLong's variance but for terms of 1 / n^2."""
    truth = TRUTH > 0
    scores = [1 / (1 + np.exp(-(truth + RNG.normal(0, spread, N)))) for spread in (1.0, 1.5)]
    cases = ClassCases.create(truth.astype(int), 2, False)
    pair = [Answers((item > 0.5).astype(int), np.column_stack([1 - item, item])) for item in scores]
    found, expected = paired_gap(MACRO_AUC, cases, *pair), paired_auc_difference(truth, *scores)
    assert found.difference == pytest.approx(expected.difference)
    assert found.p_value == pytest.approx(expected.p_value, rel=0.1)
    odd = np.arange(N) % 2 == 1
    apart = level_gap(MACRO_AUC, cases, pair[0], (odd, ~odd))
    assert apart.p_value == pytest.approx(level_difference(truth, scores[0], (odd, ~odd)).p_value, rel=0.1)
    levels = [np.arange(N) % 3 == index for index in range(3)]
    alike, auc = measure_interaction(MACRO_AUC, cases, pair, levels), auc_interaction(truth, np.stack(scores), levels)
    assert alike.estimates == pytest.approx(auc.estimates)
    assert alike.p_value == pytest.approx(auc.p_value, abs=0.05)


def test_equal_accuracy_and_unequal_kappa_are_told_apart() -> None:
    """Errors to the next grade against errors to the farthest one, as many of them."""
    truth = np.repeat(np.arange(3), 40)
    wrong = np.arange(120) % 4 == 0
    near = Answers(np.where(wrong, np.where(truth == 2, 1, truth + 1), truth))
    far = Answers(np.where(wrong, np.where(truth == 0, 2, 0), truth))
    cases = ClassCases.create(truth, 3, True)
    assert paired_gap(ACCURACY, cases, near, far).difference == 0
    kappa = paired_gap(QUADRATIC_KAPPA, cases, near, far)
    assert kappa.difference > 0.3
    assert kappa.p_value < 0.05
    assert paired_gap(MEAN_ABSOLUTE_ERROR, cases, near, far).difference < 0


def test_models_of_a_cross_validation_are_compared_within_folds() -> None:
    folds = np.arange(N) % 5
    cases = ClassCases.create(TRUTH, 3, True, folds=folds)
    shift = folds * 3.0  # of scores that differ between the folds' models: no one order holds them
    pair = [Answers(item, np.column_stack([0 * shift, -(item + shift), item + shift])) for item in (FIRST, SECOND)]
    found = paired_gap(C_INDEX, cases, *pair)
    inside = [ClassCases.create(TRUTH[folds == k], 3, True) for k in range(5)]
    values = [[C_INDEX.value(inside[k], item.of(folds == k)) for k in range(5)] for item in pair]
    assert found.values == pytest.approx(tuple(np.mean(values, axis=1)))
    expected = corrected_resampled_t(np.subtract(*values), 0.25)
    assert (found.p_value, found.ci) == (pytest.approx(expected.p_value), pytest.approx(expected.ci))


@given(seed=st.integers(0, 10_000), n_cases=st.integers(2, 30), mode=st.sampled_from(["alone", "patients", "folds"]))
@settings(max_examples=40, deadline=None)
def test_interval_and_p_never_contradict_each_other(seed: int, n_cases: int, mode: str) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n_cases)
    patients = rng.integers(0, max(n_cases // 3, 1), n_cases) if mode == "patients" else None
    folds = np.arange(n_cases) % 3 if mode == "folds" else None
    pair = [Answers(rng.integers(0, 3, n_cases), np.round(rng.dirichlet(np.ones(3), n_cases), 1)) for _ in range(2)]
    odd = rng.random(n_cases) < 0.5
    for is_ordinal in (True, False):
        cases = ClassCases.create(truth, 3, is_ordinal, patients, folds)
        for measure in cases.measures:
            for found in (paired_gap(measure, cases, *pair), level_gap(measure, cases, pair[0], (odd, ~odd))):
                if not np.isnan([*found.ci, found.p_value]).any():
                    excludes = not found.ci[0] <= 0 <= found.ci[1]
                    assert excludes == (found.p_value < 0.05) or abs(found.p_value - 0.05) < 1e-9, found
