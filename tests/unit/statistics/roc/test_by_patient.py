from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multivariate import test_mvmean as hotelling

from dsmt_nnunet.statistics.roc.by_patient import (
    auc_interval,
    joint_auc_comparison,
    level_difference,
    macro_auc,
    paired_auc_difference,
)
from dsmt_nnunet.statistics.roc.clustered import clustered_auc_interval, clustered_aucs, clustered_paired_comparison
from dsmt_nnunet.statistics.roc.comparison import joint_comparison, paired_comparison
from dsmt_nnunet.statistics.roc.delong import structural_components
from dsmt_nnunet.statistics.roc.interval import delong_interval
from tests.unit.statistics.clustered_data import made_cases

DATA = made_cases(40, 4, 3)
THIRD = DATA.scores[0] + np.random.default_rng(5).normal(0, 0.7, 160)


def test_delong_stands_where_every_case_is_a_patient_of_its_own() -> None:
    normal = delong_interval(DATA.y_true, DATA.scores[0])
    for clusters in (None, np.arange(160)):
        interval = auc_interval(DATA.y_true, DATA.scores[0], clusters)
        assert (interval.auc, interval.se) == pytest.approx((normal.auc, normal.se))
        assert interval.method == "delong-logit-t"
        assert normal.lower - 0.002 < interval.lower < normal.lower < normal.upper < interval.upper
        found = paired_auc_difference(DATA.y_true, *DATA.scores, clusters)
        assert found == paired_comparison(DATA.y_true, *DATA.scores)


def test_obuchowski_stands_where_patients_have_several() -> None:
    found = auc_interval(DATA.y_true, DATA.scores[0], DATA.patients)
    assert found == clustered_auc_interval(DATA.y_true, DATA.scores[0], DATA.patients)
    pair = paired_auc_difference(DATA.y_true, *DATA.scores, DATA.patients)
    assert pair == clustered_paired_comparison(DATA.y_true, *DATA.scores, DATA.patients)


def left_out(statistic) -> tuple[float, float]:
    """Value and jackknife variance over patients."""
    everyone = np.ones(160, bool)
    values = np.array([statistic(DATA.patients != patient) for patient in range(40)])
    return statistic(everyone), 39 / 40 * ((values - values.mean()) ** 2).sum()


@pytest.mark.parametrize("shared", [True, False], ids=["patients at both levels", "patients at one"])
def test_levels_against_leaving_out_each_patient(shared: bool) -> None:
    first = np.arange(160) % 2 == 0 if shared else DATA.patients % 2 == 0
    found = level_difference(DATA.y_true, DATA.scores[0], (first, ~first), DATA.patients)

    def difference(kept: np.ndarray) -> float:
        parts = [kept & first, kept & ~first]
        one, other = (roc_auc_score(DATA.y_true[part], DATA.scores[0][part]) for part in parts)
        return one - other

    value, variance = left_out(difference)
    assert found.difference == pytest.approx(value)
    assert found.se**2 == pytest.approx(variance, rel=0.15)
    assert (found.p_value < 0.05) == (not found.ci[0] <= 0 <= found.ci[1])


def test_shared_patients_make_levels_alike() -> None:
    """The same nodules at both levels: no difference, and hardly a variance."""
    y_true, score = np.tile(DATA.y_true, 2), np.tile(DATA.scores[0], 2)
    first = np.arange(320) < 160
    found = level_difference(y_true, score, (first, ~first), np.tile(DATA.patients, 2))
    apart = level_difference(y_true, score, (first, ~first), np.r_[DATA.patients, 40 + DATA.patients])
    assert found.se < 0.3 * apart.se


def test_joint_test_of_patients() -> None:
    scores = np.stack([*DATA.scores, THIRD])
    alone, wald = joint_auc_comparison(DATA.y_true, scores), joint_comparison(DATA.y_true, scores)
    assert (alone.chi2, alone.df) == pytest.approx((wald.chi2, 2))
    assert wald.p_value < alone.p_value < 1.2 * wald.p_value + 0.02
    copied = joint_auc_comparison(np.repeat(DATA.y_true, 3), np.repeat(scores, 3, axis=1), np.repeat(np.arange(160), 3))
    assert (copied.chi2, copied.p_value) == pytest.approx((alone.chi2, alone.p_value))
    # The same chi2 as Hotelling's T2 of so many pairs of made values is tested by the same F.
    contrasts = structural_components(DATA.y_true, scores).contrast([[1, -1, 0], [1, 0, -1]])
    known = clustered_aucs(DATA.y_true, contrasts, np.arange(160)).df.mean()
    p_values = []
    for n in (math.floor(known) + 1, math.ceil(known) + 1):
        values = np.random.default_rng(0).normal(size=(n, 2))
        values += (np.sqrt(copied.chi2 / n) * np.linalg.cholesky(np.cov(values.T)) @ [1, 0]) - values.mean(axis=0)
        reference = hotelling(values)
        assert reference.t2 == pytest.approx(copied.chi2)
        p_values.append(reference.pvalue)
    assert p_values[1] <= copied.p_value <= p_values[0]


def test_macro_auc_against_leaving_out_each_patient() -> None:
    truth = np.digitize(DATA.scores[1], [-0.3, 0.8])
    scores = np.random.default_rng(1).normal(size=(160, 3)) + np.eye(3)[truth]
    found = macro_auc(truth, scores, DATA.patients)

    def mean(kept: np.ndarray) -> float:
        return float(np.mean([roc_auc_score(truth[kept] == k, scores[kept, k]) for k in range(3)]))

    value, variance = left_out(mean)
    assert found.mean.auc == pytest.approx(value)
    assert found.mean.se**2 == pytest.approx(variance, rel=0.1)
    assert found.mean.lower < value < found.mean.upper < 1
    assert found.classes[1] == auc_interval(truth == 1, scores[:, 1], DATA.patients)


def test_a_class_without_a_case_has_no_macro_auc() -> None:
    with pytest.warns(UserWarning, match="one class"):
        found = macro_auc(np.zeros(12, int), np.random.default_rng(0).random((12, 2)))
    assert math.isnan(found.mean.auc)
