"""Measures of decisions among grades, and among classes without an order, and what they are computed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray, named_rows
from dsmt_nnunet.statistics.clusters.jackknife import JackknifeEstimate, Scale, jackknife_estimate
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.ordinal.weighted import c_index, mean_absolute_error, nominal_kappa, quadratic_kappa
from dsmt_nnunet.statistics.resampling import weighted_auc

Statistic = Callable[[IntArray], FloatArray]
"""Of cases counted several times: weights (B, N) -> (B,), NaN where it is not defined."""


@dataclass(frozen=True)
class ClassCases:
    """N cases whose class of K is known.

    Attributes:
        truth: class indices, of grades the lowest first, shape (N,).
        n_classes: K.
        is_ordinal: whether the classes are grades.
        codes: patient of each case, 0 to P - 1, shape (N,).
        folds: fold of each case of a cross-validation, shape (N,); None where one model answered.
    """

    truth: IntArray
    n_classes: int
    is_ordinal: bool
    codes: IntArray
    folds: IntArray | None = None

    @classmethod
    def create(
        cls,
        truth: npt.ArrayLike,
        n_classes: int,
        is_ordinal: bool,
        clusters: Clusters = None,
        folds: IntArray | None = None,
    ) -> ClassCases:
        """Checks the classes.

        Raises:
            ValueError: not one-dimensional, or a value outside 0 to K - 1; the rows are named.
        """
        found = class_indices(truth, n_classes)
        several = folds is not None and len(np.unique(folds)) > 1
        return cls(found, n_classes, is_ordinal, cluster_codes(clusters, len(found)), folds if several else None)

    def of(self, chosen: BoolArray) -> ClassCases:
        """The chosen cases, their patients counted anew."""
        codes = cluster_codes(self.codes[chosen], int(chosen.sum()))
        folds = None if self.folds is None else self.folds[chosen]
        return ClassCases(self.truth[chosen], self.n_classes, self.is_ordinal, codes, folds)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Those of this kind of classes."""
        return GRADE_MEASURES if self.is_ordinal else CLASS_MEASURES


@dataclass(frozen=True)
class Answers:
    """What was said of N cases.

    Attributes:
        decided: class indices, shape (N,).
        probs: of K classes, shape (N, K), which rank the cases (grades by their mean); None of a reader.
    """

    decided: IntArray
    probs: FloatArray | None = None

    def of(self, chosen: BoolArray) -> Answers:
        """The chosen cases."""
        return Answers(self.decided[chosen], None if self.probs is None else self.probs[chosen])


@dataclass(frozen=True)
class Measure:
    """A figure of answers.

    Attributes:
        name: as it is shown.
        scale: on which it is taken for normal.
        statistic: of cases and answers.
        ranks: whether it needs probabilities; of several folds it is the mean over folds then.
    """

    name: str
    scale: Scale
    statistic: Callable[[ClassCases, Answers], Statistic]
    ranks: bool = False

    def value(self, cases: ClassCases, answers: Answers) -> float:
        """On the cases as they are; NaN without cases."""
        if not len(cases.truth):
            return float("nan")
        return float(self.statistic(cases, answers)(np.ones((1, len(cases.truth)), dtype=np.int64))[0])

    def estimate(self, cases: ClassCases, answers: Answers, level: float = 0.95) -> JackknifeEstimate:
        """With the interval of `jackknife_estimate` on the measure's scale; folds are not looked at."""
        return jackknife_estimate(self.statistic(cases, answers), cases.codes, level, self.scale)


def class_indices(values: npt.ArrayLike, n_classes: int) -> IntArray:
    """Classes as integers, shape (N,).

    Raises:
        ValueError: not one-dimensional, or a value that is no class; the rows are named.
    """
    classes = np.asarray(values)
    if classes.ndim != 1:
        raise ValueError(f"Classes must have one dimension, got shape {classes.shape}.")
    wrong = ~np.isin(classes, np.arange(n_classes))
    if wrong.any():
        raise ValueError(
            f"Classes lie in 0 to {n_classes - 1}, got {classes[wrong][0]!r} at {named_rows(np.flatnonzero(wrong))}."
        )
    return classes.astype(np.int64)


def mean_grades(probs: FloatArray) -> FloatArray:
    """Mean grade of each row of probabilities, (N, K) -> (N,)."""
    return np.asarray(probs @ np.arange(probs.shape[1]), dtype=np.float64)


def _accuracy(cases: ClassCases, answers: Answers) -> Statistic:
    right = (cases.truth == answers.decided).astype(np.float64)
    return lambda weights: np.asarray((weights @ right) / weights.sum(axis=1), dtype=np.float64)


def _error(cases: ClassCases, answers: Answers) -> Statistic:
    return lambda weights: mean_absolute_error(cases.truth, answers.decided, weights)


def _quadratic_kappa(cases: ClassCases, answers: Answers) -> Statistic:
    return lambda weights: quadratic_kappa(cases.truth, answers.decided, cases.n_classes, weights)


def _nominal_kappa(cases: ClassCases, answers: Answers) -> Statistic:
    return lambda weights: nominal_kappa(cases.truth, answers.decided, cases.n_classes, weights)


def _concordance(cases: ClassCases, answers: Answers) -> Statistic:
    score = mean_grades(_probs(answers))
    return lambda weights: c_index(cases.truth, score, weights)


def _macro_auc(cases: ClassCases, answers: Answers) -> Statistic:
    probs = _probs(answers)

    def statistic(weights: IntArray) -> FloatArray:
        each = [weighted_auc(cases.truth == index, probs[:, index], weights) for index in range(cases.n_classes)]
        return np.asarray(np.mean(each, axis=0), dtype=np.float64)

    return statistic


def _probs(answers: Answers) -> FloatArray:
    if answers.probs is None:
        raise ValueError("Cases are ranked by probabilities, and these answers have none.")
    return answers.probs


ACCURACY = Measure("accuracy", "logit", _accuracy)
MEAN_ABSOLUTE_ERROR = Measure("mean absolute error", "plain", _error)
QUADRATIC_KAPPA = Measure("quadratic kappa", "fisher-z", _quadratic_kappa)
C_INDEX = Measure("C-index", "logit", _concordance, ranks=True)
COHENS_KAPPA = Measure("Cohen's kappa", "fisher-z", _nominal_kappa)
MACRO_AUC = Measure("macro AUC", "logit", _macro_auc, ranks=True)
GRADE_MEASURES = (ACCURACY, MEAN_ABSOLUTE_ERROR, QUADRATIC_KAPPA, C_INDEX)
CLASS_MEASURES = (ACCURACY, COHENS_KAPPA, MACRO_AUC)
