from __future__ import annotations

import numpy as np
import pytest

from dsmt_nnunet.statistics.clusters.ratio import clustered_mean, clustered_proportion
from dsmt_nnunet.statistics.clusters.spread import effective_df, left_out

SIZES = [1] * 10 + [2] * 4 + [4] * 3 + [10] * 2 + [30]


def test_a_mean_changes_by_what_leaving_out_a_patient_does() -> None:
    patients = np.repeat(np.arange(20), SIZES)
    values = np.random.default_rng(0).normal(size=80)
    each = np.array([values[patients != k].mean() for k in range(20)])
    sums = np.bincount(patients, weights=values - values.mean()) / 80
    np.testing.assert_allclose(values.mean() - left_out(sums, np.array(SIZES) / 80), each)
    expected = np.sqrt(19 / 20 * ((each - values.mean()) ** 2).sum())
    assert clustered_mean(values, patients).se == pytest.approx(expected)


def test_who_holds_all_has_no_change() -> None:
    assert np.isnan(left_out(np.zeros(1), np.ones(1))).all()


def test_degrees_of_freedom_are_those_of_welch_and_satterthwaite() -> None:
    """The mean of many draws is 2 V^2 / var V = (sum v)^2 / sum v^2 for normal contributions of variance v."""
    rng, variances = np.random.default_rng(1), np.repeat([0.05, 1.0], [60, 60])
    found = np.mean([1 / effective_df(rng.normal(size=120) * np.sqrt(variances)) for _ in range(400)])
    assert 1 / found == pytest.approx(variances.sum() ** 2 / (variances**2).sum(), rel=0.08)


def test_alike_contributions_have_all_degrees_of_freedom_and_one_alone_has_one() -> None:
    assert effective_df(np.array([1.0, -1.0] * 10)) == 19
    assert effective_df(np.array([5.0] + [1e-3] * 30)) == pytest.approx(3, abs=0.01)
    assert effective_df(np.zeros(8)) == 7
    assert effective_df(np.array([2.0, -2.0])) == 1


@pytest.mark.parametrize("kind", ["mean", "bounded", "proportion"])
def test_unequal_patients_are_covered_too(kind: str) -> None:
    """20 patients of one to thirty nodules; at K - 1 and without leaving out 0.88 to 0.91 were held."""
    patients, held = np.repeat(np.arange(40), SIZES * 2), []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=40)[patients] + rng.normal(size=160)
        if kind == "mean":
            ci, truth = clustered_mean(values, patients).ci, 0.0
        elif kind == "bounded":
            ci, truth = clustered_mean(1 / (1 + np.exp(-values)), patients, upper=1.0).ci, 0.5
        else:
            ci, truth = clustered_proportion(values > 0, patients).ci, 0.5
        held.append(ci[0] <= truth <= ci[1])
    assert np.mean(held) == pytest.approx(0.95, abs=0.022)
