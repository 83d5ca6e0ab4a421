from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from dsmt_nnunet.statistics.checks import FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.bootstrap import bootstrap_estimate
from dsmt_nnunet.statistics.resampling import Resampler
from tests.unit.statistics.clustered_data import made_cases


def mean_of(values: np.ndarray):
    def statistic(weights: IntArray) -> FloatArray:
        return (weights @ values) / weights.sum(axis=1)

    return statistic


def alone(n: int, n_resamples: int = 999, seed: int = 0) -> Resampler:
    return Resampler.create(np.zeros(n), None, n_resamples, seed, stratified=False)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_bca_limits_are_scipys_from_the_same_resamples(level: float) -> None:
    values = np.random.default_rng(0).exponential(size=25)
    resampler = alone(25)
    samples = np.concatenate([mean_of(values)(weights) for weights in resampler.weights()])

    class Drawn:
        bootstrap_distribution = samples

    expected = bootstrap(
        (values,), np.mean, n_resamples=0, confidence_level=level, method="BCa", bootstrap_result=Drawn()
    ).confidence_interval
    found = bootstrap_estimate(mean_of(values), resampler, level)
    assert found.ci == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_interval_and_p_never_contradict_each_other(method) -> None:
    rng = np.random.default_rng(1)
    excluded = 0
    for seed in range(60):
        data = made_cases(25, 3, seed)
        values = np.round(data.scores[0] - data.scores[1] + rng.normal(0, 0.4), 0 if seed % 2 else 3)
        resampler = Resampler.create(
            np.zeros(len(values)), data.patients.astype(str).tolist(), 199, seed, stratified=False
        )
        for level in (0.9, 0.95):
            found = bootstrap_estimate(mean_of(values), resampler, level, null=0.0, method=method)
            outside = not found.ci[0] <= 0 <= found.ci[1]
            assert outside == (found.p_value < 1 - level), (seed, level, found)
            excluded += outside
    assert 5 < excluded < 115


def test_percentile_p_is_twice_the_smaller_tail() -> None:
    values = np.random.default_rng(2).normal(0.25, 1, 40)
    resampler = alone(40, 1999)
    samples = np.concatenate([mean_of(values)(weights) for weights in resampler.weights()])
    found = bootstrap_estimate(mean_of(values), resampler, null=0.0, method="percentile")
    assert found.p_value == pytest.approx(2 * min((samples < 0).mean(), (samples > 0).mean()), abs=0.002)


def test_patients_are_the_unit() -> None:
    values = np.repeat(np.random.default_rng(3).normal(size=30), 6)
    patients = [str(k) for k in np.repeat(np.arange(30), 6)]
    whole = bootstrap_estimate(mean_of(values), Resampler.create(np.zeros(180), patients, stratified=False))
    single = bootstrap_estimate(mean_of(values), alone(180))
    once = bootstrap_estimate(mean_of(values[::6]), alone(30))
    assert np.ptp(whole.ci) == pytest.approx(np.ptp(once.ci), rel=0.1)
    assert np.ptp(single.ci) < 0.6 * np.ptp(whole.ci)


def test_a_null_outside_every_resample_has_the_smallest_p() -> None:
    found = bootstrap_estimate(mean_of(np.arange(1.0, 31.0)), alone(30, 499), null=-5.0)
    assert found.p_value == pytest.approx(1 / 500)


def test_resamples_without_spread_give_no_interval() -> None:
    found = bootstrap_estimate(mean_of(np.ones(10)), alone(10), null=1.0)
    assert math.isnan(found.ci[0])
    assert found.p_value == 1
    assert math.isnan(bootstrap_estimate(mean_of(np.ones(10)), alone(10), null=0.0).p_value)


def test_too_few_resamples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 40"):
        bootstrap_estimate(mean_of(np.arange(9.0)), alone(9, 30))


def test_prevalence_moves_where_it_is_asked_to() -> None:
    y_true = np.arange(40) % 4 == 0
    fixed = np.concatenate(list(Resampler.create(y_true, n_resamples=200).weights()))[:, y_true].sum(axis=1)
    moving = Resampler.create(y_true, n_resamples=200, stratified=False)
    moved = np.concatenate(list(moving.weights()))[:, y_true].sum(axis=1)
    assert np.ptp(fixed) == 0
    assert moved.std() == pytest.approx(math.sqrt(40 * 0.25 * 0.75), rel=0.2)
