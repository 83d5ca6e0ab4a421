"""Two training procedures by cross-validation: pairs within folds, never scores of different models together."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.named_warnings import OneClassWarning
from dsmt_nnunet.statistics.resampled_t import Fold, FoldValues, ResampledT, corrected_resampled_t, values_of_folds
from dsmt_nnunet.statistics.roc.delong import auc_score


def fold_aucs(labels: BoolArray, scores: FloatArray, folds: npt.ArrayLike) -> FoldValues:
    """AUCs within folds, of those that hold both classes.

    Args:
        labels: shape (N,).
        scores: shape (M, N), or (M, R, N) for R repeats of the cross-validation.
        folds: fold of each case, shape (N,) or (R, N).

    Raises:
        ValueError: another shape of the folds, or a single fold.
    """
    membership = np.atleast_2d(np.asarray(folds))
    table = scores if scores.ndim == 3 else scores[:, None, :]
    if membership.shape != table.shape[1:]:
        raise ValueError(f"There must be one fold a case and repeat, shape {table.shape[1:]}; got {membership.shape}.")
    if any(len(np.unique(row)) < 2 for row in membership):
        raise ValueError("A cross-validation has two folds or more; all cases lie in one.")

    def aucs(fold: Fold) -> list[float]:
        inside = fold.inside
        if labels[inside].all() or not labels[inside].any():
            warnings.warn(f"Fold {fold.name} holds one class only and is left out.", OneClassWarning, stacklevel=4)
            return [math.nan] * len(table)
        return [auc_score(labels[inside], score[fold.repeat][inside]) for score in table]

    return values_of_folds(aucs, membership, len(table))


def paired_fold_comparison(
    y_true: npt.ArrayLike,
    first_score: npt.ArrayLike,
    second_score: npt.ArrayLike,
    folds: npt.ArrayLike,
    level: float = 0.95,
) -> ResampledT:
    """Difference of the AUCs of two procedures, first minus second, fold by fold, with the corrected t test.

    It asks whether one procedure beats the other on new training sets. Scores of different folds come from different
    models and are not put in one order.

    Args:
        y_true: labels of 0 and 1, shape (N,).
        first_score: out-of-fold scores, shape (N,), or (R, N) for R repeats.
        second_score: of the other procedure, on the same folds.
        folds: fold of each case, shape (N,) or (R, N).
        level: confidence level.
    """
    labels = binary_labels(y_true)
    first, second = (np.atleast_2d(finite_scores(score, len(labels))) for score in (first_score, second_score))
    found = fold_aucs(labels, np.stack([first, second]), np.atleast_2d(np.asarray(folds)))
    return corrected_resampled_t(found.values[0] - found.values[1], found.test_to_train, level)


def mean_fold_auc(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, folds: npt.ArrayLike, level: float = 0.95, null: float = 0.5
) -> ResampledT:
    """Mean AUC over the folds (and repeats) of a procedure, tested against chance, with the corrected t test."""
    labels = binary_labels(y_true)
    scores = np.atleast_2d(finite_scores(y_score, len(labels)))
    found = fold_aucs(labels, scores[None], np.atleast_2d(np.asarray(folds)))
    return corrected_resampled_t(found.values[0], found.test_to_train, level, null)


@dataclass(frozen=True)
class LevelsWithinFolds:
    """AUCs at two levels of a group, means over the folds in which both are known, and the test of their difference."""

    means: tuple[float, float]
    difference: ResampledT


def level_fold_comparison(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    levels: tuple[BoolArray, BoolArray],
    folds: npt.ArrayLike,
    level: float = 0.95,
) -> LevelsWithinFolds:
    """AUC of one score at two levels of a group, first minus second, fold by fold, with the corrected t test.

    Folds in which a level lacks a class are left out with an `OneClassWarning`.

    Args:
        y_true: labels of 0 and 1, shape (N,).
        y_score: out-of-fold scores, shape (N,).
        levels: which cases are at the first and at the second, each of shape (N,).
        folds: fold of each case, shape (N,).
        level: confidence level.
    """
    labels = binary_labels(y_true)
    scores = finite_scores(y_score, len(labels))

    def aucs(fold: Fold) -> list[float]:
        parts = [fold.inside & chosen for chosen in levels]
        if any(labels[part].all() or not labels[part].any() for part in parts):
            message = f"Fold {fold.name} holds one class only at a level and is left out."
            warnings.warn(message, OneClassWarning, stacklevel=4)
            return [math.nan, math.nan]
        return [auc_score(labels[part], scores[part]) for part in parts]

    found = values_of_folds(aucs, folds, 2)
    test = corrected_resampled_t(found.values[0] - found.values[1], found.test_to_train, level)
    return LevelsWithinFolds((float(found.means[0]), float(found.means[1])), test)
