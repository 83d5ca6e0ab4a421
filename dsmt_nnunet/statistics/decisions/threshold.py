"""Choosing a threshold; the choice belongs to other data than those it is reported on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import FloatArray, binary_labels, finite_scores

ThresholdMethod = Literal["youden", "target_sensitivity"]


@dataclass(frozen=True)
class ThresholdChoice:
    """A threshold, called positive at or above it, and what it gave on the data it was chosen on."""

    threshold: float
    sensitivity: float
    specificity: float
    method: ThresholdMethod


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
    """The highest threshold whose sensitivity reaches `target`.

    Raises:
        ValueError: `target` is not in 0 to 1 (0 excluded).
    """
    if not 0 < target <= 1:
        raise ValueError(f"A target sensitivity lies in 0 to 1 (0 excluded), got {target:g}.")
    points = cut_points(y_true, y_score)
    index = int(np.flatnonzero(points.sensitivity >= target - 1e-12)[-1])
    return ThresholdChoice(
        points.between(index), float(points.sensitivity[index]), float(points.specificity[index]), "target_sensitivity"
    )
