"""Grades, and classes without an order: measures with intervals, models compared, levels of groups, interactions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from dsmt_nnunet.evaluation.comparisons import proportion_difference
from dsmt_nnunet.evaluation.interactions import level_test
from dsmt_nnunet.evaluation.records.class_comparisons import (
    ClassComparisons,
    ClassLevel,
    LevelComparison,
    MeasureDifference,
    MeasureInteraction,
    MeasureValue,
    ModelComparison,
)
from dsmt_nnunet.evaluation.records.score import Interval
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.subgroups import MAX_LEVELS_COMPARED, UNKNOWN_LEVEL, ordered_levels
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.checks import BoolArray
from dsmt_nnunet.statistics.clusters.ratio import clustered_mean, clustered_proportion
from dsmt_nnunet.statistics.named_warnings import IncompleteDataWarning, WarningLog
from dsmt_nnunet.statistics.ordinal.comparison import (
    MeasureGap,
    fold_values,
    level_gap,
    measure_interaction,
    paired_gap,
)
from dsmt_nnunet.statistics.ordinal.measures import ACCURACY, MEAN_ABSOLUTE_ERROR, Answers, ClassCases, Measure
from dsmt_nnunet.statistics.proportions import UNDEFINED
from dsmt_nnunet.statistics.resampled_t import corrected_resampled_t
from dsmt_nnunet.statistics.t_test import bounded_interval


@dataclass(frozen=True)
class ClassTable:
    """N cases of known class, and what each model said of them.

    Attributes:
        cases: truth, patients, folds.
        models: name -> answers.
        groups: column -> level of each case, "" where it is not known.
    """

    cases: ClassCases
    models: Mapping[str, Answers]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def class_comparisons(table: ClassTable, settings: EvaluationSettings, log: WarningLog) -> ClassComparisons:
    """Pairs of models, pairs of levels, interactions and the measures within each level."""
    pairs = []
    for first, second in combinations(table.models, 2):
        with log.collect(f"{first} against {second}"):
            found = differences(table.cases, table.models[first], table.models[second], settings)
            pairs.append(ModelComparison(models=(first, second), n=len(table.cases.truth), differences=found))
    subgroups: dict[str, dict[str, ClassLevel]] = {}
    levels: list[LevelComparison] = []
    interactions: list[MeasureInteraction] = []
    for column, membership in table.groups.items():
        with log.collect(column):
            names = ordered_levels(membership)
            masks = {name: np.array([value == name for value in membership], dtype=bool) for name in names}
            there = {**masks, UNKNOWN_LEVEL: np.array([not value for value in membership], dtype=bool)}
            subgroups[column] = {name: _level(table, mask, settings) for name, mask in there.items() if mask.any()}
            interactions += _interactions(table, column, masks)
            if len(names) <= MAX_LEVELS_COMPARED:
                levels += _levels(table, column, masks, settings)
                continue
        message = f"{len(names)} levels; levels are compared with each other up to {MAX_LEVELS_COMPARED}."
        log.add(IncompleteDataWarning, column, message)
    return ClassComparisons(
        comparisons=tuple(pairs),
        level_comparisons=tuple(levels),
        interactions=tuple(interactions),
        subgroups=subgroups,
    )


def measure_value(measure: Measure, cases: ClassCases, answers: Answers, settings: EvaluationSettings) -> MeasureValue:
    """A measure with the interval to quote.

    Decisions of all folds are counted together; what ranks the cases is the mean over folds, with the corrected
    resampled t on the logit scale.
    """
    level, value, ci = settings.level, math.nan, UNDEFINED
    if measure is ACCURACY:
        share = clustered_proportion(cases.truth == answers.decided, cases.codes, level, settings.interval)
        value, ci = share.value, share.ci
    elif measure is MEAN_ABSOLUTE_ERROR:
        most = cases.n_classes - 1.0
        error = clustered_mean(np.abs(cases.truth - answers.decided), cases.codes, level, upper=most)
        value, ci = error.estimate, error.ci
    elif measure.ranks and cases.folds is not None:
        value, ci = _over_folds(measure, cases, answers, level)
    elif len(cases.truth):
        found = measure.estimate(cases, answers, level)
        value, ci = found.estimate, found.ci
    return MeasureValue(measure=measure.name, value=value, ci=ci)


def differences(
    cases: ClassCases, first: Answers, second: Answers, settings: EvaluationSettings
) -> tuple[MeasureDifference, ...]:
    """Measures of the first answers less those of the second; what ranks the cases, where both have probabilities."""
    found = []
    ranked = first.probs is not None and second.probs is not None
    for measure in cases.measures:
        if measure is ACCURACY and cases.folds is None:
            rights = (cases.truth == first.decided, cases.truth == second.decided)
            share = proportion_difference(*rights, settings.level, cases.codes)
            values = (float(rights[0].mean()), float(rights[1].mean()))
            gap = MeasureGap(values, share.difference, share.ci, share.p_value, share.test)
            found.append(_difference(measure, gap))
        elif ranked or not measure.ranks:
            found.append(_difference(measure, paired_gap(measure, cases, first, second, settings.level)))
    return tuple(found)


def _level(table: ClassTable, chosen: BoolArray, settings: EvaluationSettings) -> ClassLevel:
    cases = table.cases.of(chosen)
    models = {
        name: tuple(measure_value(measure, cases, answers.of(chosen), settings) for measure in cases.measures)
        for name, answers in table.models.items()
    }
    counts = np.bincount(cases.truth, minlength=cases.n_classes)
    return ClassLevel(n=len(cases.truth), n_by_class=tuple(counts.tolist()), models=models)


def _levels(
    table: ClassTable, column: str, masks: Mapping[str, BoolArray], settings: EvaluationSettings
) -> Iterator[LevelComparison]:
    for name, answers in table.models.items():
        for pair in combinations(masks, 2):
            chosen = (masks[pair[0]], masks[pair[1]])
            found = tuple(
                _difference(measure, level_gap(measure, table.cases, answers, chosen, settings.level))
                for measure in table.cases.measures
            )
            sizes = (int(chosen[0].sum()), int(chosen[1].sum()))
            yield LevelComparison(model=name, group=column, levels=pair, n=sizes, differences=found)


def _interactions(table: ClassTable, column: str, masks: Mapping[str, BoolArray]) -> Iterator[MeasureInteraction]:
    """One test a measure and model, and one a measure and pair of models; none of several folds."""
    subjects: list[tuple[str, ...]] = [(name,) for name in table.models]
    subjects += list(combinations(table.models, 2))
    names = list(masks)
    for subject in subjects if table.cases.folds is None and len(names) > 1 else ():
        for measure in table.cases.measures:
            answers = [table.models[name] for name in subject]
            found = measure_interaction(measure, table.cases, answers, list(masks.values()))
            yield widened(
                MeasureInteraction,
                level_test(found, column, names),
                model=subject[0],
                against=subject[1] if len(subject) > 1 else None,
                measure=measure.name,
            )


def _over_folds(measure: Measure, cases: ClassCases, answers: Answers, level: float) -> tuple[float, Interval]:
    """Mean over the folds in which the measure is defined."""
    everyone = np.ones(len(cases.truth), dtype=bool)
    found = fold_values(measure, cases, [(answers, everyone)])
    values = found.values[0]
    if len(values) < 2:
        return (float(values[0]) if len(values) else math.nan), UNDEFINED
    test = corrected_resampled_t(values, found.test_to_train, level)
    return test.mean, bounded_interval(test.mean, test.se, test.df, level)


def _difference(measure: Measure, gap: MeasureGap) -> MeasureDifference:
    return MeasureDifference(
        measure=measure.name,
        values=gap.values,
        difference=gap.difference,
        ci=gap.ci,
        test=gap.test,
        p_value=gap.p_value,
    )
