"""Temperature and threshold from out-of-fold predictions, and decisions that no fold chose for itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from dsmt_nnunet.predictions.operating_point import TaskOperatingPoint
from dsmt_nnunet.statistics.calibration.scaling import DEFAULT_THRESHOLD, apply_temperature
from dsmt_nnunet.statistics.calibration.temperature import fit_temperature
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.decisions.threshold import (
    ThresholdChoice,
    sensitivity_to_expect,
    target_sensitivity_threshold,
    youden_threshold,
)
from dsmt_nnunet.statistics.named_warnings import ThresholdWarning


@dataclass(frozen=True)
class FoldChoice:
    """What the other folds chose for one fold; the threshold is NaN for a multi-class task."""

    fold: int
    temperature: float
    threshold: float


@dataclass(frozen=True)
class NestedCalibration:
    """Every case treated with what the other folds chose.

    Attributes:
        choices: one a fold.
        probs: calibrated probabilities, shape (N, K).
        called_positive: decisions of a binary task, shape (N,); empty for a multi-class one.
    """

    choices: tuple[FoldChoice, ...]
    probs: FloatArray
    called_positive: BoolArray


def choose_operating_point(
    labels: IntArray, probs: FloatArray, target_sensitivity: float | None = None, clusters: Clusters = None
) -> TaskOperatingPoint:
    """Temperature by likelihood, then the threshold on the calibrated probability of the positive class.

    Where a class is missing the threshold stays 0.5 with a `ThresholdWarning`. A multi-class task gets no threshold.

    Args:
        labels: class indices, shape (N,).
        probs: uncalibrated out-of-fold probabilities, shape (N, K).
        target_sensitivity: sensitivity to reach; None for Youden's J.
        clusters: patient of each case.

    Returns:
        Its `details` tell `sensitivity_to_expect` on other cases, with limits: a threshold aimed at 0.95 of 20
        positives gives 0.91 on average.
    """
    temperature = fit_temperature(labels, probs, clusters)
    if probs.shape[1] > 2:
        return TaskOperatingPoint(temperature, None, "most probable class", {"n": len(labels)})
    n_positive = int((labels == 1).sum())
    details: dict[str, object] = {"n": len(labels), "n_positive": n_positive}
    if target_sensitivity is not None:
        details["target_sensitivity"] = target_sensitivity
    if n_positive in (0, len(labels)):
        warnings.warn(
            f"{n_positive} of {len(labels)} cases are positive; the threshold stays {DEFAULT_THRESHOLD:g}.",
            ThresholdWarning,
            stacklevel=2,
        )
        return TaskOperatingPoint(temperature, DEFAULT_THRESHOLD, "default, one class only", details)
    choice = _choose(labels == 1, apply_temperature(probs, temperature)[:, 1], target_sensitivity)
    if choice.sensitivity > 0:
        n_patients = len(np.unique(cluster_codes(clusters, len(labels))[labels == 1]))
        expected = sensitivity_to_expect(choice.sensitivity, n_patients)
        details |= {"sensitivity_to_expect": expected.mean, "sensitivity_to_expect_ci": list(expected.ci)}
    return TaskOperatingPoint(temperature, float(np.clip(choice.threshold, 0.0, 1.0)), choice.method, details)


def nested_calibration(
    labels: IntArray,
    probs: FloatArray,
    folds: IntArray,
    target_sensitivity: float | None = None,
    clusters: Clusters = None,
) -> NestedCalibration:
    """Temperature and threshold of each fold chosen on the other folds.

    Raises:
        ValueError: fewer than two folds.
    """
    names, codes = np.unique(folds), cluster_codes(clusters, len(labels))
    if len(names) < 2:
        raise ValueError(f"Choosing on the other folds needs at least two folds, got {names.tolist()}.")
    calibrated = np.empty_like(probs)
    called = np.zeros(len(labels) if probs.shape[1] == 2 else 0, dtype=bool)
    choices = []
    for fold in names.tolist():
        inside = folds == fold
        point = choose_operating_point(labels[~inside], probs[~inside], target_sensitivity, codes[~inside])
        calibrated[inside] = apply_temperature(probs[inside], point.temperature)
        threshold = float("nan") if point.threshold is None else point.threshold
        if probs.shape[1] == 2:
            called[inside] = calibrated[inside, 1] >= threshold
        choices.append(FoldChoice(int(fold), point.temperature, threshold))
    return NestedCalibration(tuple(choices), calibrated, called)


def _choose(y_true: BoolArray, y_score: FloatArray, target_sensitivity: float | None) -> ThresholdChoice:
    if target_sensitivity is None:
        return youden_threshold(y_true, y_score)
    return target_sensitivity_threshold(y_true, y_score, target_sensitivity)
