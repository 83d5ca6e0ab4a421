"""The AUC of a cross-validation: of each fold, their mean, and of all folds pooled."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from dsmt_nnunet.statistics.checks import binary_labels, finite_scores
from dsmt_nnunet.statistics.named_warnings import OneClassWarning
from dsmt_nnunet.statistics.roc.delong import auc_score
from dsmt_nnunet.statistics.roc.interval import AucInterval, delong_interval

QUOTE = (
    "Quote the mean over folds: each fold's AUC ranks cases of one model only. The pooled AUC also compares scores of "
    "different models, whose scales differ, and may lie above or below it."
)
QUOTE_ONE_FOLD = "There is one fold with both classes: its AUC is the only one there is."


@dataclass(frozen=True)
class FoldAuc:
    """One fold: its counts and its AUC."""

    fold: int
    n: int
    n_positive: int
    interval: AucInterval


@dataclass(frozen=True)
class CrossvalAuc:
    """AUC over folds.

    Attributes:
        folds: one entry a fold.
        mean: mean over the folds that hold both classes; NaN where none does.
        ci: mean +- z sqrt(sum of the folds' DeLong variances) / K, cut to 0 to 1; NaN where a variance is missing or 0.
        sd: standard deviation over the folds (it is no standard error of the mean: training sets overlap).
        n_folds: K, the folds that hold both classes.
        pooled: AUC of all cases together.
        quote: which of the two to quote, in words.
    """

    folds: tuple[FoldAuc, ...]
    mean: float
    ci: tuple[float, float]
    sd: float
    n_folds: int
    pooled: float
    quote: str


def crossval_auc(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, folds: npt.ArrayLike, level: float = 0.95
) -> CrossvalAuc:
    """AUC of each fold, their mean, and the pooled one.

    A fold with one class has no AUC: it is left out of the mean with an `OneClassWarning`.
    Source: LeDell, Petersen and van der Laan, Electronic Journal of Statistics 2015; 9: 1583 (mean over folds and its
    variance); Forman and Scholz, SIGKDD Explorations 2010; 12: 49 (pooling).
    """
    labels = binary_labels(y_true)
    scores = finite_scores(y_score, len(labels))
    membership = np.asarray(folds)
    results = []
    for fold in np.unique(membership).tolist():
        inside = membership == fold
        if labels[inside].all() or not labels[inside].any():
            warnings.warn(
                f"Fold {fold} holds one class only and is left out of the mean AUC over folds.",
                OneClassWarning,
                stacklevel=2,
            )
            interval = AucInterval(math.nan, math.nan, math.nan, math.nan, "undefined")
        else:
            interval = delong_interval(labels[inside], scores[inside], level)
        results.append(FoldAuc(int(fold), int(inside.sum()), int(labels[inside].sum()), interval))
    known = [item.interval for item in results if not math.isnan(item.interval.auc)]
    aucs = np.array([item.auc for item in known])
    mean = float(aucs.mean()) if len(aucs) else math.nan
    ci = (math.nan, math.nan)
    if known and all(item.se > 0 for item in known):
        half = float(norm.ppf(0.5 + level / 2)) * math.sqrt(sum(item.se**2 for item in known)) / len(known)
        ci = (max(mean - half, 0.0), min(mean + half, 1.0))
    return CrossvalAuc(
        tuple(results),
        mean,
        ci,
        float(aucs.std(ddof=1)) if len(aucs) > 1 else math.nan,
        len(known),
        auc_score(labels, scores),
        QUOTE if len(known) > 1 else QUOTE_ONE_FOLD,
    )
