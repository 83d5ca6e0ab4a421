"""Readers, and seeds as readers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.coverage.cases import Cases, Scenario, mean_reader_auc, mean_seed_auc
from benchmarks.coverage.outcome import Outcome
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.clusters.units import cluster_codes
from dsmt_nnunet.statistics.readers.against_model import model_against_readers
from dsmt_nnunet.statistics.readers.obuchowski_rockette import single_modality_mean
from dsmt_nnunet.statistics.readers.seeds import CohortScores, compare_over_seeds, seed_contrast
from dsmt_nnunet.statistics.roc.clustered import clustered_aucs
from dsmt_nnunet.statistics.roc.delong import structural_components
from dsmt_nnunet.statistics.t_test import bounded_interval


def reader_outcomes(scenario: Scenario, cases: Cases, settings: EvaluationSettings) -> Iterator[Outcome]:
    """Five readers of different skill, and a model as good as the mean of all readers."""
    labels, codes = cases.labels, cluster_codes(cases.patients, len(cases.labels))
    found = clustered_aucs(labels, structural_components(labels, cases.ratings), codes)
    mean = single_modality_mean("readers", found.auc, found.covariance, "random readers and cases", 0.95)
    ci = bounded_interval(mean.estimate, mean.se, mean.df, 0.95)
    yield Outcome("mean AUC of 5 readers, readers and cases random", ci, mean_reader_auc(scenario))
    against = model_against_readers(labels, cases.model, cases.ratings, 0.95, cases.patients)
    yield Outcome("model less 5 readers, readers and cases random", against.ci, 0, against.p_value)


def seed_outcomes(scenario: Scenario, cases: Cases, settings: EvaluationSettings) -> Iterator[Outcome]:
    """Two procedures with three seeds each, which differ in nothing; two cohorts, which differ in nothing."""
    labels, patients = cases.labels, cases.patients
    over = compare_over_seeds(labels, cases.seeds[0], cases.seeds[1], patients)
    yield Outcome("mean AUC of 3 seeds, seeds and cases random", over.first.ci, mean_seed_auc(scenario))
    yield Outcome("difference over 3 seeds, seeds and cases random", over.ci, 0, over.p_value)
    yield Outcome("difference over 3 seeds, seeds fixed (not used)", None, np.nan, over.p_fixed_seeds)
    half = patients % 4 < 2
    parts = [
        CohortScores(labels[part], cases.seeds[0][:, part], clusters=patients[part], sign=sign)
        for part, sign in ((half, 1), (~half, -1))
    ]
    if all(0 < item.sum() < len(item) for item in (labels[half], labels[~half])):
        drop = seed_contrast(parts)
        yield Outcome("drop between two cohorts over 3 seeds", drop.ci, 0, drop.p_value)
