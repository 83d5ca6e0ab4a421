"""What a Brier score is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from dsmt_nnunet.statistics.checks import binary_labels, finite_scores


@dataclass(frozen=True)
class BrierParts:
    """Brier score = miscalibration - discrimination + uncertainty.

    Attributes:
        miscalibration: what the best monotone recalibration of these very cases would take away; 0 is best.
        discrimination: what the recalibrated probabilities gain over the prevalence; 0 where they tell nothing.
        uncertainty: prevalence (1 - prevalence), the Brier score of always saying the prevalence.
    """

    miscalibration: float
    discrimination: float
    uncertainty: float


def brier_parts(y_true: npt.ArrayLike, y_prob: npt.ArrayLike) -> BrierParts:
    """CORP decomposition: by isotonic regression, so that it does not depend on a choice of bins.

    Miscalibration is never quite 0, since the recalibration is fitted to the same cases. NaN without cases.
    Source: Dimitriadis, Gneiting and Jordan, PNAS 2021; 118: e2016191118; Murphy, Journal of Applied Meteorology 1973;
    12: 595 (the decomposition).
    """
    labels = binary_labels(y_true)
    probs = finite_scores(y_prob, len(labels))
    if not len(labels):
        return BrierParts(math.nan, math.nan, math.nan)
    outcome = labels.astype(np.float64)
    recalibrated = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(probs, outcome)
    score, after = float(np.mean((probs - outcome) ** 2)), float(np.mean((recalibrated - outcome) ** 2))
    uncertainty = float(outcome.mean() * (1 - outcome.mean()))
    return BrierParts(max(score - after, 0.0), max(uncertainty - after, 0.0), uncertainty)
