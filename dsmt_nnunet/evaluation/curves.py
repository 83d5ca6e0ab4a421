"""The points that figures are drawn from."""

from __future__ import annotations

from sklearn.metrics import precision_recall_curve

from dsmt_nnunet.evaluation.records.curves import DecisionCurve, PrecisionRecall, ScoreCurves
from dsmt_nnunet.evaluation.score import is_probability
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.calibration.bins import calibration_bins
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray
from dsmt_nnunet.statistics.decisions.curve import decision_curve
from dsmt_nnunet.statistics.resampling import Resampler
from dsmt_nnunet.statistics.roc.curve import roc_band, roc_curve


def score_curves(
    table: ScoreTable,
    name: str,
    y_prob: FloatArray,
    settings: EvaluationSettings,
    resampler: Resampler | None,
) -> ScoreCurves:
    """ROC, precision-recall, calibration and decision curve of one score, folds pooled.

    Args:
        table: the cases.
        name: of the score.
        y_prob: probabilities for calibration (the scores themselves, unless they were recalibrated), shape (N,).
        settings: how intervals are made.
        resampler: for the band of the ROC curve.
    """
    y_true, y_score, both = table.y_true, table.scores[name], None
    if y_true.any() and not y_true.all():
        precision, recall, thresholds = precision_recall_curve(y_true, y_score)
        both = PrecisionRecall(precision=precision, recall=recall, thresholds=thresholds)
    bins = None
    if is_probability(y_prob):
        bins = calibration_bins(y_true, y_prob, level=settings.level, clusters=table.clusters)
    return ScoreCurves(
        roc=roc_curve(y_true, y_score),
        roc_band=None if resampler is None else roc_band(y_true, y_score, resampler, settings.level),
        precision_recall=both,
        calibration=bins,
        decision_curve=net_benefit(y_true, y_prob, settings.prevalence),
    )


def net_benefit(y_true: BoolArray, y_prob: FloatArray, prevalence: float | None = None) -> DecisionCurve | None:
    """Net benefit of the model, of all and of none; None for scores that are no probabilities."""
    if not is_probability(y_prob) or not len(y_prob):
        return None
    curve = decision_curve(y_true, y_prob, prevalence=prevalence)
    return DecisionCurve(
        prevalence=curve.prevalence,
        threshold=curve.thresholds,
        net_benefit_model=curve.model,
        net_benefit_all=curve.treat_all,
        net_benefit_none=curve.treat_none,
    )
