"""Two training procedures by cross-validation: pairs within folds, never scores of different models together."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.named_warnings import OneClassWarning
from dsmt_nnunet.statistics.resampled_t import ResampledT, corrected_resampled_t
from dsmt_nnunet.statistics.roc.delong import auc_score


@dataclass(frozen=True)
class FoldValues:
    """AUC of each fold that holds both classes, repeat after repeat.

    Attributes:
        values: shape (J,) or (M, J) for M scores.
        test_to_train: mean of tested over training cases of a fold.
    """

    values: FloatArray
    test_to_train: float


def fold_aucs(labels: BoolArray, scores: FloatArray, folds: npt.ArrayLike) -> FoldValues:
    """AUCs within folds.

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
    values, ratios = [], []
    for repeat, row in enumerate(membership):
        if len(np.unique(row)) < 2:
            raise ValueError("A cross-validation has two folds or more; all cases lie in one.")
        for fold in np.unique(row).tolist():
            inside = row == fold
            if labels[inside].all() or not labels[inside].any():
                message = f"Fold {fold} holds one class only and is left out."
                warnings.warn(message, OneClassWarning, stacklevel=3)
                continue
            values.append([auc_score(labels[inside], score[repeat][inside]) for score in table])
            ratios.append(inside.sum() / (~inside).sum())
    found = np.array(values, dtype=np.float64).reshape(-1, len(table)).T
    return FoldValues(found, float(np.mean(ratios)) if ratios else 1.0)


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
    scores, membership = finite_scores(y_score, len(labels)), np.asarray(folds)
    values, ratios = [], []
    for fold in np.unique(membership).tolist():
        inside = membership == fold
        parts = [inside & chosen for chosen in levels]
        if any(labels[part].all() or not labels[part].any() for part in parts):
            message = f"Fold {fold} holds one class only at a level and is left out."
            warnings.warn(message, OneClassWarning, stacklevel=2)
            continue
        values.append([auc_score(labels[part], scores[part]) for part in parts])
        ratios.append(inside.sum() / max(int((~inside).sum()), 1))
    pairs = np.array(values, dtype=np.float64).reshape(-1, 2)
    test = corrected_resampled_t(pairs[:, 0] - pairs[:, 1], float(np.mean(ratios)) if ratios else 1.0, level)
    means = pairs.mean(axis=0) if len(pairs) else np.full(2, np.nan)
    return LevelsWithinFolds((float(means[0]), float(means[1])), test)
