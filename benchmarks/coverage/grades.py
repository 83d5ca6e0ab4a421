"""Graded tasks, and tasks of several classes without an order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from benchmarks.coverage.cases import GRADES, Cases, Scenario, many_cases
from benchmarks.coverage.outcome import Outcome
from dsmt_nnunet.evaluation.class_comparisons import differences, measure_value
from dsmt_nnunet.evaluation.multiclass import ClassAnswers, evaluate_classes
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.checks import FloatArray
from dsmt_nnunet.statistics.ordinal.comparison import level_gap, measure_interaction
from dsmt_nnunet.statistics.ordinal.measures import GRADE_MEASURES, Answers, ClassCases
from dsmt_nnunet.statistics.ordinal.weighted import c_index, nominal_kappa, quadratic_kappa
from dsmt_nnunet.statistics.roc.by_patient import auc_interval
from dsmt_nnunet.statistics.roc.delong import auc_score

N_GRADES = 3
CLASS_NAMES = ("a", "b", "c")


def grade_outcomes(scenario: Scenario, cases: Cases, settings: EvaluationSettings) -> Iterator[Outcome]:
    """Agreement and order of grades, two equally good gradings, and one at two levels of patients."""
    truth, known = _grade_truth(), ClassCases.create(cases.grades, N_GRADES, True, cases.patients)
    graded = Answers(cases.graded, _as_probs(cases.graded_score))
    for measure in GRADE_MEASURES:
        found = measure_value(measure, known, graded, settings)
        yield Outcome(f"{measure.name} of grades", found.ci, truth[measure.name])
    interval = auc_interval(cases.grades >= 1, cases.graded_score, cases.patients)
    yield Outcome("AUC at the first cut of grades", (interval.lower, interval.upper), truth["cut"])
    # Two gradings of the same information: one case in two is read by the other of two equally good readers.
    swapped = np.random.default_rng([settings.seed, 2]).normal(0, 0.5, size=(2, len(cases.grades))) + cases.graded_score
    pair = [Answers(np.searchsorted(GRADES, row), _as_probs(row)) for row in swapped]
    yield from _comparison_outcomes(known, pair, cases, settings)


def _comparison_outcomes(
    known: ClassCases, pair: Sequence[Answers], cases: Cases, settings: EvaluationSettings
) -> Iterator[Outcome]:
    for item in differences(known, pair[0], pair[1], settings):
        yield Outcome(f"difference of two: {item.measure}", item.ci, 0, item.p_value)
    levels = [np.asarray(cases.patients % 3 == index, dtype=bool) for index in range(3)]
    for measure in known.measures:
        gap = level_gap(measure, known, pair[0], (levels[0], levels[1]))
        yield Outcome(f"two levels of patients: {measure.name}", gap.ci, 0, gap.p_value)
        alike = measure_interaction(measure, known, pair, levels)
        yield Outcome(f"interaction, three levels, difference of two: {measure.name}", None, np.nan, alike.p_value)


def class_outcomes(scenario: Scenario, cases: Cases, settings: EvaluationSettings) -> Iterator[Outcome]:
    """Three classes without an order."""
    truth = _class_truth(scenario)
    patients = tuple(str(code) for code in cases.patients.tolist())
    decided = cases.class_probs.argmax(axis=1)
    found = evaluate_classes(ClassAnswers(cases.classes, cases.class_probs, decided, CLASS_NAMES, patients), settings)
    yield Outcome("macro AUC, t on the logit scale", found.auc_macro_ci, truth["macro"])
    yield Outcome("AUC of a class against the rest", found.auc_one_vs_rest["a"].auc_ci, truth["one"])
    yield Outcome("accuracy of classes, wilson", found.accuracy_ci, truth["right"])
    yield Outcome("Cohen's kappa of classes", found.kappa_ci, truth["kappa"])
    yield Outcome("Brier score of classes, t", found.brier_ci, truth["brier"])
    noise = np.random.default_rng([settings.seed, 2]).normal(size=(2, *cases.class_probs.shape))
    rows = np.log(cases.class_probs + 1e-12) + noise
    known = ClassCases.create(cases.classes, len(CLASS_NAMES), False, cases.patients)
    yield from _comparison_outcomes(known, [Answers(row.argmax(axis=1), row) for row in rows], cases, settings)


def _as_probs(score: FloatArray) -> FloatArray:
    """Three columns whose mean grade ranks as the score does."""
    return np.column_stack([np.zeros(len(score)), -score, score])


@lru_cache
def _grade_truth() -> dict[str, float]:
    cases = many_cases(Scenario("grades", 0, 1))
    once = np.ones((1, len(cases.grades)), dtype=np.int64)
    return {
        "quadratic kappa": float(quadratic_kappa(cases.grades, cases.graded, N_GRADES, once)[0]),
        "C-index": float(c_index(cases.grades, cases.graded_score, once)[0]),
        "cut": auc_score(cases.grades >= 1, cases.graded_score),
        "mean absolute error": float(np.abs(cases.grades - cases.graded).mean()),
        "accuracy": float((cases.grades == cases.graded).mean()),
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
