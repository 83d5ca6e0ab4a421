"""The points that figures are drawn from."""

from __future__ import annotations

from typing import Any

from sklearn.metrics import precision_recall_curve

from dsmt_nnunet.evaluation.score import is_probability
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.calibration.bins import calibration_bins
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray
from dsmt_nnunet.statistics.decisions.curve import decision_curve
from dsmt_nnunet.statistics.resampling import Resampler
from dsmt_nnunet.statistics.roc.curve import roc_band, roc_curve


def curve_block(
    y_true: BoolArray,
    y_score: FloatArray,
    y_prob: FloatArray,
    settings: EvaluationSettings,
    resampler: Resampler | None,
) -> dict[str, Any]:
    """ROC, precision-recall and calibration of one score, as `curves.json` holds them.

    Args:
        y_true: labels, shape (N,).
        y_score: scores for ROC and precision-recall, shape (N,).
        y_prob: probabilities for calibration (the scores themselves, unless they were recalibrated), shape (N,).
        settings: how intervals are made.
        resampler: for the band of the ROC curve.
    """
    block: dict[str, Any] = {"roc": roc_curve(y_true, y_score)}
    block["roc_band"] = None if resampler is None else roc_band(y_true, y_score, resampler, settings.level)
    block["precision_recall"] = None
    if y_true.any() and not y_true.all():
        precision, recall, thresholds = precision_recall_curve(y_true, y_score)
        block["precision_recall"] = {"precision": precision, "recall": recall, "thresholds": thresholds}
    block["calibration"] = calibration_bins(y_true, y_prob, level=settings.level) if is_probability(y_prob) else None
    return block


def decision_curve_block(y_true: BoolArray, y_prob: FloatArray) -> dict[str, Any] | None:
    """Net benefit of the model, of all and of none; None for scores that are no probabilities."""
    if not is_probability(y_prob) or not len(y_prob):
        return None
    curve = decision_curve(y_true, y_prob)
    return {
        "threshold": curve.thresholds,
        "net_benefit_model": curve.model,
        "net_benefit_all": curve.treat_all,
        "net_benefit_none": curve.treat_none,
    }
