from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from statsmodels.miscmodels.ordinal_model import OrderedModel

from dsmt_nnunet.architecture.heads import TaskHead
from dsmt_nnunet.tasks import Task
from dsmt_nnunet.training.wide import LARGEST_SCALE, SCALE_SD, calibrate, fit_wide, out_of_fold_scores, standardise

BINARY, NOMINAL = Task("b", ("no", "yes")), Task("n", ("x", "y", "z"))
ORDINAL = Task("o", ("1", "2", "3", "4"), ordered=True)


def cohort(classes: int, n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Descriptors, class indices and targets; the first descriptor decides, with noise."""
    rng = np.random.default_rng(seed)
    descriptors = rng.normal(size=(n, 4)) * [1.0, 10.0, 0.1, 1.0] + [0.0, 50.0, 0.0, 2.0]
    score = 1.5 * descriptors[:, 0] + rng.logistic(size=n)
    labels = np.searchsorted(np.quantile(score, np.arange(1, classes) / classes), score)
    return descriptors, labels, np.eye(classes)[labels]


def test_binary_equals_penalised_logistic_regression() -> None:
    descriptors, labels, targets = cohort(2)
    fit = fit_wide(descriptors, targets, BINARY, penalty=20.0)
    inputs = standardise(descriptors, fit.mean, fit.scale)
    reference = LogisticRegression(C=1 / 20.0, tol=1e-10, max_iter=1000).fit(inputs, labels)
    np.testing.assert_allclose(fit.weight, reference.coef_, atol=1e-4)
    np.testing.assert_allclose(-fit.thresholds, reference.intercept_, atol=1e-4)


def test_nominal_equals_penalised_multinomial_regression() -> None:
    descriptors, labels, targets = cohort(3)
    fit = fit_wide(descriptors, targets, NOMINAL, penalty=20.0)
    inputs = standardise(descriptors, fit.mean, fit.scale)
    reference = LogisticRegression(C=1 / 20.0, tol=1e-10, max_iter=2000).fit(inputs, labels)
    np.testing.assert_allclose(fit.weight, reference.coef_, atol=1e-3)


def test_ordinal_equals_proportional_odds() -> None:
    descriptors, labels, targets = cohort(4)
    fit = fit_wide(descriptors, targets, ORDINAL, penalty=1e-6)
    inputs = standardise(descriptors, fit.mean, fit.scale)
    model = OrderedModel(labels, inputs, distr="logit")
    reference = model.fit(method="bfgs", disp=False, gtol=1e-8)
    np.testing.assert_allclose(fit.weight[0], reference.params[:4], atol=1e-3)
    np.testing.assert_allclose(fit.thresholds, model.transform_threshold_params(reference.params)[1:-1], atol=1e-3)


def test_votes_are_as_many_rows_and_unknown_ones_none() -> None:
    descriptors, _, targets = cohort(4)
    other = np.roll(targets, 1, axis=1)
    soft = np.concatenate([(targets + other) / 2, np.full((5, 4), np.nan)])
    unknown = np.concatenate([descriptors, np.full((5, 4), 1e6)])
    one = fit_wide(unknown, soft, ORDINAL, penalty=5.0)
    twice = np.concatenate([descriptors, descriptors])
    two = fit_wide(twice, np.concatenate([targets, other]), ORDINAL, 5.0, np.full(len(twice), 0.5))
    np.testing.assert_allclose(one.weight, two.weight, atol=1e-4)
    np.testing.assert_allclose(one.thresholds, two.thresholds, atol=1e-4)


def test_a_head_answers_as_the_fit_does() -> None:
    descriptors, _, targets = cohort(4)
    fit = fit_wide(descriptors, targets, ORDINAL, penalty=5.0)
    head = TaskHead(ORDINAL, 2, 2, 0.0, 4)
    fit.give_to(head)
    assert head.wide is not None
    found = head.wide(torch.from_numpy(descriptors).float()).numpy()
    np.testing.assert_allclose(found, fit.scores(descriptors), atol=1e-4)
    np.testing.assert_allclose(head.thresholds().detach().numpy(), fit.thresholds, atol=1e-3)


def test_scores_are_of_patients_that_were_not_learnt_from() -> None:
    rng = np.random.default_rng(1)
    descriptors, groups = rng.normal(size=(80, 30)), np.repeat(np.arange(40), 2)
    # Nothing to be learnt, and both nodules of a patient have one label.
    targets = np.eye(2)[np.repeat(rng.integers(0, 2, 40), 2)]
    inside = fit_wide(descriptors, targets, BINARY, 0.1).scores(descriptors)[:, 0]
    outside = out_of_fold_scores(descriptors, targets, groups.tolist(), BINARY, 0.1)[:, 0]
    assert spearmanr(inside, targets[:, 1]).statistic > 0.6
    assert abs(spearmanr(outside, targets[:, 1]).statistic) < 0.3


def test_nothing_known_is_an_error_and_a_constant_descriptor_is_none() -> None:
    with pytest.raises(ValueError, match="no nodule with a known label"):
        fit_wide(np.zeros((3, 2)), np.full((3, 2), np.nan), BINARY, 1.0)
    descriptors, _, targets = cohort(2)
    descriptors[:, 2] = 7.0
    assert fit_wide(descriptors, targets, BINARY, 1.0).weight[0, 2] == 0


def test_calibration_of_a_binary_task_is_logistic_regression_on_the_score() -> None:
    descriptors, labels, targets = cohort(2)
    own = calibrate(0.5 * descriptors[:, :1], targets, BINARY)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(0.5 * descriptors[:, :1], labels)
    assert own.scale == pytest.approx(reference.coef_[0, 0], rel=1e-3)
    assert own.scale > 2
    np.testing.assert_allclose(-own.thresholds, reference.intercept_, atol=1e-3)
    expected = np.log(reference.predict_proba(0.5 * descriptors[:, :1])[np.arange(len(labels)), labels])
    np.testing.assert_allclose(own.log_likelihoods, expected, atol=1e-3)


def test_calibration_of_grades_is_proportional_odds_on_the_score() -> None:
    descriptors, labels, targets = cohort(4)
    targets[:10] = np.nan
    own = calibrate(descriptors[:, :1], targets, ORDINAL)
    model = OrderedModel(labels[10:], descriptors[10:, :1], distr="logit")
    reference = model.fit(method="bfgs", disp=False, gtol=1e-8)
    assert own.scale == pytest.approx(reference.params[0], rel=1e-3)
    np.testing.assert_allclose(own.thresholds, model.transform_threshold_params(reference.params)[1:-1], atol=1e-3)
    assert np.isnan(own.log_likelihoods[:10]).all()
    assert np.nansum(own.log_likelihoods) == pytest.approx(reference.llf, abs=1e-3)


def test_a_calibrated_nominal_score_is_at_its_optimum() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(200, 3))
    labels = np.array([rng.choice(3, p=np.exp(1.7 * row) / np.exp(1.7 * row).sum()) for row in scores])
    own = calibrate(scores, np.eye(3)[labels], NOMINAL)

    def log_likelihood(scale: float) -> float:
        logits = scale * scores + own.thresholds
        return float((logits[np.arange(200), labels] - np.log(np.exp(logits).sum(1))).sum())

    assert log_likelihood(own.scale) == pytest.approx(own.log_likelihoods.sum(), abs=1e-6)
    assert log_likelihood(own.scale) > max(log_likelihood(0.95 * own.scale), log_likelihood(1.05 * own.scale))
    assert own.scale == pytest.approx(1.7, abs=0.4)


def test_a_score_that_separates_or_misleads_is_held() -> None:
    labels = np.repeat([0, 1], 20)
    score = (2.0 * labels - 1)[:, None]
    assert calibrate(score, np.eye(2)[labels], BINARY).scale == LARGEST_SCALE
    assert calibrate(-score, np.eye(2)[labels], BINARY).scale == 0
    with pytest.raises(ValueError, match="nothing to calibrate"):
        calibrate(score, np.full((40, 2), np.nan), BINARY)


def test_a_scaled_fit_answers_with_scaled_scores() -> None:
    descriptors, _, targets = cohort(4)
    fit = fit_wide(descriptors, targets, ORDINAL, penalty=300.0)
    own = calibrate(fit.scores(descriptors), targets, ORDINAL)
    assert own.scale > 1.1  # the penalty has shrunk it
    np.testing.assert_allclose(fit.scaled(own).scores(descriptors), own.scale * fit.scores(descriptors))
    np.testing.assert_array_equal(fit.scaled(own).thresholds, own.thresholds)


def with_missing(seed: int = 2, n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Descriptors that say little, behind them a covariate that says all, a third of it not known; labels, targets."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    measured = rng.normal(size=(n, 3)) + 0.5 * labels[:, None]
    covariate = np.where(rng.random(n) < 1 / 3, np.nan, 60.0 + 10.0 * labels)
    return np.column_stack([measured, covariate]), labels, np.eye(2)[labels]


def test_a_covariate_that_tells_the_label_raises_the_auc_and_without_it_the_descriptors_answer() -> None:
    inputs, labels, targets = with_missing()
    groups, known = list(range(len(labels))), ~np.isnan(inputs[:, 3])
    penalties = np.array([300.0, 300.0, 300.0, 10.0])
    told = out_of_fold_scores(inputs, targets, groups, BINARY, penalties, covariates=1)[:, 0]
    alone = out_of_fold_scores(inputs[:, :3], targets, groups, BINARY, 300.0)[:, 0]
    assert roc_auc_score(labels[known], told[known]) == 1.0
    assert roc_auc_score(labels[known], alone[known]) < 0.9
    # Where it is not known the descriptors answer as well as alone.
    assert roc_auc_score(labels[~known], told[~known]) == pytest.approx(
        roc_auc_score(labels[~known], alone[~known]), abs=0.02
    )


def test_what_is_expected_of_a_covariate_is_its_ridge_regression_on_the_descriptors() -> None:
    inputs, _, targets = with_missing()
    known = ~np.isnan(inputs[:, 3])
    fit = fit_wide(inputs, targets, BINARY, np.array([30.0, 30.0, 30.0, 1.0]), covariates=1)
    own = standardise(inputs, fit.mean, fit.scale)
    reference = Ridge(alpha=30.0, fit_intercept=False).fit(own[known, :3], own[known, 3])
    np.testing.assert_allclose(fit.expected[0], reference.coef_, atol=1e-9)


def test_a_size_that_was_not_measured_is_read_from_the_descriptors() -> None:
    rng = np.random.default_rng(4)
    size = rng.normal(size=300)
    descriptors = size[:, None] + 0.2 * rng.normal(size=(300, 10))
    labels = (size + 0.3 * rng.normal(size=300) > 0).astype(int)
    inputs, penalties = np.column_stack([descriptors, size]), np.array([300.0] * 10 + [1.0])
    fit = fit_wide(inputs[:200], np.eye(2)[labels[:200]], BINARY, penalties, covariates=1)
    asked = inputs[200:].copy()
    told = roc_auc_score(labels[200:], fit.scores(asked)[:, 0])
    asked[:, 10] = np.nan
    assert roc_auc_score(labels[200:], fit.scores(asked)[:, 0]) == pytest.approx(told, abs=0.02)
    assert fit.scores(asked)[:, 0].std() == pytest.approx(fit.scores(inputs[200:])[:, 0].std(), rel=0.2)


def test_a_head_stands_in_for_what_is_not_known_as_the_fit_does() -> None:
    inputs, _, targets = with_missing()
    fit = fit_wide(inputs, targets, BINARY, 5.0, covariates=1)
    nodule = inputs[:1].copy()
    nodule[0, 3] = np.nan
    head = TaskHead(BINARY, 2, 2, 0.0, 3, 1)
    fit.give_to(head)
    assert head.wide is not None
    for given in (nodule, nodule[:, :3]):
        found = head.wide(torch.from_numpy(given))
        np.testing.assert_allclose(found.numpy(), fit.scores(nodule), atol=1e-5)


def test_a_descriptor_that_is_not_a_number_stays_one() -> None:
    inputs, _, targets = with_missing()
    fit = fit_wide(inputs, targets, BINARY, 5.0, covariates=1)
    head = TaskHead(BINARY, 2, 2, 0.0, 3, 1)
    fit.give_to(head)
    assert head.wide is not None
    damaged = torch.tensor([[np.nan, 0.0, 0.0, 60.0]])
    assert head.wide(damaged).isnan().all()
    assert np.isnan(fit.scores(damaged.double().numpy())).all()


def test_each_column_may_have_a_penalty_of_its_own() -> None:
    descriptors, labels, targets = cohort(2)
    penalties = np.array([50.0, 5.0, 1.0, 20.0])
    fit = fit_wide(descriptors, targets, BINARY, penalties)
    inputs = standardise(descriptors, fit.mean, fit.scale) / np.sqrt(penalties)
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(inputs, labels)
    np.testing.assert_allclose(fit.weight, reference.coef_ / np.sqrt(penalties), atol=1e-4)


def test_a_covariate_that_is_never_known_has_no_weight() -> None:
    inputs, _, targets = with_missing()
    inputs[:, 3] = np.nan
    fit = fit_wide(inputs, targets, BINARY, 5.0, covariates=1)
    assert (fit.mean[3], fit.scale[3], fit.weight[0, 3]) == (0.0, 1.0, 0.0)


def test_few_nodules_leave_the_scale_near_one_and_many_do_not() -> None:
    descriptors, _, targets = cohort(2, n=2000)
    score = 0.5 * descriptors[:, :1]
    many, few = (calibrate(score[:n], targets[:n], BINARY, SCALE_SD).scale for n in (2000, 12))
    free = calibrate(score, targets, BINARY).scale
    assert free > 2.5
    assert abs(many - free) < 0.2
    assert abs(few - 1) < 0.6 * abs(free - 1)
