"""What a score tells beside a ruler: both in one logistic regression, each fold's fitted on the other folds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dsmt_nnunet.identifiers import same_person_key
from dsmt_nnunet.statistics.added_value import added_value
from dsmt_nnunet.statistics.calibration.clipping import clipped
from dsmt_nnunet.statistics.named_warnings import SeparationWarning
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


NOT_TESTED = "none: folds share their training cases, so that p values would be too small"


def weights_beside_diameter(
    scores: Mapping[Key, float], nodules: Sequence[MeasuredNodule], independent: bool
) -> dict[str, str]:
    """Weights of the same regression, fitted to all nodules: log odds a standard deviation.

    A score whose weight is not positive adds no knowledge to the diameter, whatever both reach together: the regression
    corrects it. It is tested on independent data alone, patients taken whole: on out-of-fold scores a weight is
    "significant" in 16 to 51 % where there is nothing to be found.

    Args:
        scores: probability of the last class by nodule.
        nodules: those of known class, all with a score.
        independent: whether no score was learnt from any of these nodules' cohort.

    Returns:
        Nothing where a diameter is unknown, or all nodules belong to one class.
    """
    if not all(measured.nodule.diameter_mm > 0 for measured in nodules):
        return {}
    labels, features = _labels_and_features(scores, nodules)
    if len(np.unique(labels)) < 2:
        return {}
    patients = [same_person_key(measured.nodule.patient_id) for measured in nodules]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SeparationWarning)
        found = added_value(labels, features[:, 0], features[:, 1:], patients)
    return {
        "score_weight": _shown(found.weight, 3),
        "diameter_weight": _shown(found.base_weights[0], 3),
        "score_p": _shown(found.p_value, 4) if independent else "",
        "test": found.test if independent else NOT_TESTED,
    }


def _shown(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def _labels_and_features(
    scores: Mapping[Key, float], nodules: Sequence[MeasuredNodule]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(N,) and (N, 2): log odds of the score, log of the diameter."""
    probs = clipped([scores[measured.key] for measured in nodules])
    diameters = np.array([measured.nodule.diameter_mm for measured in nodules])
    return np.array([measured.label for measured in nodules]), np.column_stack([logit(probs), np.log(diameters)])
