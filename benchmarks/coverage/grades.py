"""Graded tasks, and tasks of several classes without an order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from benchmarks.coverage.cases import GRADES, Cases, Scenario, many_cases
from benchmarks.coverage.outcome import Outcome
from dsmt_nnunet.evaluation.multiclass import ClassAnswers, evaluate_classes
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.clusters.ratio import clustered_mean, clustered_proportion
from dsmt_nnunet.statistics.ordinal.metrics import GradedPrediction, ordinal_comparison, ordinal_metrics
from dsmt_nnunet.statistics.ordinal.weighted import c_index, nominal_kappa, quadratic_kappa
from dsmt_nnunet.statistics.roc.delong import auc_score

N_GRADES = 3
CLASS_NAMES = ("a", "b", "c")


def grade_outcomes(scenario: Scenario, cases: Cases, settings: EvaluationSettings) -> Iterator[Outcome]:
    """Agreement and order of grades, and the comparison of two equally good gradings."""
    truth, budget = _grade_truth(), (0.95, settings.n_resamples, settings.seed)
    found = ordinal_metrics(
        cases.grades, GradedPrediction(cases.graded, cases.graded_score), N_GRADES, cases.patients, *budget
    )
    yield Outcome("quadratic kappa, BCa", found.quadratic_kappa.ci, truth["kappa"])
    yield Outcome("C-index, BCa", found.c_index.ci, truth["c"])
    interval = found.cuts[0].interval
    yield Outcome("AUC at the first cut of grades", (interval.lower, interval.upper), truth["cut"])
    error = clustered_mean(np.abs(cases.grades - cases.graded), cases.patients)
    yield Outcome("mean absolute error in grades, t", error.ci, truth["error"])
    right = clustered_proportion(cases.grades == cases.graded, cases.patients)
    yield Outcome("accuracy of grades, wilson", right.ci, truth["right"])
    # Two gradings of the same information: one case in two is read by the other of two equally good readers.
    swapped = np.random.default_rng([settings.seed, 2]).normal(0, 0.5, size=(2, len(cases.grades))) + cases.graded_score
    pair = [GradedPrediction(np.searchsorted(GRADES, row), row) for row in swapped]
    both = ordinal_comparison(cases.grades, pair[0], pair[1], N_GRADES, cases.patients, *budget)
    for name, test in (
        ("quadratic kappas", both.quadratic_kappa),
        ("C-indices", both.c_index),
        ("mean absolute errors", both.mean_absolute_error),
    ):
        yield Outcome(f"difference of two {name}, BCa", test.ci, 0, test.p_value)


def class_outcomes(scenario: Scenario, cases: Cases, settings: EvaluationSettings) -> Iterator[Outcome]:
    """Three classes without an order."""
    truth = _class_truth(scenario)
    patients = tuple(str(code) for code in cases.patients.tolist())
    decided = cases.class_probs.argmax(axis=1)
    found = evaluate_classes(ClassAnswers(cases.classes, cases.class_probs, decided, CLASS_NAMES, patients), settings)
    yield Outcome("macro AUC, t on the logit scale", found.auc_macro_ci, truth["macro"])
    yield Outcome("AUC of a class against the rest", found.auc_one_vs_rest["a"].auc_ci, truth["one"])
    yield Outcome("accuracy of classes, wilson", found.accuracy_ci, truth["right"])
    yield Outcome("Cohen's kappa of classes, BCa", found.kappa_ci, truth["kappa"])
    yield Outcome("Brier score of classes, t", found.brier_ci, truth["brier"])


@lru_cache
def _grade_truth() -> dict[str, float]:
    cases = many_cases(Scenario("grades", 0, 1))
    once = np.ones((1, len(cases.grades)), dtype=np.int64)
    return {
        "kappa": float(quadratic_kappa(cases.grades, cases.graded, N_GRADES, once)[0]),
        "c": float(c_index(cases.grades, cases.graded_score, once)[0]),
        "cut": auc_score(cases.grades >= 1, cases.graded_score),
        "error": float(np.abs(cases.grades - cases.graded).mean()),
        "right": float((cases.grades == cases.graded).mean()),
    }


@lru_cache
def _class_truth(scenario: Scenario) -> dict[str, float]:
    cases = many_cases(scenario)
    each = [auc_score(cases.classes == index, cases.class_probs[:, index]) for index in range(3)]
    decided = cases.class_probs.argmax(axis=1)
    once = np.ones((1, len(decided)), dtype=np.int64)
    return {
        "macro": float(np.mean(each)),
        "one": each[0],
        "right": float((decided == cases.classes).mean()),
        "kappa": float(nominal_kappa(cases.classes, decided, 3, once)[0]),
        "brier": float(((cases.class_probs - np.eye(3)[cases.classes]) ** 2).sum(axis=1).mean()),
    }
