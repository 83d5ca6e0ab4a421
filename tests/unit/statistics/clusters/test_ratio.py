from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import ttest_1samp

from dsmt_nnunet.statistics.clusters.ratio import clustered_mean, clustered_proportion
from dsmt_nnunet.statistics.proportions import proportion, wilson_limits
from tests.unit.statistics.clustered_data import made_cases


def test_mean_of_single_cases_is_the_one_sample_t_test() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, 25)
    expected = ttest_1samp(values, 0)
    found = clustered_mean(values)
    assert found.p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert found.ci == pytest.approx((interval.low, interval.high))


def test_mean_of_clusters_has_the_sandwich_variance_of_statsmodels() -> None:
    """An intercept-only regression with cluster-robust variance."""
    data = made_cases()
    values = data.scores[0]
    fit = sm.OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": data.patients, "df_correction": True}, use_t=True
    )
    found = clustered_mean(values, data.patients)
    assert found.estimate == pytest.approx(fit.params[0])
    assert found.se == pytest.approx(fit.bse[0])
    assert found.p_value == pytest.approx(fit.pvalues[0])
    assert found.ci == pytest.approx(tuple(fit.conf_int()[0]))


def test_one_cluster_has_a_mean_but_no_interval() -> None:
    found = clustered_mean([1.0, 2.0], ["a", "a"])
    assert found.estimate == 1.5
    assert math.isnan(found.ci[0])


def test_proportion_of_single_cases_is_wilsons() -> None:
    hits = np.arange(40) % 3 == 0
    assert clustered_proportion(hits) == proportion(14, 40)
    assert clustered_proportion(hits, np.arange(40)) == proportion(14, 40)


def test_copies_of_a_case_add_nothing_to_a_proportion() -> None:
    hits = np.arange(30) % 3 == 0
    once = proportion(10, 30).ci
    copied = clustered_proportion(np.repeat(hits, 5), np.repeat(np.arange(30), 5))
    assert copied.total == 150
    # t with 29 degrees of freedom and K / (K - 1) instead of the normal: somewhat wider, never narrower
    assert copied.ci[1] - copied.ci[0] == pytest.approx(once[1] - once[0], rel=0.07)
    assert copied.ci[1] - copied.ci[0] > once[1] - once[0]


def test_the_design_effect_is_rao_and_scotts() -> None:
    """Written out: d = n / (p q) * K / (K - 1) * sum (y_k - p n_k)^2 / n."""
    data = made_cases(20, 6, seed=3)
    hits = data.scores[0] > 0
    p, n, k = hits.mean(), len(hits), 20
    scatter = sum((hits[data.patients == i].sum() - p * 6) ** 2 for i in range(k))
    effect = k / (k - 1) * scatter / n**2 / (p * (1 - p) / n)
    assert effect > 1.5
    effective = n / effect * (1.959963984540054 / 2.093024054408263) ** 2
    assert clustered_proportion(hits, data.patients).ci == pytest.approx(wilson_limits(p, effective))


def test_all_hits_count_each_cluster_once() -> None:
    found = clustered_proportion(np.ones(60), np.repeat(np.arange(12), 5))
    assert found.ci[1] == 1
    assert found.ci[0] < proportion(12, 12).ci[0]
    assert found.ci[0] == pytest.approx(proportion(12, 12).ci[0], abs=0.06)


def test_a_wrong_number_of_clusters_is_refused() -> None:
    with pytest.raises(ValueError, match="one cluster a case, 3"):
        clustered_mean([1.0, 2.0, 3.0], ["a", "b"])
