from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, mean_absolute_error

from dsmt_nnunet.evaluation.class_comparisons import differences
from dsmt_nnunet.evaluation.class_readers import class_readers, readings
from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.ordinal.measures import Answers, ClassCases
from tests.unit.evaluation.cohort import nodule

SETTINGS = EvaluationSettings(n_resamples=200)
RNG = np.random.default_rng(0)
N = 90
TRUTH = RNG.integers(0, 3, N)
MODEL, READER = (np.clip(TRUTH + RNG.integers(-1, 2, N) * (RNG.random(N) < p), 0, 2) for p in (0.3, 0.8))
PATIENTS = [f"p{k // 2}" for k in range(N)]


def cases(is_ordinal: bool) -> ClassCases:
    return ClassCases.create(TRUTH, 3, is_ordinal, PATIENTS)


@pytest.mark.parametrize("is_ordinal", [True, False])
def test_each_measure_is_that_of_scikit_learn(is_ordinal: bool) -> None:
    found = {item.measure: item for item in differences(cases(is_ordinal), Answers(MODEL), Answers(READER), SETTINGS)}
    measures = {"accuracy": accuracy_score}
    if is_ordinal:
        measures["mean absolute error"] = mean_absolute_error
        measures["quadratic kappa"] = lambda a, b: cohen_kappa_score(a, b, weights="quadratic")
    else:
        measures["Cohen's kappa"] = cohen_kappa_score
    assert found.keys() == measures.keys()
    for name, measure in measures.items():
        item = found[name]
        assert item.values == pytest.approx((measure(TRUTH, MODEL), measure(TRUTH, READER)))
        assert item.difference == pytest.approx(item.values[0] - item.values[1])
        assert item.ci[0] < item.difference < item.ci[1]
        assert item.p_value < 0.05, "the reader is much worse"


def test_a_reader_is_judged_on_what_was_rated_alone() -> None:
    rated = np.where(np.arange(N) % 3 == 0, -1, READER)
    found = class_readers(cases(True), Answers(MODEL), "abc", {"r": rated, "absent": np.full(N, -1)}, SETTINGS)
    own = np.arange(N) % 3 != 0
    assert found["r"].n == own.sum()
    assert found["r"].model_minus_reader[0].values[0] == pytest.approx(float((TRUTH == MODEL)[own].mean()))
    assert np.sum(found["r"].confusion_matrix) == own.sum()
    assert (found["absent"].n, found["absent"].model_minus_reader) == (0, ())


def test_a_column_of_other_words_is_no_reading() -> None:
    nodules = [
        JoinedNodule("a", nodule("a", k, {}, extra={"r": text, "other": "benign", "empty": ""}), None)
        for k, text in enumerate(["a", "", "c"])
    ]
    found = readings(nodules, ("r", "other", "empty"), ("a", "b", "c"))
    assert {name: values.tolist() for name, values in found.items()} == {"r": [0, -1, 2]}


@given(
    seed=st.integers(0, 10_000),
    n_cases=st.integers(2, 25),
    per_patient=st.integers(1, 4),
    is_ordinal=st.booleans(),
    rare=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_interval_and_p_never_contradict_each_other(
    seed: int, n_cases: int, per_patient: int, is_ordinal: bool, rare: bool
) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n_cases) * (rng.random(n_cases) < (0.2 if rare else 1.0))
    first, second = (np.where(rng.random(n_cases) < p, truth, rng.integers(0, 3, n_cases)) for p in rng.random(2))
    patients = [f"p{k}" for k in rng.integers(0, max(n_cases // per_patient, 1), n_cases)]
    own = ClassCases.create(truth, 3, is_ordinal, patients)
    for item in differences(own, Answers(first), Answers(second), SETTINGS):
        if np.isnan([*item.ci, item.p_value]).any():
            continue
        excludes = not item.ci[0] <= 0 <= item.ci[1]
        assert excludes == (item.p_value < 0.05) or abs(item.p_value - 0.05) < 1e-6, item
