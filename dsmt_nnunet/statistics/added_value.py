"""What a score adds to what is known without it: a logistic regression with it against the one without."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.tools.tools import add_constant

from dsmt_nnunet.statistics.checks import binary_labels, finite_scores
from dsmt_nnunet.statistics.clusters.spread import effective_df
from dsmt_nnunet.statistics.clusters.units import Clusters, are_clustered, cluster_codes
from dsmt_nnunet.statistics.named_warnings import SeparationWarning
from dsmt_nnunet.statistics.sandwich import coefficient_changes
from dsmt_nnunet.statistics.t_test import t_test

LIKELIHOOD_RATIO = "likelihood ratio"
SANDWICH = "sandwich over patients, t"
_LARGEST_WEIGHT = 15.0
"""Log odds a standard deviation; beyond, the fit runs off to infinity."""
_NAN = math.nan


@dataclass(frozen=True)
class AddedValue:
    """Weights of a logistic regression on standardised columns, and the test of the score's.

    Attributes:
        weight: of the score, log odds a standard deviation. One that is not positive adds no knowledge, whatever both
            reach together: the regression corrects the score.
        base_weights: of the other columns, shape (F,).
        p_value: two-sided, that the weight is 0.
        test: "likelihood ratio", or where patients have several cases "sandwich over patients, t".
    """

    weight: float
    base_weights: tuple[float, ...]
    p_value: float
    test: str


def added_value(
    y_true: npt.ArrayLike, score: npt.ArrayLike, base: npt.ArrayLike, clusters: Clusters = None
) -> AddedValue:
    """Fits both regressions (statsmodels GLM, binomial) and tests the score's weight.

    The test holds on data that neither the score nor the base was learnt from. On out-of-fold scores it does not: folds
    share their training cases, and it rejects in 16 to 51 % where there is nothing to be found. Categories of risk are
    not counted (NRI, IDI): they reward a model that is merely miscalibrated. Over patients the variance is the
    corrected sandwich of `sandwich.py`, and t has the effective degrees of freedom of what they contribute.
    Source: Pepe et al., Statistics in Medicine 2013; 32: 1467 (test the coefficient); Hilden and Gerds, Statistics in
    Medicine 2014; 33: 3405 (against NRI and IDI).

    Args:
        y_true: labels of 0 and 1, shape (N,).
        score: a column on the scale on which it is linear (log odds), shape (N,).
        base: columns that are known without it, shape (N, F).
        clusters: patient of each case.

    Returns:
        NaN with a `SeparationWarning` for one class, where the classes are separated, and where a column is constant or
        follows from the others.
    """
    labels = binary_labels(y_true)
    known = finite_scores(np.asarray(base, dtype=np.float64).T, len(labels)).T
    columns = np.column_stack([finite_scores(score, len(labels)), known])
    spread = columns.std(axis=0)
    table = add_constant((columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1.0), has_constant="add")
    empty = AddedValue(_NAN, (_NAN,) * known.shape[1], _NAN, LIKELIHOOD_RATIO)
    if labels.all() or not labels.any():
        warnings.warn("One class only; there is no added value.", SeparationWarning, stacklevel=2)
        return empty
    if np.linalg.matrix_rank(table) < table.shape[1]:
        message = "A column is the same in every case, or follows from the others; weights are not defined."
        warnings.warn(message, SeparationWarning, stacklevel=2)
        return empty
    clustered = are_clustered(clusters, len(labels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both = GLM(labels.astype(float), table, Binomial()).fit()
        alone = GLM(labels.astype(float), np.delete(table, 1, axis=1), Binomial()).fit()
    if both.deviance < 1e-6 * len(labels) or not np.abs(both.params).max() < _LARGEST_WEIGHT:
        warnings.warn("Score and base separate the classes; their weights have no finite value.", SeparationWarning)
        return empty
    p_value = float(chi2.sf(max(alone.deviance - both.deviance, 0.0), 1))
    if clustered:
        change = coefficient_changes(labels, table, both.fittedvalues, cluster_codes(clusters, len(labels)))[1]
        p_value = t_test(float(both.params[1]), math.sqrt(float(change @ change)), effective_df(change)).p_value
    weights = tuple(float(value) for value in both.params[2:])
    return AddedValue(float(both.params[1]), weights, p_value, SANDWICH if clustered else LIKELIHOOD_RATIO)
