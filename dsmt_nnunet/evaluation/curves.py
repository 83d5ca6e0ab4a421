"""The points that figures are drawn from."""

from __future__ import annotations

from sklearn.metrics import precision_recall_curve

from dsmt_nnunet.evaluation.records.curves import DecisionCurve, PrecisionRecall, ScoreCurves
from dsmt_nnunet.evaluation.score import is_probability
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.calibration.bins import calibration_bins
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray
from dsmt_nnunet.statistics.decisions.curve import decision_curve
from dsmt_nnunet.statistics.resampling import Resampler
from dsmt_nnunet.statistics.roc.curve import roc_band, roc_curve


def score_curves(
    y_true: BoolArray,
    y_score: FloatArray,
    y_prob: FloatArray,
    settings: EvaluationSettings,
    resampler: Resampler | None,
) -> ScoreCurves:
    """ROC, precision-recall, calibration and decision curve of one score.

    Args:
        y_true: labels, shape (N,).
        y_score: scores for ROC and precision-recall, shape (N,).
        y_prob: probabilities for calibration (the scores themselves, unless they were recalibrated), shape (N,).
        settings: how intervals are made.
        resampler: for the band of the ROC curve.
    """
    both = None
    if y_true.any() and not y_true.all():
        precision, recall, thresholds = precision_recall_curve(y_true, y_score)
        both = PrecisionRecall(precision=precision, recall=recall, thresholds=thresholds)
    return ScoreCurves(
        roc=roc_curve(y_true, y_score),
        roc_band=None if resampler is None else roc_band(y_true, y_score, resampler, settings.level),
        precision_recall=both,
        calibration=calibration_bins(y_true, y_prob, level=settings.level) if is_probability(y_prob) else None,
        decision_curve=net_benefit(y_true, y_prob),
    )


def net_benefit(y_true: BoolArray, y_prob: FloatArray) -> DecisionCurve | None:
    """Net benefit of the model, of all and of none; None for scores that are no probabilities."""
    if not is_probability(y_prob) or not len(y_prob):
        return None
    curve = decision_curve(y_true, y_prob)
    return DecisionCurve(
        threshold=curve.thresholds,
        net_benefit_model=curve.model,
        net_benefit_all=curve.treat_all,
        net_benefit_none=curve.treat_none,
    )
