"""Measures of graded predictions for cases counted several times: weights (B, N) -> (B,)."""

from __future__ import annotations

import numpy as np

from dsmt_nnunet.statistics.checks import FloatArray, IntArray
from dsmt_nnunet.statistics.resampling import tied_counts


def quadratic_kappa(first: IntArray, second: IntArray, n_grades: int, weights: IntArray) -> FloatArray:
    """1 - sum w O / sum w E with w = (i - j)^2 over the table of both gradings; NaN where both use one grade alone.

    Source: Cohen, Psychological Bulletin 1968; 70: 213.
    """
    cells = np.zeros((len(first), n_grades**2))
    cells[np.arange(len(first)), first * n_grades + second] = 1.0
    table = (weights @ cells).reshape(-1, n_grades, n_grades)
    grades = np.arange(n_grades)
    distance = (grades[:, None] - grades[None, :]) ** 2
    expected = table.sum(axis=2)[:, :, None] * table.sum(axis=1)[:, None, :] / table.sum(axis=(1, 2))[:, None, None]
    observed = (table * distance).sum(axis=(1, 2))
    by_chance = (expected * distance).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(by_chance > 1e-12, 1 - observed / by_chance, np.nan)


def c_index(grades: IntArray, score: FloatArray, weights: IntArray) -> FloatArray:
    """Share of pairs of different grade in which the higher grade has the higher score, ties half."""
    concordant, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for grade in np.unique(grades)[:-1].tolist():
        inside = grades >= grade
        higher, lower = tied_counts(grades[inside] > grade, score[inside], weights[:, inside])
        below = np.cumsum(lower, axis=1) - 0.5 * lower
        concordant += (higher * below).sum(axis=1)
        pairs += higher.sum(axis=1) * lower.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return concordant / pairs


def mean_absolute_error(first: IntArray, second: IntArray, weights: IntArray) -> FloatArray:
    """Mean distance of the two gradings, in grades."""
    return np.asarray((weights @ np.abs(first - second)) / weights.sum(axis=1), dtype=np.float64)


def nominal_kappa(first: IntArray, second: IntArray, n_classes: int, weights: IntArray) -> FloatArray:
    """(p_o - p_e) / (1 - p_e) of two labellings; NaN where both use one class alone.

    Source: Cohen, Educational and Psychological Measurement 1960; 20: 37.
    """
    cells = np.zeros((len(first), n_classes**2))
    cells[np.arange(len(first)), first * n_classes + second] = 1.0
    table = (weights @ cells).reshape(-1, n_classes, n_classes)
    total = table.sum(axis=(1, 2))
    agreed = np.trace(table, axis1=1, axis2=2) / total
    by_chance = (table.sum(axis=2) * table.sum(axis=1)).sum(axis=1) / total**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(by_chance < 1 - 1e-12, (agreed - by_chance) / (1 - by_chance), np.nan)
