"""What is reported of one score: discrimination, calibration, and every operating point."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import average_precision_score

from dsmt_nnunet.evaluation.records.score import Calibration, Interval, OperatingPoint, Score
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.records import widened
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


def evaluate_score(
    y_true: BoolArray,
    y_score: FloatArray,
    decisions: Sequence[Decisions],
    settings: EvaluationSettings,
    resampler: Resampler | None,
    clustered: bool = False,
    probability: bool | None = None,
) -> Score:
    """Everything of one score.

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
    return widened(
        Score,
        calibration(y_true, y_score, settings.level, probability),
        n=len(y_true),
        n_positive=int(y_true.sum()),
        auc=interval.auc,
        auc_se_delong=interval.se,
        auc_ci_delong=(interval.lower, interval.upper),
        auc_ci_method=interval.method,
        auc_ci_bootstrap=bootstrap,
        auc_ci_to_quote="auc_ci_bootstrap" if clustered and not math.isnan(bootstrap[0]) else "auc_ci_delong",
        average_precision=average_precision(y_true, y_score),
        operating_points=tuple(
            operating_point(y_true, item, settings, resampler if clustered else None) for item in decisions
        ),
    )


def average_precision(y_true: BoolArray, y_score: FloatArray) -> float:
    """Average precision (scikit-learn: the step-wise sum, no interpolation); NaN for one class."""
    if y_true.all() or not y_true.any():
        return float("nan")
    return float(average_precision_score(y_true, y_score))


def is_probability(y_score: FloatArray) -> bool:
    """Whether all scores lie in 0 to 1."""
    return not len(y_score) or bool(y_score.min() >= 0 and y_score.max() <= 1)


def calibration(y_true: BoolArray, y_score: FloatArray, level: float, probability: bool | None = None) -> Calibration:
    """Brier score, expected calibration error, slope and intercept; NaN for scores that are no probabilities."""
    if probability is None and not is_probability(y_score):
        warnings.warn(
            "The score leaves 0 to 1: Brier score, calibration and decision curve are for probabilities only.",
            NotAProbabilityWarning,
        )
    if probability is False or not is_probability(y_score) or not len(y_score):
        return Calibration(
            brier=math.nan,
            ece=math.nan,
            calibration_slope=math.nan,
            calibration_slope_ci=None,
            calibration_intercept=math.nan,
            calibration_intercept_ci=None,
            calibration_intercept_with_slope=math.nan,
            ece_definition=ECE_DEFINITION,
        )
    fit = logistic_calibration(y_true, y_score, level)
    return Calibration(
        brier=float(np.mean((y_score - y_true) ** 2)),
        ece=expected_calibration_error(y_true, y_score),
        calibration_slope=fit.slope,
        calibration_slope_ci=fit.slope_ci,
        calibration_intercept=fit.intercept,
        calibration_intercept_ci=fit.intercept_ci,
        calibration_intercept_with_slope=fit.intercept_with_slope,
        ece_definition=ECE_DEFINITION,
    )


def operating_point(
    y_true: BoolArray, decisions: Decisions, settings: EvaluationSettings, resampler: Resampler | None
) -> OperatingPoint:
    """One operating point: counts and metrics with intervals; with a resampler bootstrap intervals too."""
    metrics = decision_metrics(y_true, decisions.called_positive, settings.interval, settings.level)
    if decisions.chosen_on_reported_data:
        warnings.warn(CHOSEN_ON_REPORTED_DATA, ThresholdWarning)
    intervals = {} if resampler is None else _bootstrap_intervals(y_true, decisions, settings, resampler)
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
        **{f"{name}_ci_bootstrap": interval for name, interval in intervals.items()},
    )


def _bootstrap_intervals(
    y_true: BoolArray, decisions: Decisions, settings: EvaluationSettings, resampler: Resampler
) -> dict[str, Interval]:
    """Metric -> percentile interval."""
    samples = [weighted_decision_metrics(y_true, decisions.called_positive, weights) for weights in resampler.weights()]
    return {
        name: percentile_interval(np.concatenate([sample[name] for sample in samples]), settings.level)
        for name in METRIC_NAMES
    }
