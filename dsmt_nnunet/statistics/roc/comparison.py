"""Tests of a difference between AUCs after DeLong: paired, unpaired, and several at once."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from dsmt_nnunet.statistics.checks import FloatArray, finite_scores
from dsmt_nnunet.statistics.named_warnings import ZeroVarianceDifferenceWarning
from dsmt_nnunet.statistics.roc.delong import StructuralComponents, structural_components
from dsmt_nnunet.statistics.t_test import NO_SPREAD, t_test

PAIRED_TEST = "paired DeLong"
UNPAIRED_TEST = "unpaired DeLong (Welch t)"


@dataclass(frozen=True)
class AucComparison:
    """A difference between two AUCs, first minus second.

    Attributes:
        auc_first: AUC of the first.
        auc_second: AUC of the second.
        difference: first minus second.
        se: standard error of the difference.
        ci: confidence interval of the difference, of the distribution of `p_value` (normal, or t), not clipped.
        z: difference / se.
        p_value: two-sided.
        test: name of the test.
        df: degrees of freedom of the t distribution; NaN for a normal test.
        p_value_normal: two-sided p of the normal test (the same as `p_value` for the paired one).
    """

    auc_first: float
    auc_second: float
    difference: float
    se: float
    ci: tuple[float, float]
    z: float
    p_value: float
    test: str
    df: float = math.nan
    p_value_normal: float = math.nan


@dataclass(frozen=True)
class JointComparison:
    """Wald chi-square test that several AUCs of the same cases are equal."""

    chi2: float
    df: int
    p_value: float


def paired_comparison(
    y_true: npt.ArrayLike, first_score: npt.ArrayLike, second_score: npt.ArrayLike, level: float = 0.95
) -> AucComparison:
    """Paired DeLong test of two scores of the same cases.

    The variance is that of the differences of the structural components, which holds the covariance of the two
    curves. Variance 0 and a difference of 0 give z = 0, p = 1; variance 0 and unequal AUCs cannot be tested this way:
    z and p are NaN with a `ZeroVarianceDifferenceWarning`.
    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988; 44: 837.
    """
    n_cases = np.asarray(y_true).shape[0]
    scores = np.stack([finite_scores(first_score, n_cases), finite_scores(second_score, n_cases)])
    components = structural_components(y_true, scores)
    first, second = (float(value) for value in components.auc)
    if math.isnan(first):
        return _undefined(first, second, PAIRED_TEST)
    difference = components.contrast([[1.0, -1.0]])
    return _compare(first, second, math.sqrt(float(difference.covariance[0, 0])), level)


def unpaired_comparison(
    first: StructuralComponents, second: StructuralComponents, level: float = 0.95
) -> AucComparison:
    """DeLong test of two cohorts: independent variances, Welch's t as in pROC, the normal p beside it.

    df = (V1 + V2)^2 / (V1^2 / (N1 - 1) + V2^2 / (N2 - 1)), N the cases of a cohort.

    Args:
        first: components of one score on one cohort, M = 1.
        second: the same on another cohort.
        level: confidence level.
    """
    aucs = float(first.auc[0]), float(second.auc[0])
    if any(math.isnan(auc) for auc in aucs):
        return _undefined(*aucs, UNPAIRED_TEST)
    variances = [float(item.covariance[0, 0]) for item in (first, second)]
    normal = _compare(*aucs, math.sqrt(sum(variances)), level)
    sizes = [item.positive.shape[1] + item.negative.shape[1] for item in (first, second)]
    spread = sum(variance**2 / (size - 1) for variance, size in zip(variances, sizes, strict=True))
    df = sum(variances) ** 2 / spread if spread > 0 else math.nan
    if math.isnan(df):
        return replace(normal, test=UNPAIRED_TEST)
    found = t_test(normal.difference, normal.se, df, level)
    return replace(normal, ci=found.ci, p_value=found.p_value, test=UNPAIRED_TEST, df=df)


def joint_comparison(y_true: npt.ArrayLike, scores: npt.ArrayLike) -> JointComparison:
    """Tests that all AUCs of `scores` (shape (M, N)) are equal: (L A)' (L S L')^-1 (L A), L each against the first.

    A singular covariance (two scores in the same order) lowers the degrees of freedom to its rank.
    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988; 44: 837, section 3.
    """
    components = structural_components(y_true, scores)
    n_scores = len(components.positive)
    weights = np.hstack([np.ones((n_scores - 1, 1)), -np.eye(n_scores - 1)])
    contrasts = components.contrast(weights)
    return wald_test(contrasts.auc, contrasts.covariance)


def wald_test(difference: FloatArray, covariance: FloatArray) -> JointComparison:
    """Chi-square that M differences, of covariance (M, M), are 0; NaN where the covariance is not known."""
    if not np.isfinite(covariance).all():
        return JointComparison(math.nan, len(difference), math.nan)
    rank = int(np.linalg.matrix_rank(covariance, tol=1e-12, hermitian=True))
    if rank == 0:
        unequal = bool(np.abs(difference).max() > 0)
        return JointComparison(math.nan if unequal else 0.0, 0, math.nan if unequal else 1.0)
    statistic = float(difference @ np.linalg.pinv(covariance, rcond=1e-10, hermitian=True) @ difference)
    return JointComparison(statistic, rank, float(chi2.sf(statistic, rank)))


def _undefined(first: float, second: float, test: str) -> AucComparison:
    nan = math.nan
    return AucComparison(first, second, nan, nan, (nan, nan), nan, nan, test)


def _compare(first: float, second: float, se: float, level: float) -> AucComparison:
    difference = first - second
    found = t_test(difference, se, math.inf, level)
    ci = found.ci
    if se <= NO_SPREAD and math.isnan(found.p_value):
        warnings.warn(
            f"AUC {first:g} and {second:g} differ with an estimated variance of 0; the DeLong test cannot judge it.",
            ZeroVarianceDifferenceWarning,
            stacklevel=3,
        )
        ci = (math.nan, math.nan)
    return AucComparison(
        first, second, difference, se, ci, found.statistic, found.p_value, PAIRED_TEST, math.nan, found.p_value
    )
