from __future__ import annotations

import math

import numpy as np
import pytest

from dsmt_nnunet.statistics.named_warnings import CollapsedBootstrapWarning
from dsmt_nnunet.statistics.resampling import Resampler, percentile_interval, resampled_aucs, weighted_auc
from dsmt_nnunet.statistics.roc.curve import roc_band
from dsmt_nnunet.statistics.roc.delong import auc_score
from dsmt_nnunet.statistics.roc.interval import delong_interval


def draws(resampler: Resampler) -> np.ndarray:
    return np.concatenate(list(resampler.weights()))


def test_weighted_auc_equals_the_auc_of_repeated_cases_with_ties() -> None:
    rng = np.random.default_rng(0)
    y_true, score = np.arange(40) % 2 == 0, np.round(rng.normal(size=40), 1)
    weights = rng.integers(0, 4, size=(5, 40))
    expected = [auc_score(np.repeat(y_true, row), np.repeat(score, row)) for row in weights]
    assert weighted_auc(y_true, score, weights) == pytest.approx(expected)


def test_every_resample_keeps_the_class_counts() -> None:
    y_true = np.array([1] * 3 + [0] * 17)
    weights = draws(Resampler.create(y_true, n_resamples=300))
    assert weights.shape == (300, 20)
    assert (weights[:, y_true == 1].sum(axis=1) == 3).all()
    assert (weights[:, y_true == 0].sum(axis=1) == 17).all()
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.25)


def test_blocks_and_seed_do_not_change_what_all_see() -> None:
    y_true = np.arange(30) % 3 == 0
    first, second = (draws(Resampler.create(y_true, n_resamples=200, seed=7)) for _ in range(2))
    assert (first == second).all()
    assert (first != draws(Resampler.create(y_true, n_resamples=200, seed=8))).any()


def test_patients_are_drawn_whole_and_no_resample_lacks_a_class() -> None:
    y_true = np.array([1, 0, 1, 1, 0, 0, 0, 0])
    patients = ["a", "a", "b", "b", "c", "c", "d", "e"]
    weights = draws(Resampler.create(y_true, patients, n_resamples=400))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 4] == weights[:, 5]).all()
    assert ((weights * y_true).sum(axis=1) > 0).all()
    assert ((weights * (1 - y_true)).sum(axis=1) > 0).all()


def test_bootstrap_agrees_with_delong_on_independent_cases() -> None:
    rng = np.random.default_rng(1)
    y_true = np.arange(300) % 2 == 0
    score = rng.normal(size=300) + y_true
    samples = resampled_aucs(y_true, score, Resampler.create(y_true))
    interval = delong_interval(y_true, score)
    assert percentile_interval(samples[:, 0]) == pytest.approx((interval.lower, interval.upper), abs=0.01)


def test_copies_of_a_case_do_not_narrow_the_clustered_interval() -> None:
    rng = np.random.default_rng(2)
    y_true = np.arange(80) % 2 == 0
    score = rng.normal(size=80) + y_true
    patients = [str(k) for k in range(80)]
    single = percentile_interval(resampled_aucs(y_true, score, Resampler.create(y_true))[:, 0])
    four = (np.repeat(y_true, 4), np.repeat(score, 4))
    clustered = percentile_interval(
        resampled_aucs(*four, Resampler.create(four[0], np.repeat(patients, 4).tolist()))[:, 0]
    )
    naive = percentile_interval(resampled_aucs(*four, Resampler.create(four[0]))[:, 0])
    assert clustered[1] - clustered[0] == pytest.approx(single[1] - single[0], rel=0.1)
    assert naive[1] - naive[0] < 0.6 * (clustered[1] - clustered[0])


def test_a_collapsed_bootstrap_is_nan_and_said() -> None:
    y_true = np.repeat([False, True], 10)
    samples = resampled_aucs(y_true, np.arange(20.0), Resampler.create(y_true, n_resamples=100))
    with pytest.warns(CollapsedBootstrapWarning):
        lower, upper = percentile_interval(samples[:, 0])
    assert math.isnan(lower)
    assert math.isnan(upper)


def test_band_lies_around_the_curve() -> None:
    rng = np.random.default_rng(3)
    y_true = np.arange(100) % 2 == 0
    score = rng.normal(size=100) + y_true
    band = roc_band(y_true, score, Resampler.create(y_true, n_resamples=200))
    middle = np.interp(0.5, *_curve(y_true, score))
    assert band.lower[50] <= middle <= band.upper[50]
    assert band.upper[50] - band.lower[50] > 0.05
    assert (np.diff(band.lower) >= -1e-12).all()
    assert band.upper[-1] == band.lower[-1] == 1


def _curve(y_true: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cuts = np.r_[np.inf, np.sort(score)[::-1]]
    return (
        np.array([(score[~y_true] >= cut).mean() for cut in cuts]),
        np.array([(score[y_true] >= cut).mean() for cut in cuts]),
    )


def test_few_patients_of_many_kinds_do_not_collapse_the_interval() -> None:
    """Patients with one, the other, or both classes are drawn together, not each kind for itself."""
    y_true = np.array([0, 1, 0, 1, 1, 0, 1, 0])
    patients = ["a", "a", "b", "c", "d", "d", "e", "e"]
    resampler = Resampler.create(y_true, patients, n_resamples=200)
    weights = draws(resampler)
    assert len(np.unique(weights, axis=0)) > 20
    assert (weights[:, y_true == 0].sum(axis=1) > 0).all()


def test_a_resample_without_a_class_is_drawn_again() -> None:
    """Every patient has a positive case, two of six a negative one: one resample in eleven would hold none."""
    y_true = np.array([1, 0, 1, 0, 1, 1, 1, 1])
    weights = draws(Resampler.create(y_true, ["a", "a", "b", "b", "c", "d", "e", "f"], n_resamples=500))
    assert len(weights) == 500
    assert (weights[:, y_true == 0].sum(axis=1) > 0).all()
