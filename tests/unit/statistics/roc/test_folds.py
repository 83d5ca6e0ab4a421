from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t

from dsmt_nnunet.statistics.named_warnings import OneClassWarning
from dsmt_nnunet.statistics.resampled_t import corrected_resampled_t
from dsmt_nnunet.statistics.roc.comparison import paired_comparison
from dsmt_nnunet.statistics.roc.delong import auc_score
from dsmt_nnunet.statistics.roc.fold_comparison import mean_fold_auc, paired_fold_comparison
from dsmt_nnunet.statistics.roc.folds import crossval_auc


@pytest.fixture
def folded() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y_true, folds = np.arange(100) % 2 == 0, np.arange(100) // 2 % 5
    return y_true, rng.normal(size=(2, 100)) + 0.7 * y_true, folds


def test_interval_of_the_mean_is_the_corrected_t_on_the_logit_scale(folded) -> None:
    y_true, scores, folds = folded
    found = crossval_auc(y_true, scores[0], folds)
    aucs = np.array([auc_score(y_true[folds == k], scores[0][folds == k]) for k in range(5)])
    se = math.sqrt((1 / 5 + 1 / 4) * aucs.var(ddof=1))
    half = t.ppf(0.975, 4) * se / (found.mean * (1 - found.mean))
    assert found.mean == pytest.approx(aucs.mean())
    assert found.ci == pytest.approx((expit(logit(found.mean) - half), expit(logit(found.mean) + half)))
    assert found.ci_these_models != found.ci


def test_a_perfect_fold_does_not_remove_the_interval() -> None:
    rng = np.random.default_rng(1)
    y_true, folds = np.arange(60) % 2 == 0, np.arange(60) // 2 % 5
    score = rng.normal(size=60) + y_true
    score[(folds == 0) & y_true] += 20
    with pytest.warns(UserWarning, match="variance of 0"):
        found = crossval_auc(y_true, score, folds)
    assert 0 < found.ci[0] < found.mean < found.ci[1] < 1
    assert math.isnan(found.ci_these_models[0])


def test_patients_widen_the_interval_of_these_models(folded) -> None:
    y_true, scores, folds = folded
    y_true, score, folds = (np.repeat(item, 4) for item in (y_true, scores[0], folds))
    alone = crossval_auc(y_true, score, folds).ci_these_models
    whole = crossval_auc(y_true, score, folds, clusters=np.repeat(np.arange(100), 4)).ci_these_models
    assert np.ptp(whole) > 1.8 * np.ptp(alone)


def test_a_fold_of_one_class_is_left_out() -> None:
    y_true = np.r_[np.ones(5), np.arange(20) % 2].astype(bool)
    folds = np.r_[np.zeros(5), np.arange(20) // 10 + 1]
    with pytest.warns(OneClassWarning, match="Fold 0"):
        assert crossval_auc(y_true, np.arange(25.0), folds).n_folds == 2
    with pytest.warns(OneClassWarning, match="Fold 0"):
        assert mean_fold_auc(y_true, np.arange(25.0), folds).n_values == 2


def test_pairs_are_compared_within_folds(folded) -> None:
    y_true, (first, second), folds = folded
    found = paired_fold_comparison(y_true, first, second, folds)
    differences = [
        auc_score(y_true[folds == k], first[folds == k]) - auc_score(y_true[folds == k], second[folds == k])
        for k in range(5)
    ]
    expected = corrected_resampled_t(differences, 1 / 4)
    assert (found.mean, found.p_value) == pytest.approx((expected.mean, expected.p_value))


def test_scales_of_the_folds_do_not_matter(folded) -> None:
    """A regression on the ruler ranks as the ruler within folds; pooled, DeLong takes it for another score."""
    y_true, (ruler, _), folds = folded
    regression = ruler * (1 + folds) + 3.0 * folds
    assert paired_comparison(y_true, ruler, regression).difference > 0.05
    found = paired_fold_comparison(y_true, ruler, regression, folds)
    assert (found.mean, found.p_value) == (0, 1)


def test_repeats_have_their_own_folds_and_scores(folded) -> None:
    y_true, scores, folds = folded
    turned = np.roll(folds, 2)
    one, other = mean_fold_auc(y_true, scores[0], folds), mean_fold_auc(y_true, scores[1], turned)
    both = mean_fold_auc(y_true, scores, np.stack([folds, turned]))
    assert both.n_values == 10
    assert both.mean == pytest.approx((one.mean + other.mean) / 2)
    with pytest.raises(ValueError, match="one fold a case and repeat"):
        mean_fold_auc(y_true, scores, folds)
    with pytest.raises(ValueError, match="two folds or more"):
        mean_fold_auc(y_true, scores[0], np.zeros(100))
