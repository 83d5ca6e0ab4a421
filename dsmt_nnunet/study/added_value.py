"""What a score tells beside a ruler: both in one logistic regression, each fold's fitted on the other folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import statsmodels.api as sm
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dsmt_nnunet.statistics.calibration.logistic import CLIP
from dsmt_nnunet.study.floors import Key, MeasuredNodule, Split

WITH_DIAMETER = "+diameter"
"""Suffix of the column of a run."""


def beside_diameter(
    scores: Mapping[Key, float], nodules: Sequence[MeasuredNodule], splits: Sequence[Split]
) -> dict[Key, float]:
    """Probability of the last class from the log odds of a score and the log of the table's diameter.

    Args:
        scores: probability of the last class by nodule, out of fold.
        nodules: those of known class, all with a score.
        splits: folds of a cross-validation, whose unseen cases together are all cases.

    Returns:
        By nodule; empty without a second fold, where a diameter is unknown, or where the other folds hold one class.
    """
    if len(splits) < 2 or not all(measured.nodule.diameter_mm > 0 for measured in nodules):
        return {}
    labels, features = _labels_and_features(scores, nodules)
    found: dict[Key, float] = {}
    for split in splits:
        inside = np.array([measured.nodule.case_id in split.unseen for measured in nodules])
        if not inside.any():
            continue
        if len(np.unique(labels[~inside])) < 2:
            return {}
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features[~inside], labels[~inside])
        values = model.predict_proba(features[inside])[:, -1]
        found.update(
            {nodules[i].key: float(value) for i, value in zip(np.flatnonzero(inside).tolist(), values, strict=True)}
        )
    return found


def weights_beside_diameter(scores: Mapping[Key, float], nodules: Sequence[MeasuredNodule]) -> dict[str, str]:
    """Weights of the same regression, fitted to all nodules: log odds a standard deviation, with the score's p value.

    A score whose weight is not positive adds no knowledge to the diameter, whatever both reach together: the regression
    corrects it.

    Args:
        scores: probability of the last class by nodule, out of fold.
        nodules: those of known class, of both classes, all with a score and a diameter.
    """
    labels, features = _labels_and_features(scores, nodules)
    standardised = StandardScaler().fit_transform(features)
    fit = sm.GLM(labels, sm.add_constant(standardised), sm.families.Binomial()).fit()
    return {
        "score_weight": f"{fit.params[1]:.3f}",
        "score_p": f"{fit.pvalues[1]:.4f}",
        "diameter_weight": f"{fit.params[2]:.3f}",
    }


def _labels_and_features(
    scores: Mapping[Key, float], nodules: Sequence[MeasuredNodule]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(N,) and (N, 2): log odds of the score, log of the diameter."""
    probs = np.clip([scores[measured.key] for measured in nodules], CLIP, 1 - CLIP)
    diameters = np.array([measured.nodule.diameter_mm for measured in nodules])
    return np.array([measured.label for measured in nodules]), np.column_stack([logit(probs), np.log(diameters)])
