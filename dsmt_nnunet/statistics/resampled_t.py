"""The corrected resampled t test: values of the folds of one cohort are not independent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray
from dsmt_nnunet.statistics.t_test import t_test


@dataclass(frozen=True)
class Fold:
    """Cases that one model did not learn from.

    Attributes:
        name: of the fold.
        inside: which cases they are, shape (N,).
        repeat: of the cross-validation.
    """

    name: int
    inside: BoolArray
    repeat: int = 0


@dataclass(frozen=True)
class FoldValues:
    """What M measures are in each of J folds.

    Attributes:
        values: shape (M, J).
        test_to_train: mean of tested over training cases of a fold; 1 without a fold.
    """

    values: FloatArray
    test_to_train: float

    @property
    def means(self) -> FloatArray:
        """Of each measure over the folds, shape (M,); NaN without a fold."""
        return self.values.mean(axis=1) if self.values.shape[1] else np.full(len(self.values), math.nan)


def values_of_folds(
    measure: Callable[[Fold], Sequence[float]], folds: npt.ArrayLike, n_measures: int = 1
) -> FoldValues:
    """M measures of each fold; a fold in which one of them is not defined (NaN) is left out.

    Args:
        measure: of a fold, M values.
        folds: fold of each case, shape (N,), or (R, N) for R repeats of the cross-validation.
        n_measures: M.
    """
    values, ratios = [], []
    for repeat, row in enumerate(np.atleast_2d(np.asarray(folds))):
        for name in np.unique(row).tolist():
            inside = np.asarray(row == name, dtype=bool)
            found = measure(Fold(name, inside, repeat))
            if np.isfinite(found).all():
                values.append(found)
                ratios.append(inside.sum() / max(int((~inside).sum()), 1))
    table = np.array(values, dtype=np.float64).reshape(-1, n_measures).T
    return FoldValues(table, float(np.mean(ratios)) if ratios else 1.0)


@dataclass(frozen=True)
class ResampledT:
    """Mean of J fold values with an interval and a test for new training sets.

    Attributes:
        mean: over the folds (of all repeats).
        se: corrected standard error.
        df: J - 1.
        ci: t interval.
        null: the value tested.
        t, p_value: two-sided; the interval excludes the null exactly where p < 1 - level. NaN for fewer than two
            values, and where all agree on another value than the null.
        n_values: J.
    """

    mean: float
    se: float
    df: float
    ci: tuple[float, float]
    null: float
    t: float
    p_value: float
    n_values: int


def corrected_resampled_t(
    values: npt.ArrayLike, test_to_train: float, level: float = 0.95, null: float = 0.0
) -> ResampledT:
    """t test of fold values with the variance (1 / J + n_test / n_train) s^2.

    Training sets overlap, so the folds' values are correlated and s^2 / J is too small; n_test / n_train stands for
    the correlation (1 / (K - 1) with K folds, however often they are repeated). With five folds it rejects a true null
    in 0.04 to 0.08 where there is nothing to learn and in 0.01 to 0.02 where models learn (docs/results/coverage.csv).
    Source: Nadeau and Bengio, Machine Learning 2003; 52: 239; Bouckaert and Frank, PAKDD 2004, LNCS 3056: 3 (repeats).

    Args:
        values: one value a fold and repeat, shape (J,).
        test_to_train: cases tested over cases trained on, in a fold.
        level: confidence level.
        null: the value tested.

    Raises:
        ValueError: a ratio that is not positive, or values that are not finite.
    """
    numbers = np.asarray(values, dtype=np.float64).reshape(-1)
    if not test_to_train > 0:
        raise ValueError(f"n_test / n_train of a fold must be positive, got {test_to_train:g}.")
    if not np.isfinite(numbers).all():
        raise ValueError("Fold values must be finite numbers; leave folds without a value out.")
    n_values = len(numbers)
    mean = float(numbers.mean()) if n_values else math.nan
    if n_values < 2:
        nan = math.nan
        return ResampledT(mean, nan, n_values - 1.0, (nan, nan), null, nan, nan, n_values)
    df = n_values - 1.0
    se = math.sqrt((1 / n_values + test_to_train) * float(numbers.var(ddof=1)))
    found = t_test(mean, se, df, level, null)
    return ResampledT(mean, se, df, found.ci, null, found.statistic, found.p_value, n_values)
