"""Choosing a threshold; the choice belongs to other data than those it is reported on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from dsmt_nnunet.statistics.checks import FloatArray, binary_labels, finite_scores

ThresholdMethod = Literal["youden", "target_sensitivity", "target_specificity"]


@dataclass(frozen=True)
class ThresholdChoice:
    """A threshold, called positive at or above it, and what it gave on the data it was chosen on."""

    threshold: float
    sensitivity: float
    specificity: float
    method: ThresholdMethod


@dataclass(frozen=True)
class SensitivityToExpect:
    """What a threshold that was aimed at a sensitivity will give on other cases of the same kind.

    Attributes:
        mean: expected sensitivity.
        ci: limits between which the true sensitivity of the threshold lies.
        n_positive: positives (or patients with a positive case) that it was chosen on.
    """

    mean: float
    ci: tuple[float, float]
    n_positive: int


@dataclass(frozen=True)
class CutPoints:
    """Sensitivity and specificity of every distinct threshold, thresholds rising.

    Attributes:
        thresholds: the observed scores; the first calls every case positive.
        sensitivity: of the decisions score >= threshold.
        specificity: of the same.
    """

    thresholds: FloatArray
    sensitivity: FloatArray
    specificity: FloatArray

    def between(self, index: int) -> float:
        """A threshold with the same decisions as `thresholds[index]`, halfway to the next lower score.

        It does not sit on an observed score, so a last-digit difference of a stored score changes no decision.
        """
        upper = float(self.thresholds[index])
        if index == 0:
            return upper
        lower = float(self.thresholds[index - 1])
        middle = lower + (upper - lower) / 2
        return middle if middle > lower else upper


def cut_points(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> CutPoints:
    """All thresholds of a score; tied scores share one.

    Raises:
        ValueError: a class is missing, so that sensitivity or specificity is not defined.
    """
    labels = binary_labels(y_true)
    scores = finite_scores(y_score, len(labels))
    n_positive = int(labels.sum())
    if n_positive in (0, len(labels)):
        raise ValueError(f"A threshold needs cases of both classes; got {n_positive} positive of {len(labels)}.")
    thresholds = np.unique(scores)
    below_positive = np.searchsorted(np.sort(scores[labels]), thresholds, side="left")
    below_negative = np.searchsorted(np.sort(scores[~labels]), thresholds, side="left")
    return CutPoints(thresholds, 1 - below_positive / n_positive, below_negative / (len(labels) - n_positive))


def youden_threshold(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> ThresholdChoice:
    """Threshold with the largest J = sensitivity + specificity - 1; among equals the most sensitive.

    Source: Youden, Cancer 1950; 3: 32.
    """
    points = cut_points(y_true, y_score)
    gain = points.sensitivity + points.specificity
    index = int(np.flatnonzero(gain >= gain.max() - 1e-12)[0])
    return ThresholdChoice(
        points.between(index), float(points.sensitivity[index]), float(points.specificity[index]), "youden"
    )


def target_sensitivity_threshold(y_true: npt.ArrayLike, y_score: npt.ArrayLike, target: float) -> ThresholdChoice:
    """The highest specificity at a sensitivity not below `target`, and of its thresholds the most sensitive.

    Raises:
        ValueError: `target` is not in 0 to 1 (0 excluded).
    """
    if not 0 < target <= 1:
        raise ValueError(f"A target sensitivity lies in 0 to 1 (0 excluded), got {target:g}.")
    points = cut_points(y_true, y_score)
    highest = int(np.flatnonzero(points.sensitivity >= target - 1e-12)[-1])
    index = int(np.flatnonzero(points.specificity >= points.specificity[highest] - 1e-12)[0])
    return ThresholdChoice(
        points.between(index), float(points.sensitivity[index]), float(points.specificity[index]), "target_sensitivity"
    )


def specificity_threshold(y_true: npt.ArrayLike, y_score: npt.ArrayLike, target: float) -> ThresholdChoice:
    """The highest sensitivity at a specificity not below `target`, and of its thresholds the most specific.

    Raises:
        ValueError: `target` is not in 0 to 1, or a class is missing.
    """
    if not 0 <= target <= 1:
        raise ValueError(f"A target specificity lies in 0 to 1, got {target:g}.")
    points = cut_points(y_true, y_score)
    reached = np.flatnonzero(points.specificity >= target - 1e-12)
    if not len(reached) or points.sensitivity[reached[0]] == 0:
        # Calling nobody positive is as sensitive as that, and more specific.
        return ThresholdChoice(float(np.nextafter(points.thresholds[-1], np.inf)), 0.0, 1.0, "target_specificity")
    index = int(np.flatnonzero(points.sensitivity >= points.sensitivity[reached[0]] - 1e-12)[-1])
    return ThresholdChoice(
        points.between(index), float(points.sensitivity[index]), float(points.specificity[index]), "target_specificity"
    )


def sensitivity_to_expect(sensitivity: float, n_positive: int, level: float = 0.95) -> SensitivityToExpect:
    """Sensitivity on other cases of a threshold that lies at an order statistic of the positives it was chosen on.

    With k of n positives at or above it, the true sensitivity is distributed as Beta(k, n + 1 - k), whatever the
    distribution of the scores: a threshold that gave 0.95 of 20 positives gives 0.905 on average.
    Source: Wilks, Annals of Mathematical Statistics 1941; 12: 91 (tolerance limits).

    Args:
        sensitivity: on the cases it was chosen on, above 0.
        n_positive: positives it was chosen on; with several nodules a patient, patients with a positive one.
        level: confidence level.

    Raises:
        ValueError: no positive case, or a sensitivity that is not in 0 to 1 (0 excluded).
    """
    if n_positive < 1 or not 0 < sensitivity <= 1:
        raise ValueError(
            f"An expected sensitivity needs positives and a sensitivity in 0 to 1 (0 excluded), got {n_positive} and "
            f"{sensitivity:g}."
        )
    reached = sensitivity * n_positive
    law = beta(reached, n_positive + 1 - reached)
    lower, upper = law.ppf([0.5 - level / 2, 0.5 + level / 2])
    return SensitivityToExpect(float(law.mean()), (float(lower), float(upper)), n_positive)
