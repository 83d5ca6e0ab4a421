"""Differences of the measures of grades and classes: between answers, between levels, and over all levels at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.jackknife import jackknife_covariance, jackknife_estimate
from dsmt_nnunet.statistics.ordinal.measures import Answers, ClassCases, Measure, Statistic
from dsmt_nnunet.statistics.resampled_t import Fold, FoldValues, corrected_resampled_t, values_of_folds
from dsmt_nnunet.statistics.roc.interaction import MIN_HOLDERS, Interaction, equal_at_all_levels
from dsmt_nnunet.statistics.t_test import t_test

PAIRED_TEST = "jackknife of patients, t"
LEVEL_TEST = "jackknife of patients, Welch's t"
FOLD_TEST = "corrected resampled t within folds"
_NAN = math.nan


@dataclass(frozen=True)
class MeasureGap:
    """A measure twice, and the first less the second.

    Attributes:
        values: of the first and of the second; of several folds means over folds.
        difference: first less second.
        ci, p_value: of one t test: the interval excludes 0 exactly where p < 1 - level; NaN where there is none.
        test: its name.
    """

    values: tuple[float, float]
    difference: float
    ci: tuple[float, float]
    p_value: float
    test: str


def paired_gap(measure: Measure, cases: ClassCases, first: Answers, second: Answers, level: float = 0.95) -> MeasureGap:
    """Two answers to the same cases.

    One model each: the jackknife over patients, t with patients - 1. Models of a cross-validation: pairs within folds,
    with the corrected resampled t, which asks about other training sets. In 400 draws a scenario intervals of one model
    each cover 0.93 to 0.98 and a true null is rejected in 0.03 to 0.07 (docs/results/coverage.csv).
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, equation 11.5; Nadeau and Bengio, Machine
    Learning 2003; 52: 239.
    """
    if cases.folds is not None:
        everyone = np.ones(len(cases.truth), dtype=bool)
        return _within_folds(measure, cases, ((first, everyone), (second, everyone)), level)
    one, other = measure.statistic(cases, first), measure.statistic(cases, second)
    values = (measure.value(cases, first), measure.value(cases, second))
    found = jackknife_estimate(lambda weights: one(weights) - other(weights), cases.codes, level, null=0.0)
    return MeasureGap(values, values[0] - values[1], found.ci, found.p_value, PAIRED_TEST)


def level_gap(
    measure: Measure, cases: ClassCases, answers: Answers, levels: tuple[BoolArray, BoolArray], level: float = 0.95
) -> MeasureGap:
    """One answer at two levels of a group, first less second; patients with cases at both are counted.

    Jackknife over patients, t with Welch and Satterthwaite's degrees of freedom; of several folds the corrected
    resampled t of the differences within folds. In 400 draws a scenario it covers 0.94 to 0.98 and rejects a true null
    in 0.02 to 0.07 (docs/results/coverage.csv): it may be too cautious.
    """
    if cases.folds is not None:
        return _within_folds(measure, cases, ((answers, levels[0]), (answers, levels[1])), level)
    values = tuple(measure.value(cases.of(inside), answers.of(inside)) for inside in levels)
    gap = values[0] - values[1]
    sizes = [len(np.unique(cases.codes[inside])) for inside in levels]
    nothing = MeasureGap((values[0], values[1]), gap, (_NAN, _NAN), _NAN, LEVEL_TEST)
    if min(sizes) < 2 or math.isnan(gap):
        return nothing
    statistics = [_at_level(measure, cases, (answers,), inside) for inside in levels]
    covariance = _joint_covariance(statistics, cases, levels[0] | levels[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if not variance > 1e-24:
        same = abs(gap) < 1e-12 and not math.isnan(variance)
        return MeasureGap(nothing.values, gap, (_NAN, _NAN), 1.0 if same else _NAN, LEVEL_TEST)
    parts = sum(covariance[k, k] ** 2 / (sizes[k] - 1) for k in range(2))
    df, se = float(np.trace(covariance)) ** 2 / float(parts), math.sqrt(variance)
    found = t_test(gap, se, df, level)
    return MeasureGap(nothing.values, gap, found.ci, found.p_value, LEVEL_TEST)


def measure_interaction(
    measure: Measure, cases: ClassCases, answers: Sequence[Answers], levels: Sequence[BoolArray]
) -> Interaction:
    """Test over all levels at once that a measure, or the difference of two answers, does not depend on the level.

    Left out are levels with fewer than twice `MIN_HOLDERS` patients, and those where the measure, with a patient left
    out, is not defined. Over three levels of 20 patients it rejects a true null in 0.01 to 0.07 of 400 draws a scenario
    (docs/results/coverage.csv): it may be too cautious.
    Source: as `roc.interaction.auc_interaction`, with the jackknife's covariance.

    Args:
        measure: what is asked about.
        cases: of one model each, not of several folds.
        answers: one, or two for their difference, first minus second.
        levels: which cases are at each level, masks of shape (N,) without a case in common.
    """
    used, sizes, statistics = [], [], []
    for index, inside in enumerate(levels):
        size = len(np.unique(cases.codes[inside]))
        if size < 2 * MIN_HOLDERS:
            continue
        statistic = _at_level(measure, cases, answers, inside)
        if np.isfinite(_joint_covariance([statistic], cases, inside)).all():
            used.append(index)
            sizes.append(size)
            statistics.append(statistic)
    once = np.ones((1, len(cases.truth)), dtype=np.int64)
    estimates = tuple(float(statistic(once)[0]) for statistic in statistics)
    covariance = np.empty((0, 0))
    if used:
        union = np.any([levels[index] for index in used], axis=0)
        covariance = _joint_covariance(statistics, cases, union)
    return equal_at_all_levels(estimates, tuple(used), covariance, sizes)


def fold_values(measure: Measure, cases: ClassCases, parts: Sequence[tuple[Answers, BoolArray]]) -> FoldValues:
    """A measure of M answers, each on some cases, in every fold where all are defined."""

    def of_fold(fold: Fold) -> list[float]:
        chosen = [(answers, fold.inside & part) for answers, part in parts]
        return [measure.value(cases.of(part), answers.of(part)) for answers, part in chosen]

    folds = np.zeros(len(cases.truth), dtype=np.int64) if cases.folds is None else cases.folds
    return values_of_folds(of_fold, folds, len(parts))


def _within_folds(
    measure: Measure, cases: ClassCases, parts: Sequence[tuple[Answers, BoolArray]], level: float
) -> MeasureGap:
    found = fold_values(measure, cases, parts)
    test = corrected_resampled_t(found.values[0] - found.values[1], found.test_to_train, level)
    return MeasureGap((float(found.means[0]), float(found.means[1])), test.mean, test.ci, test.p_value, FOLD_TEST)


def _at_level(measure: Measure, cases: ClassCases, answers: Sequence[Answers], inside: BoolArray) -> Statistic:
    found = [measure.statistic(cases.of(inside), item.of(inside)) for item in answers]

    def statistic(weights: IntArray) -> FloatArray:
        with np.errstate(invalid="ignore", divide="ignore"):
            values = [item(weights[:, inside]) for item in found]
        return values[0] if len(values) == 1 else values[0] - values[1]

    return statistic


def _joint_covariance(statistics: Sequence[Statistic], cases: ClassCases, inside: BoolArray) -> FloatArray:
    """Covariance over the patients of the chosen cases of statistics that look at no others."""

    def together(weights: IntArray) -> FloatArray:
        whole = np.zeros((len(weights), len(cases.truth)), dtype=np.int64)
        whole[:, inside] = weights
        return np.stack([statistic(whole) for statistic in statistics], axis=1)

    return jackknife_covariance(together, cases.of(inside).codes)
