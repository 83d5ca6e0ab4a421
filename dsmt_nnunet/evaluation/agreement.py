"""How far the readers of a table agree with each other, whatever the truth."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from dsmt_nnunet.evaluation.records.agreement import Agreement, AgreementOfAll, AgreementOfPair
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray
from dsmt_nnunet.statistics.named_warnings import WarningLog
from dsmt_nnunet.statistics.readers.agreement import fleiss, krippendorff_alpha, weighted_kappa

MAX_CATEGORIES = 12
MIN_CASES = 5
"""Cases that two readers must share for their agreement to be given."""


def readers_agreement(table: ScoreTable, settings: EvaluationSettings, log: WarningLog) -> Agreement | None:
    """Quadratic kappa of each pair, Fleiss' kappa and Krippendorff's alpha of all.

    None for fewer than two readers, without a bootstrap (each has an interval), and for ratings of more than
    `MAX_CATEGORIES` values, which are no categories.
    """
    names = list(table.readers)
    if len(names) < 2:
        return None
    ratings = np.stack([table.readers[name] for name in names], axis=1)
    values = np.unique(ratings[np.isfinite(ratings)])
    if not 2 <= len(values) <= MAX_CATEGORIES:
        return None
    grades = np.where(np.isfinite(ratings), np.searchsorted(values, ratings), np.nan)
    with log.collect("agreement of readers"):
        pairs = [
            pair
            for first, second in combinations(range(len(names)), 2)
            if (pair := _pair(table, names, grades, (first, second), len(values), settings)) is not None
        ]
        return Agreement(categories=tuple(values.tolist()), pairs=tuple(pairs), all=_all(table, grades, settings))


def _pair(
    table: ScoreTable,
    names: list[str],
    grades: FloatArray,
    pair: tuple[int, int],
    n_grades: int,
    settings: EvaluationSettings,
) -> AgreementOfPair | None:
    both = np.asarray(np.isfinite(grades[:, list(pair)]).all(axis=1), dtype=bool)
    if both.sum() < MIN_CASES:
        return None
    one, other = (grades[both, index].astype(np.int64) for index in pair)
    found = weighted_kappa(one, other, n_grades, _patients(table, both), settings.level)
    return AgreementOfPair(
        readers=(names[pair[0]], names[pair[1]]),
        n=int(both.sum()),
        equal=float((one == other).mean()),
        quadratic_kappa=found.estimate,
        quadratic_kappa_ci=found.ci,
    )


def _all(table: ScoreTable, grades: FloatArray, settings: EvaluationSettings) -> AgreementOfAll | None:
    rated = np.isfinite(grades).sum(axis=1)
    met = np.asarray(rated >= 2, dtype=bool)
    if met.sum() < MIN_CASES:
        return None
    alpha = krippendorff_alpha(grades[met], "ordinal", _patients(table, met), settings.level)
    complete = np.asarray(rated == grades.shape[1], dtype=bool)
    kappa = None
    if complete.sum() >= MIN_CASES:
        kappa = fleiss(grades[complete].astype(np.int64), _patients(table, complete), settings.level)
    return AgreementOfAll(
        n=int(met.sum()),
        alpha=alpha.estimate,
        alpha_ci=alpha.ci,
        n_complete=int(complete.sum()),
        fleiss_kappa=None if kappa is None else kappa.estimate,
        fleiss_kappa_ci=None if kappa is None else kappa.ci,
    )


def _patients(table: ScoreTable, chosen: BoolArray) -> tuple[str, ...] | None:
    return table.subset(chosen).clusters
