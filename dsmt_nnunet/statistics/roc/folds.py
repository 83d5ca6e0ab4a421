"""The AUC of a cross-validation: of each fold, their mean, and of all folds pooled."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import binary_labels, finite_scores
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.named_warnings import OneClassWarning
from dsmt_nnunet.statistics.resampled_t import Fold, corrected_resampled_t, values_of_folds
from dsmt_nnunet.statistics.roc.by_patient import MacroAuc
from dsmt_nnunet.statistics.roc.clustered import clustered_auc_interval
from dsmt_nnunet.statistics.roc.delong import auc_score
from dsmt_nnunet.statistics.roc.interval import AucInterval
from dsmt_nnunet.statistics.t_test import bounded_interval

FOLDS_METHOD = "corrected-resampled-t-logit"


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
        ci: of the mean for the training procedure, that is for other training sets: corrected resampled t on the
            logit scale; NaN for one fold, or where all folds have the same AUC.
        ci_these_models: of the mean for the very models of these folds on other cases: the folds' variances alone
            (clustered where patients are given), on the logit scale; NaN where one is missing or 0.
        se: corrected standard error that `ci` rests on; NaN for one fold.
        sd: standard deviation over the folds (it is no standard error of the mean: training sets overlap).
        n_folds: K, the folds that hold both classes.
        pooled: AUC of all cases together. It also compares scores of different models, whose scales differ, and may
            lie above or below the mean: it is not to be quoted.
    """

    folds: tuple[FoldAuc, ...]
    mean: float
    ci: tuple[float, float]
    ci_these_models: tuple[float, float]
    se: float
    sd: float
    n_folds: int
    pooled: float


def crossval_auc(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, folds: npt.ArrayLike, level: float = 0.95, clusters: Clusters = None
) -> CrossvalAuc:
    """AUC of each fold, their mean, and the pooled one.

    A fold with one class has no AUC: it is left out of the mean with an `OneClassWarning`. In 500 draws a scenario the
    interval of these models covers 0.94 to 0.95, where 5 % are positive 0.92; that of the procedure 0.97 to 0.99, where
    there is nothing to learn 0.92 to 0.96 (docs/results/coverage.csv).
    Source: Nadeau and Bengio, Machine Learning 2003; 52: 239 (interval for the procedure); LeDell, Petersen and van der
    Laan, Electronic Journal of Statistics 2015; 9: 1583 (interval for these models); Forman and Scholz, SIGKDD
    Explorations 2010; 12: 49 (pooling).

    Args:
        y_true: labels of 0 and 1, shape (N,).
        y_score: out-of-fold scores, shape (N,).
        folds: fold of each case, shape (N,).
        level: confidence level.
        clusters: patient of each case.
    """
    labels = binary_labels(y_true)
    scores = finite_scores(y_score, len(labels))
    codes = cluster_codes(clusters, len(labels))
    results: list[FoldAuc] = []

    def auc(fold: Fold) -> list[float]:
        inside = fold.inside
        if labels[inside].all() or not labels[inside].any():
            warnings.warn(
                f"Fold {fold.name} holds one class only and is left out of the mean AUC over folds.",
                OneClassWarning,
                stacklevel=4,
            )
            interval = AucInterval(math.nan, math.nan, math.nan, math.nan, "undefined")
        else:
            interval = clustered_auc_interval(labels[inside], scores[inside], codes[inside], level)
        results.append(FoldAuc(int(fold.name), int(inside.sum()), int(labels[inside].sum()), interval))
        return [interval.auc]

    found = values_of_folds(auc, folds)
    aucs, mean = found.values[0], float(found.means[0])
    known = [item.interval for item in results if not math.isnan(item.interval.auc)]
    se, ci, these_models = math.nan, (math.nan, math.nan), (math.nan, math.nan)
    if len(aucs) > 1:
        corrected = corrected_resampled_t(aucs, found.test_to_train, level, null=0.5)
        se, ci = corrected.se, bounded_interval(mean, corrected.se, corrected.df, level)
    if known and all(item.se > 0 for item in known):
        these_models = bounded_interval(mean, math.sqrt(sum(item.se**2 for item in known)) / len(known), level=level)
    return CrossvalAuc(
        tuple(results),
        mean,
        ci,
        these_models,
        se,
        float(aucs.std(ddof=1)) if len(aucs) > 1 else math.nan,
        len(known),
        auc_score(labels, scores),
    )


def macro_fold_auc(
    y_true: npt.ArrayLike, scores: npt.ArrayLike, folds: npt.ArrayLike, clusters: Clusters = None, level: float = 0.95
) -> MacroAuc:
    """AUC of each class against the rest and their mean, all of them means over folds, corrected resampled t.

    The macro AUC is of the folds that hold every class.

    Args:
        y_true: class indices, shape (N,).
        scores: one column a class, shape (N, K).
        folds: fold of each case, shape (N,).
        clusters: patient of each case.
        level: confidence level.
    """
    truth, membership = np.asarray(y_true, dtype=np.int64), np.asarray(folds)
    table = np.asarray(scores, dtype=np.float64)
    each = []
    for index in range(table.shape[1]):
        found = crossval_auc(truth == index, table[:, index], membership, level, clusters)
        each.append(AucInterval(found.mean, found.se, *found.ci, FOLDS_METHOD))

    def mean_auc(fold: Fold) -> list[float]:
        own, held = truth[fold.inside], table[fold.inside]
        if len(np.unique(own)) < table.shape[1]:
            return [math.nan]
        return [float(np.mean([auc_score(own == k, held[:, k]) for k in range(table.shape[1])]))]

    values = values_of_folds(mean_auc, membership)
    if not values.values.shape[1]:
        nan = math.nan
        return MacroAuc(tuple(each), AucInterval(nan, nan, nan, nan, "undefined"))
    mean = corrected_resampled_t(values.values[0], values.test_to_train, level, null=0.5)
    limits = bounded_interval(mean.mean, mean.se, mean.df, level)
    return MacroAuc(tuple(each), AucInterval(mean.mean, mean.se, *limits, FOLDS_METHOD))
