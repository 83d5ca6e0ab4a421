"""Evaluation of a table of scores: everything that is reported of it, and the points its figures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dsmt_nnunet.evaluation.agreement import readers_agreement
from dsmt_nnunet.evaluation.comparisons import compare_scores, joint_test
from dsmt_nnunet.evaluation.curves import score_curves
from dsmt_nnunet.evaluation.interactions import interactions_of
from dsmt_nnunet.evaluation.readers import evaluate_readers, readers_together
from dsmt_nnunet.evaluation.records.comparisons import Comparisons
from dsmt_nnunet.evaluation.records.curves import ScoreCurves
from dsmt_nnunet.evaluation.records.score import Score
from dsmt_nnunet.evaluation.score import calibration, evaluate_score
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.subgroups import evaluate_subgroups
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.checks import FloatArray
from dsmt_nnunet.statistics.named_warnings import OneCaseInClassWarning, ThresholdWarning, WarningLog


@dataclass(frozen=True)
class TableResult:
    """What is reported of a table.

    Attributes:
        scores: name -> score.
        curves: name -> the points of its figures.
        comparisons: of scores, levels and readers.
    """

    scores: dict[str, Score]
    curves: dict[str, ScoreCurves]
    comparisons: Comparisons


def evaluate_table(
    table: ScoreTable,
    settings: EvaluationSettings,
    log: WarningLog,
    probabilities: Mapping[str, FloatArray] | None = None,
    everyone: ScoreTable | None = None,
) -> TableResult:
    """Evaluates all scores of a table.

    Args:
        table: cases, truth, scores, readers, groups.
        settings: how intervals are made.
        log: takes the named warnings.
        probabilities: score name -> recalibrated probabilities, which calibration and decision curve then use.
        everyone: the table on which readers are compared with the scores, where it holds more cases.
    """
    resampler = table.resampler(settings)
    if resampler is None and settings.n_resamples and 0 < table.y_true.sum() < len(table):
        message = "A class is held by a single case or patient; there is no bootstrap interval."
        log.add(OneCaseInClassWarning, "cases", message)
    scores: dict[str, Score] = {}
    curves: dict[str, ScoreCurves] = {}
    for name, values in table.scores.items():
        decisions = table.decisions.get(name, ())
        if not decisions:
            message = "No threshold was stated and the score is no probability: there is no operating point."
            log.add(ThresholdWarning, name, message)
        probs = (probabilities or {}).get(name, values)
        with log.collect(name):
            score = evaluate_score(table, name, settings)
            if probs is not values:
                score = widened(Score, score, calibration(table.y_true, probs, settings.level, table.clusters))
            scores[name] = score
            curves[name] = score_curves(table, name, probs, settings, resampler)
    between_scores = compare_scores(table, settings, log)
    subgroups, between_levels = evaluate_subgroups(table, settings, log)
    comparisons = Comparisons(
        interactions=interactions_of(table, log),
        agreement=readers_agreement(everyone or table, settings, log),
        clustered=table.is_clustered,
        n_clusters=table.n_clusters,
        comparisons=(*between_scores, *between_levels),
        comparison_joint=joint_test(table),
        readers=evaluate_readers(everyone or table, settings, log),
        multi_reader=readers_together(everyone or table, settings, log),
        subgroups=subgroups,
    )
    return TableResult(scores, curves, comparisons)


def score_rows(table: ScoreTable) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of scores.csv: one row a case with truth, scores, decisions, ratings, groups and cluster."""
    columns = ["case", "truth", *table.scores]
    columns += [f"{name}_decision" for name in table.scores if table.decisions.get(name)]
    columns += [*table.readers, *(name for name in table.groups if name not in columns)]
    cluster = [] if table.clusters is None else ["cluster"]
    cluster += [] if table.folds is None else ["fold"]
    rows: list[list[object]] = []
    for index in range(len(table)):
        row: list[object] = [table.case_names[index], int(table.y_true[index])]
        row += [float(values[index]) for values in table.scores.values()]
        row += [int(items[0].called_positive[index]) for items in table.decisions.values() if items]
        row += ["" if np.isnan(ratings[index]) else float(ratings[index]) for ratings in table.readers.values()]
        row += [values[index] for name, values in table.groups.items() if name in columns]
        row += [] if table.clusters is None else [table.clusters[index]]
        row += [] if table.folds is None else [int(table.folds[index])]
        rows.append(row)
    return columns + cluster, rows
