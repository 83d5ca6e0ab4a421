"""What a score tells beside a ruler: both in one logistic regression, each fold's fitted on the other folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dsmt_nnunet.evaluation.floors import Key, MeasuredNodule, Split
from dsmt_nnunet.evaluation.logistic_calibration import CLIP

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
    labels = np.array([measured.label for measured in nodules])
    diameters = np.array([measured.nodule.diameter_mm for measured in nodules])
    if len(splits) < 2 or not (diameters > 0).all():
        return {}
    probs = np.clip([scores[measured.key] for measured in nodules], CLIP, 1 - CLIP)
    features = np.column_stack([logit(probs), np.log(diameters)])
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
