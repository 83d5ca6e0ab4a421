"""What is reported of one score: discrimination, calibration, and every operating point."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

from dsmt_nnunet.evaluation.auc import quoted_auc
from dsmt_nnunet.evaluation.measures import estimates
from dsmt_nnunet.evaluation.records.score import Calibration, OperatingPoint, Score
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.calibration.bins import ECE_DEFINITION, ece_if_calibrated, expected_calibration_error
from dsmt_nnunet.statistics.calibration.brier import brier_parts
from dsmt_nnunet.statistics.calibration.clipping import LOWEST_PROBABILITY, n_clipped
from dsmt_nnunet.statistics.calibration.logistic import logistic_calibration
from dsmt_nnunet.statistics.calibration.scaling import DEFAULT_THRESHOLD
from dsmt_nnunet.statistics.checks import SMALL_SAMPLE, BoolArray, FloatArray
from dsmt_nnunet.statistics.clusters.ratio import clustered_mean
from dsmt_nnunet.statistics.clusters.units import Clusters
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.statistics.decisions.elsewhere import chosen_elsewhere
from dsmt_nnunet.statistics.decisions.metrics import decision_metrics
from dsmt_nnunet.statistics.decisions.prevalence import AtPrevalence, at_prevalence
from dsmt_nnunet.statistics.decisions.threshold import youden_threshold
from dsmt_nnunet.statistics.named_warnings import (
    CalibrationWarning,
    NotAProbabilityWarning,
    SmallSampleWarning,
    ThresholdWarning,
)
from dsmt_nnunet.statistics.roc.partial import PartialAuc, partial_auc, partial_fold_auc

CHOSEN_ON_REPORTED_DATA = (
    "The threshold was chosen on the cases it is reported on: sensitivity, specificity and everything that follows "
    "from them are optimistic and must not be quoted as performance on new cases."
)


def evaluate_score(
    table: ScoreTable, name: str, settings: EvaluationSettings, probability: bool | None = None
) -> Score:
    """Everything of one score of a table.

    Args:
        table: the cases.
        name: of the score.
        settings: how intervals are made.
        probability: whether the score is a probability; None to judge by its range.
    """
    if len(table) < SMALL_SAMPLE:
        warnings.warn(
            f"{len(table)} cases only: asymptotic intervals and tests are not to be trusted.", SmallSampleWarning
        )
    return widened(
        Score,
        quoted_auc(table, name, settings.level),
        calibration(table.y_true, table.scores[name], settings.level, table.clusters, probability),
        n=len(table),
        n_positive=int(table.y_true.sum()),
        estimates=estimates(table, name, settings),
        partial_auc=_partial(table, name, settings),
        operating_points=tuple(_point(table, name, item, settings) for item in table.decisions.get(name, ())),
    )


def _partial(table: ScoreTable, name: str, settings: EvaluationSettings) -> PartialAuc | None:
    lowest = settings.partial_specificity
    if lowest is None:
        return None
    if table.folds is not None:
        return partial_fold_auc(table.y_true, table.scores[name], table.folds, lowest, settings.level)
    return partial_auc(table.y_true, table.scores[name], lowest, table.clusters, settings.level)


def _point(table: ScoreTable, name: str, decisions: Decisions, settings: EvaluationSettings) -> OperatingPoint:
    """An operating point; of a threshold chosen on these cases also what it gives elsewhere."""
    point = operating_point(table.y_true, decisions, settings, table.clusters)
    if not decisions.chosen_on_reported_data or not settings.n_resamples:
        return point
    found = chosen_elsewhere(
        table.y_true,
        table.scores[name],
        youden_threshold,
        table.clusters,
        settings.level,
        settings.n_resamples,
        settings.seed,
    )
    return replace(point, elsewhere=found)


def is_probability(y_score: FloatArray) -> bool:
    """Whether all scores lie in 0 to 1."""
    return not len(y_score) or bool(y_score.min() >= 0 and y_score.max() <= 1)


def calibration(
    y_true: BoolArray,
    y_score: FloatArray,
    level: float,
    clusters: Clusters = None,
    probability: bool | None = None,
) -> Calibration:
    """Brier score, expected calibration error, slope and intercept; NaN for scores that are no probabilities."""
    if probability is None and not is_probability(y_score):
        warnings.warn(
            "The score leaves 0 to 1: Brier score, calibration and decision curve are for probabilities only.",
            NotAProbabilityWarning,
        )
    if probability is False or not is_probability(y_score) or not len(y_score):
        return Calibration(
            brier=math.nan,
            brier_ci=None,
            ece=math.nan,
            ece_if_calibrated=math.nan,
            ece_debiased=math.nan,
            n_clipped=0,
            calibration_slope=math.nan,
            calibration_slope_ci=None,
            calibration_intercept=math.nan,
            calibration_intercept_ci=None,
            calibration_intercept_with_slope=math.nan,
            ece_definition=ECE_DEFINITION,
        )
    fit = logistic_calibration(y_true, y_score, level, clusters)
    brier = clustered_mean((y_score - y_true) ** 2, clusters, level, upper=1.0)
    ece, by_chance = expected_calibration_error(y_true, y_score), ece_if_calibrated(y_score)
    lost = n_clipped(y_score)
    if lost:
        warnings.warn(
            f"{lost} of {len(y_score)} probabilities lie nearer to 0 or 1 than {LOWEST_PROBABILITY:g}; slope and "
            f"intercept take them for that.",
            CalibrationWarning,
        )
    return Calibration(
        brier=brier.estimate,
        brier_parts=brier_parts(y_true, y_score),
        brier_ci=brier.ci,
        ece=ece,
        ece_if_calibrated=by_chance,
        ece_debiased=max(ece - by_chance, 0.0),
        n_clipped=lost,
        calibration_slope=fit.slope,
        calibration_slope_ci=fit.slope_ci,
        calibration_intercept=fit.intercept,
        calibration_intercept_ci=fit.intercept_ci,
        calibration_intercept_with_slope=fit.intercept_with_slope,
        ece_definition=ECE_DEFINITION,
    )


def operating_point(
    y_true: BoolArray, decisions: Decisions, settings: EvaluationSettings, clusters: Clusters = None
) -> OperatingPoint:
    """One operating point: counts, and metrics with intervals over patients."""
    metrics = decision_metrics(y_true, decisions.called_positive, settings.interval, settings.level, clusters)
    if decisions.chosen_on_reported_data:
        warnings.warn(CHOSEN_ON_REPORTED_DATA, ThresholdWarning)
    return OperatingPoint(
        threshold=decisions.threshold,
        threshold_source=decisions.source,
        threshold_chosen_on_reported_data=decisions.chosen_on_reported_data,
        n=len(y_true),
        tp=metrics.tp,
        fp=metrics.fp,
        tn=metrics.tn,
        fn=metrics.fn,
        sensitivity=metrics.sensitivity.value,
        sensitivity_ci=metrics.sensitivity.ci,
        specificity=metrics.specificity.value,
        specificity_ci=metrics.specificity.ci,
        ppv=metrics.ppv.value,
        ppv_ci=metrics.ppv.ci,
        npv=metrics.npv.value,
        npv_ci=metrics.npv.ci,
        f1=metrics.f1.value,
        f1_ci=metrics.f1.ci,
        accuracy=metrics.accuracy.value,
        accuracy_ci=metrics.accuracy.ci,
        note=CHOSEN_ON_REPORTED_DATA if decisions.chosen_on_reported_data else None,
        at_prevalence=_at_prevalence(y_true, decisions, settings, clusters),
    )


def _at_prevalence(
    y_true: BoolArray, decisions: Decisions, settings: EvaluationSettings, clusters: Clusters
) -> AtPrevalence | None:
    """At the prevalence that was stated, net benefit at the threshold where that is a probability, else at 0.5."""
    if settings.prevalence is None or y_true.all() or not y_true.any():
        return None
    odds = decisions.threshold if 0 < decisions.threshold < 1 else DEFAULT_THRESHOLD
    return at_prevalence(y_true, decisions.called_positive, settings.prevalence, odds, clusters, settings.level)
