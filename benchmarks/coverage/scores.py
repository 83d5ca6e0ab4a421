"""Binary scores as `dsmt evaluate` prints them: AUC, calibration, decisions, comparisons, subgroups."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy.stats import norm

from benchmarks.coverage.cases import Cases, Scenario, many_cases
from benchmarks.coverage.outcome import Outcome
from dsmt_nnunet.evaluation.comparisons import compare_levels, compare_scores, joint_test
from dsmt_nnunet.evaluation.records.score import AVERAGE_PRECISION
from dsmt_nnunet.evaluation.score import evaluate_score, operating_point
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.added_value import added_value
from dsmt_nnunet.statistics.clusters.ratio import clustered_mean
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.statistics.named_warnings import WarningLog
from dsmt_nnunet.statistics.roc.comparison import paired_comparison
from dsmt_nnunet.statistics.roc.fixed_specificity import sensitivity_at_specificity
from dsmt_nnunet.statistics.roc.interval import delong_interval
from dsmt_nnunet.statistics.roc.precision import average_precision

SPECIFICITY = 0.8
STATED_PREVALENCE = 0.1


def score_table(scenario: Scenario, cases: Cases) -> ScoreTable:
    """Three right probabilities, decided where the classes' densities are equal."""
    scores = {f"score {index}": probs for index, probs in enumerate(cases.probs)}
    decisions = {name: (Decisions.at_threshold(probs, scenario.positives, "stated"),) for name, probs in scores.items()}
    # Classes of a fixed size alternate; levels do so by two.
    levels = {"nodules": np.arange(len(cases.labels)) // 2 % 2, "patients": cases.patients // 2 % 2}
    groups = {name: tuple(f"level {value}" for value in values.tolist()) for name, values in levels.items()}
    names = tuple(str(index) for index in range(len(cases.labels)))
    patients = tuple(str(code) for code in cases.patients.tolist())
    return ScoreTable(names, cases.labels, scores, decisions, groups=groups, clusters=patients)


def score_outcomes(scenario: Scenario, cases: Cases, settings: EvaluationSettings) -> Iterator[Outcome]:
    """One score. With classes of a fixed size the prevalence is not drawn, and what rests on it is left out."""
    table = score_table(scenario, cases)
    name = next(iter(table.scores))
    found = evaluate_score(table, name, settings)
    yield Outcome("AUC, t on the logit scale", found.auc_ci, scenario.score_auc)
    plain = delong_interval(cases.labels, cases.scores[0])
    yield Outcome("AUC, DeLong of single nodules (not used)", (plain.lower, plain.upper), scenario.score_auc)
    yield Outcome("calibration slope", found.calibration_slope_ci or (np.nan, np.nan), 1)
    right = float(norm.cdf(scenario.shift / 2))
    for method in ("wilson", "clopper-pearson"):
        point = operating_point(
            table.y_true,
            table.decisions[name][0],
            EvaluationSettings(interval=method, prevalence=STATED_PREVALENCE),
            table.clusters,
        )
        yield Outcome(f"sensitivity, {method}", point.sensitivity_ci, right)
        yield Outcome(f"specificity, {method}", point.specificity_ci, right)
        for metric, value in _drawn_with_prevalence(right, scenario.positives).items():
            if not scenario.balanced:
                yield Outcome(f"{metric}, {method}", point.metric(metric)[1], value)
    stated = point.at_prevalence
    if stated is not None:
        expected = _drawn_with_prevalence(right, STATED_PREVALENCE)
        odds = scenario.positives / (1 - scenario.positives)
        benefit = STATED_PREVALENCE * right - (1 - STATED_PREVALENCE) * (1 - right) * odds
        yield Outcome("PPV at a stated prevalence", stated.ppv_ci, expected["ppv"])
        yield Outcome("NPV at a stated prevalence", stated.npv_ci, expected["npv"])
        yield Outcome("net benefit at a stated prevalence", stated.net_benefit_ci, benefit)
    if not scenario.balanced:
        precision, brier = _without_formula(scenario)
        yield Outcome("calibration intercept", found.calibration_intercept_ci or (np.nan, np.nan), 0)
        yield Outcome("Brier score, t on the logit scale", found.brier_ci or (np.nan, np.nan), brier)
        yield Outcome("average precision, jackknife, logit", found.estimate(AVERAGE_PRECISION).ci, precision)
    if scenario.graded:
        return
    fixed = sensitivity_at_specificity(
        cases.labels, cases.scores[0], SPECIFICITY, cases.patients, 0.95, settings.n_resamples, settings.seed
    )
    reached = float(norm.cdf(scenario.shift - norm.ppf(SPECIFICITY)))
    yield Outcome("sensitivity at specificity 0.8, BTII", fixed.ci, reached)


def comparison_outcomes(scenario: Scenario, cases: Cases, settings: EvaluationSettings) -> Iterator[Outcome]:
    """Two scores, three scores, two levels of a column; nothing differs."""
    table, log = score_table(scenario, cases), WarningLog()
    pair = compare_scores(table, settings, log)[0]
    yield Outcome("difference of two AUCs", pair.ci, 0, pair.p_value)
    plain = paired_comparison(cases.labels, cases.scores[0], cases.scores[1])
    yield Outcome("difference of two AUCs, DeLong of single nodules (not used)", plain.ci, 0, plain.p_value)
    if pair.decisions is not None:
        for metric, test in pair.decisions.tests:
            yield Outcome(f"difference of two {metric}s", test.ci, 0, test.p_value)
    together = joint_test(table)
    if together is not None:
        yield Outcome("three AUCs are equal", None, np.nan, together.p_value)
    for column in table.groups:
        level = compare_levels(table, column, ["level 0", "level 1"], settings, log)[0]
        yield Outcome(f"AUC at two levels of {column}", level.ci, 0, level.p_value)
    losses = (cases.probs - cases.labels) ** 2
    brier = clustered_mean(losses[0] - losses[1], cases.patients)
    yield Outcome("difference of two Brier scores, t", brier.ci, 0, brier.p_value)
    noise = np.random.default_rng([settings.seed, 1]).normal(size=scenario.n_patients)[cases.patients]
    added = added_value(cases.labels, noise, cases.scores[:1].T, cases.patients)
    yield Outcome(f"added value of noise, {added.test}", None, np.nan, added.p_value)


def _drawn_with_prevalence(right: float, prevalence: float) -> dict[str, float]:
    """Of decisions whose sensitivity and specificity are both `right`."""
    tp, fp = prevalence * right, (1 - prevalence) * (1 - right)
    fn, tn = prevalence - tp, 1 - prevalence - fp
    return {"ppv": tp / (tp + fp), "npv": tn / (tn + fn), "f1": 2 * tp / (2 * tp + fp + fn), "accuracy": right}


@lru_cache
def _without_formula(scenario: Scenario) -> tuple[float, float]:
    cases = many_cases(scenario)
    brier = float(((cases.probs[0] - cases.labels) ** 2).mean())
    once = np.ones((1, len(cases.labels)), dtype=np.int64)
    return float(average_precision(cases.labels, cases.scores[0], once)[0]), brier
