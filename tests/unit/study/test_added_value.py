from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import chi2
from sklearn.metrics import roc_auc_score

from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.study.added_value import beside_diameter, weights_beside_diameter
from dsmt_nnunet.study.floors import Key, MeasuredNodule, Split

NUMBER, FOLDS = 400, 4


@pytest.fixture
def nodules() -> list[MeasuredNodule]:
    """Larger nodules are more often positive."""
    rng = np.random.default_rng(0)
    diameters = rng.uniform(8, 22, NUMBER)
    labels = rng.random(NUMBER) < 1 / (1 + np.exp(-5 * np.log(diameters / 14)))
    return [
        MeasuredNodule(Nodule(f"c{i}", "1", f"p{i}", (0.0, 0.0, 0.0), d), int(y), Path(), Path())
        for i, (d, y) in enumerate(zip(diameters, labels, strict=True))
    ]


@pytest.fixture
def scores(nodules: list[MeasuredNodule]) -> dict[Key, float]:
    """Know something that the diameter does not tell."""
    rng = np.random.default_rng(1)
    return {item.key: float(1 / (1 + np.exp(-(item.label + rng.normal(0, 1.5))))) for item in nodules}


def splits(nodules: list[MeasuredNodule]) -> list[Split]:
    cases = [item.nodule.case_id for item in nodules]
    folds = [frozenset(cases[fold::FOLDS]) for fold in range(FOLDS)]
    return [Split(frozenset(cases) - fold, fold) for fold in folds]


def auc(nodules: list[MeasuredNodule], values: dict[Key, float]) -> float:
    return float(roc_auc_score([item.label for item in nodules], [values[item.key] for item in nodules]))


def test_score_and_diameter_together_tell_more_than_either(
    nodules: list[MeasuredNodule], scores: dict[Key, float]
) -> None:
    together = beside_diameter(scores, nodules, splits(nodules))
    alone = {item.key: item.nodule.diameter_mm for item in nodules}
    assert auc(nodules, together) > max(auc(nodules, scores), auc(nodules, alone)) + 0.02


def test_it_is_a_logistic_regression_of_the_other_folds(
    nodules: list[MeasuredNodule], scores: dict[Key, float]
) -> None:
    split = splits(nodules)[0]
    inside = np.array([item.nodule.case_id in split.unseen for item in nodules])
    p = np.array([scores[item.key] for item in nodules])
    features = np.column_stack([np.log(p / (1 - p)), np.log([item.nodule.diameter_mm for item in nodules])])
    labels = np.array([item.label for item in nodules])
    fitted = sm.Logit(labels[~inside], sm.add_constant(features[~inside])).fit(disp=False)
    expected = fitted.predict(sm.add_constant(features[inside]))
    found = beside_diameter(scores, nodules, splits(nodules))
    own = [found[item.key] for item, is_in in zip(nodules, inside, strict=True) if is_in]
    # The library's has a weak penalty.
    np.testing.assert_allclose(own, expected, atol=0.02)


def test_no_fold_is_judged_by_its_own_labels(nodules: list[MeasuredNodule], scores: dict[Key, float]) -> None:
    split = splits(nodules)[0]
    before = beside_diameter(scores, nodules, splits(nodules))
    turned = [replace(item, label=1 - item.label) if item.nodule.case_id in split.unseen else item for item in nodules]
    after = beside_diameter(scores, turned, splits(nodules))
    for item in nodules:
        assert (before[item.key] == after[item.key]) is (item.nodule.case_id in split.unseen)


def test_where_it_cannot_be_said_nothing_is(nodules: list[MeasuredNodule], scores: dict[Key, float]) -> None:
    folds = splits(nodules)
    assert beside_diameter(scores, nodules, folds[:1]) == {}
    unknown = [replace(nodules[0], nodule=replace(nodules[0].nodule, diameter_mm=math.nan)), *nodules[1:]]
    assert beside_diameter(scores, unknown, folds) == {}
    one_class = [replace(item, label=int(item.nodule.case_id in folds[0].unseen)) for item in nodules]
    assert beside_diameter(scores, one_class, folds) == {}


def test_the_weights_tell_a_score_that_knows_something_from_one_that_is_corrected(
    nodules: list[MeasuredNodule], scores: dict[Key, float]
) -> None:
    knows = weights_beside_diameter(scores, nodules, independent=True)
    p = np.array([scores[item.key] for item in nodules])
    features = np.column_stack([np.log(p / (1 - p)), np.log([item.nodule.diameter_mm for item in nodules])])
    fit = sm.Logit([item.label for item in nodules], sm.add_constant((features - features.mean(0)) / features.std(0)))
    expected = fit.fit(disp=False)
    assert [float(knows[name]) for name in ("score_weight", "diameter_weight")] == pytest.approx(
        expected.params[1:], abs=1e-3
    )
    alone = sm.Logit([item.label for item in nodules], sm.add_constant(features[:, 1:])).fit(disp=False)
    assert knows["test"] == "likelihood ratio"
    assert float(knows["score_p"]) == pytest.approx(chi2.sf(2 * (expected.llf - alone.llf), 1), abs=1e-4)
    # The size, falsified by what speaks against the label.
    rng = np.random.default_rng(2)
    odds = {item.key: item.nodule.diameter_mm - 14 - 3 * (item.label - 0.5) + rng.normal(0, 2) for item in nodules}
    wrong = {key: 1 / (1 + math.exp(-value)) for key, value in odds.items()}
    assert float(weights_beside_diameter(wrong, nodules, True)["score_weight"]) < 0


def test_folds_of_one_cohort_give_a_weight_but_no_p_value(
    nodules: list[MeasuredNodule], scores: dict[Key, float]
) -> None:
    found = weights_beside_diameter(scores, nodules, independent=False)
    assert (found["score_p"], float(found["score_weight"]) > 0) == ("", True)
    assert found["test"].startswith("none: folds share their training cases")
    several = [replace(item, nodule=replace(item.nodule, patient_id=f"p{i // 2}")) for i, item in enumerate(nodules)]
    assert weights_beside_diameter(scores, several, independent=True)["test"] == "sandwich over patients, t"
    unknown = [replace(nodules[0], nodule=replace(nodules[0].nodule, diameter_mm=math.nan)), *nodules[1:]]
    assert weights_beside_diameter(scores, unknown, independent=True) == {}
