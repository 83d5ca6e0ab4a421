"""Cross-validations: least-squares models of five columns, which learn something or nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.stats import norm

from benchmarks.coverage.cases import Cases, Scenario, shared_normals
from benchmarks.coverage.outcome import Outcome
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.roc.fold_comparison import level_fold_comparison, mean_fold_auc, paired_fold_comparison
from dsmt_nnunet.statistics.roc.folds import crossval_auc

N_FOLDS, N_COLUMNS = 5, 5


def fold_outcomes(scenario: Scenario, cases: Cases, settings: EvaluationSettings) -> Iterator[Outcome]:
    """Five folds of patients, stratified by whether a patient has a positive case."""
    rng, labels = np.random.default_rng([settings.seed, 3]), cases.labels
    folds = _folds(labels, cases.patients, rng)
    apart = scenario.shift / math.sqrt(N_COLUMNS)
    learnt = [_out_of_fold(scenario, cases, folds, apart, rng) for _ in range(2)]
    nothing = [_out_of_fold(scenario, cases, folds, 0.0, rng) for _ in range(2)]
    found = crossval_auc(labels, learnt[0][0], folds, 0.95, cases.patients)
    yield Outcome("mean AUC of 5 folds, corrected t (the procedure)", found.ci, learnt[0][1], averaged=True)
    yield Outcome("mean AUC of 5 folds, LeDell (these models)", found.ci_these_models, learnt[0][1])
    chance = mean_fold_auc(labels, nothing[0][0], folds)
    yield Outcome("mean AUC of 5 folds where nothing is learnt, corrected t", chance.ci, 0.5, chance.p_value)
    for name, (first, second) in (("", learnt), (" where nothing is learnt", nothing)):
        pair = paired_fold_comparison(labels, first[0], second[0], folds)
        yield Outcome(f"difference within 5 folds{name}, corrected t", pair.ci, 0, pair.p_value)
    odd = np.arange(len(labels)) % 2 == 1
    level = level_fold_comparison(labels, learnt[0][0], (odd, ~odd), folds).difference
    yield Outcome("AUC at two levels within 5 folds, corrected t", level.ci, 0, level.p_value)


def _folds(labels: BoolArray, patients: IntArray, rng: np.random.Generator) -> IntArray:
    n_patients = int(patients.max()) + 1
    positive = np.bincount(patients, weights=labels, minlength=n_patients) > 0
    order = np.lexsort((rng.random(n_patients), positive))
    fold_of = np.empty(n_patients, dtype=np.int64)
    fold_of[order] = np.arange(n_patients) % N_FOLDS
    return fold_of[patients]


def _out_of_fold(
    scenario: Scenario, cases: Cases, folds: IntArray, apart: float, rng: np.random.Generator
) -> tuple[FloatArray, float]:
    """Scores of columns whose class means lie `apart`, and the mean of the models' true AUCs."""
    labels = cases.labels
    values = shared_normals(scenario, cases.patients, N_COLUMNS, rng).T + apart * labels[:, None]
    table, scores, aucs = np.c_[np.ones(len(labels)), values], np.zeros(len(labels)), []
    for fold in range(N_FOLDS):
        inside = folds == fold
        weights = np.linalg.lstsq(table[~inside], labels[~inside] * 1.0, rcond=None)[0]
        scores[inside] = table[inside] @ weights
        slopes = weights[1:]
        aucs.append(float(norm.cdf(apart * slopes.sum() / (math.sqrt(2) * np.linalg.norm(slopes)))))
    return scores, float(np.mean(aucs))
