"""What is reported of one score: discrimination, calibration, and every operating point."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.calibration.bins import ECE_DEFINITION, expected_calibration_error
from dsmt_nnunet.statistics.calibration.logistic import logistic_calibration
from dsmt_nnunet.statistics.checks import SMALL_SAMPLE, BoolArray, FloatArray
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.statistics.decisions.metrics import METRIC_NAMES, decision_metrics, weighted_decision_metrics
from dsmt_nnunet.statistics.named_warnings import NotAProbabilityWarning, SmallSampleWarning, ThresholdWarning
from dsmt_nnunet.statistics.proportions import UNDEFINED
from dsmt_nnunet.statistics.resampling import Resampler, percentile_interval, resampled_aucs
from dsmt_nnunet.statistics.roc.interval import delong_interval

CHOSEN_ON_REPORTED_DATA = (
    "The threshold was chosen on the cases it is reported on: sensitivity, specificity and everything that follows "
    "from them are optimistic and must not be quoted as performance on new cases."
)
_CALIBRATION_KEYS = (
    "brier",
    "ece",
    "calibration_slope",
    "calibration_slope_ci",
    "calibration_intercept",
    "calibration_intercept_ci",
    "calibration_intercept_with_slope",
)


def score_block(
    y_true: BoolArray,
    y_score: FloatArray,
    decisions: Sequence[Decisions],
    settings: EvaluationSettings,
    resampler: Resampler | None,
    clustered: bool = False,
    probability: bool | None = None,
) -> dict[str, Any]:
    """Everything of one score, as `metrics.json` holds it.

    Args:
        y_true: labels, shape (N,).
        y_score: scores, shape (N,).
        decisions: operating points.
        settings: how intervals are made.
        resampler: of these cases; None leaves bootstrap intervals undefined.
        clustered: several cases of a patient: operating points get bootstrap intervals too, and those are to be quoted.
        probability: whether the score is a probability; None to judge by its range.
    """
    if len(y_true) < SMALL_SAMPLE:
        warnings.warn(
            f"{len(y_true)} cases only: asymptotic intervals and tests are not to be trusted.", SmallSampleWarning
        )
    interval = delong_interval(y_true, y_score, settings.level)
    bootstrap = UNDEFINED
    if resampler is not None:
        bootstrap = percentile_interval(resampled_aucs(y_true, y_score, resampler)[:, 0], settings.level)
    return {
        "type": "binary",
        "n": len(y_true),
        "n_positive": int(y_true.sum()),
        "auc": interval.auc,
        "auc_se_delong": interval.se,
        "auc_ci_delong": (interval.lower, interval.upper),
        "auc_ci_method": interval.method,
        "auc_ci_bootstrap": bootstrap,
        "auc_ci_to_quote": "auc_ci_bootstrap" if clustered and not math.isnan(bootstrap[0]) else "auc_ci_delong",
        "average_precision": average_precision(y_true, y_score),
        **calibration_block(y_true, y_score, settings.level, probability),
        "operating_points": [
            operating_point_block(y_true, item, settings, resampler if clustered else None) for item in decisions
        ],
    }


def average_precision(y_true: BoolArray, y_score: FloatArray) -> float:
    """Average precision (scikit-learn: the step-wise sum, no interpolation); NaN for one class."""
    if y_true.all() or not y_true.any():
        return float("nan")
    return float(average_precision_score(y_true, y_score))


def is_probability(y_score: FloatArray) -> bool:
    """Whether all scores lie in 0 to 1."""
    return not len(y_score) or bool(y_score.min() >= 0 and y_score.max() <= 1)


def calibration_block(
    y_true: BoolArray, y_score: FloatArray, level: float, probability: bool | None = None
) -> dict[str, Any]:
    """Brier score, expected calibration error, slope and intercept; NaN for scores that are no probabilities."""
    if probability is None and not is_probability(y_score):
        warnings.warn(
            "The score leaves 0 to 1: Brier score, calibration and decision curve are for probabilities only.",
            NotAProbabilityWarning,
        )
    if probability is False or not is_probability(y_score) or not len(y_score):
        return dict.fromkeys(_CALIBRATION_KEYS, float("nan")) | {"ece_definition": ECE_DEFINITION}
    fit = logistic_calibration(y_true, y_score, level)
    values = (
        float(np.mean((y_score - y_true) ** 2)),
        expected_calibration_error(y_true, y_score),
        fit.slope,
        fit.slope_ci,
        fit.intercept,
        fit.intercept_ci,
        fit.intercept_with_slope,
    )
    return dict(zip(_CALIBRATION_KEYS, values, strict=True)) | {"ece_definition": ECE_DEFINITION}


def operating_point_block(
    y_true: BoolArray, decisions: Decisions, settings: EvaluationSettings, resampler: Resampler | None
) -> dict[str, Any]:
    """One operating point: counts, metrics and `<metric>_ci`; with a resampler `<metric>_ci_bootstrap` too."""
    metrics = decision_metrics(y_true, decisions.called_positive, settings.interval, settings.level)
    block: dict[str, Any] = {
        "threshold": decisions.threshold,
        "threshold_source": decisions.source,
        "threshold_chosen_on_reported_data": decisions.chosen_on_reported_data,
        "n": len(y_true),
        "tp": metrics.tp,
        "fp": metrics.fp,
        "tn": metrics.tn,
        "fn": metrics.fn,
    }
    if decisions.chosen_on_reported_data:
        block["note"] = CHOSEN_ON_REPORTED_DATA
        warnings.warn(CHOSEN_ON_REPORTED_DATA, ThresholdWarning)
    for name in METRIC_NAMES:
        value = getattr(metrics, name)
        block[name], block[f"{name}_ci"] = value.value, value.ci
    if resampler is not None:
        samples = [
            weighted_decision_metrics(y_true, decisions.called_positive, weights) for weights in resampler.weights()
        ]
        for name in METRIC_NAMES:
            values = np.concatenate([sample[name] for sample in samples])
            block[f"{name}_ci_bootstrap"] = percentile_interval(values, settings.level)
    return block
