"""Which tests of an evaluation are one family, whose p values are adjusted together: the one place that says over what.

A family holds the tests that answer one question: over all pairs of scores, all readers, all columns and levels, all
tasks, and the three measures of decisions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from dsmt_nnunet.evaluation.records.class_comparisons import ClassComparisons, MeasureDifference
from dsmt_nnunet.evaluation.records.class_readers import ClassReader
from dsmt_nnunet.evaluation.records.comparisons import (
    AdjustedFamily,
    AucDifference,
    Comparisons,
    DecisionDifference,
    PairedComparison,
    UnpairedComparison,
)
from dsmt_nnunet.evaluation.records.metrics import AddedValueTest, ClassTableMetrics
from dsmt_nnunet.evaluation.records.reader_study import DesignResult, MeritResult
from dsmt_nnunet.evaluation.records.tasks import BinaryTask, MulticlassTask
from dsmt_nnunet.statistics.multiplicity import HolmFamily, holm

_Tasks = TypeVar("_Tasks", bound=Comparisons)
_Task = TypeVar("_Task")
_Classes = TypeVar("_Classes", bound=ClassComparisons)
_Adjust = Callable[[str, str, float], float | None]
"""(family, member, p value) -> adjusted p value; None where there is none."""
_TITLES = {
    "scores": "AUCs of pairs of scores",
    "decisions of scores": "decisions of pairs of scores (accuracy, sensitivity, specificity)",
    "levels": "AUCs between levels of groups",
    "interactions": "AUCs, and differences of AUCs, over all levels of a column at once",
    "readers": "AUCs of scores against readers",
    "decisions of readers": "decisions of scores against readers (accuracy, sensitivity, specificity)",
    "readers together": "AUCs of scores against all readers together",
}

_CLASS_READERS = "readers of grades and classes"
_MODELS = "models of grades and classes"
_CLASS_LEVELS = "levels of grades and classes"
_CLASS_INTERACTIONS = "interactions of grades and classes"
_CLASS_TITLES = {
    _CLASS_READERS: "measures of grades and classes against readers",
    _MODELS: "measures of grades and classes of pairs of models",
    _CLASS_LEVELS: "measures of grades and classes between levels of groups",
    _CLASS_INTERACTIONS: "measures of grades and classes, and their differences, over all levels of a column at once",
}


@dataclass
class _Collected:
    """p values by family and member, and the families after Holm."""

    raw: dict[str, dict[str, float]] = field(default_factory=dict)
    adjusted: dict[str, HolmFamily] = field(default_factory=dict)

    def note(self, family: str, member: str, p_value: float) -> float | None:
        self.raw.setdefault(family, {})[member] = p_value
        return None

    def look_up(self, family: str, member: str, p_value: float) -> float | None:
        value = self.adjusted[family].adjusted[member]
        return None if math.isnan(value) else value

    def adjust(self, titles: Mapping[str, str]) -> tuple[AdjustedFamily, ...]:
        self.adjusted = {name: holm(values, titles.get(name, name)) for name, values in self.raw.items()}
        return tuple(
            AdjustedFamily(name=name, over=item.over, n_tests=item.n_tests, sentence=item.sentence)
            for name, item in self.adjusted.items()
        )


def adjusted_comparisons(tasks: Mapping[str, _Tasks]) -> tuple[dict[str, _Tasks], tuple[AdjustedFamily, ...]]:
    """The same comparisons with p values after Holm, and the families; a table is a single task."""
    collected = _Collected()
    for name, task in tasks.items():
        _walked(name, task, collected.note)
    among = f", over {len(tasks)} tasks" if len(tasks) > 1 else ""
    families = collected.adjust({name: title + among for name, title in _TITLES.items()})
    return {name: _walked(name, task, collected.look_up) for name, task in tasks.items()}, families


def adjusted_tasks(tasks: Mapping[str, _Task]) -> tuple[dict[str, _Task], tuple[AdjustedFamily, ...]]:
    """The same of all tasks together, grades and classes too."""
    compared = {name: task for name, task in tasks.items() if isinstance(task, Comparisons)}
    found, families = adjusted_comparisons(compared)
    everything: dict[str, _Task] = {name: found.get(name, task) for name, task in tasks.items()}
    collected = _Collected()
    for name, task in everything.items():
        _walked_classes(name, task, collected.note)
    among = f", over {len(everything)} tasks" if len(everything) > 1 else ""
    families += collected.adjust({name: title + among for name, title in _CLASS_TITLES.items()})
    return {name: _walked_classes(name, task, collected.look_up) for name, task in everything.items()}, families


def adjusted_added_values(
    tests: tuple[AddedValueTest, ...],
) -> tuple[tuple[AddedValueTest, ...], AdjustedFamily]:
    """The same of what scores add to other columns."""
    collected = _Collected()
    for item in tests:
        collected.note("added value", item.score, item.p_value)
    (family,) = collected.adjust({"added value": f"scores beside {', '.join(tests[0].beside)}"})
    found = (replace(item, p_value_holm=collected.look_up("added value", item.score, item.p_value)) for item in tests)
    return tuple(found), family


def adjusted_classes(found: ClassTableMetrics) -> ClassTableMetrics:
    """A table of classes with p values after Holm, and the families."""

    def walked(adjust: _Adjust) -> ClassTableMetrics:
        readers = {name: _walked_readers(name, of_models, adjust) for name, of_models in found.readers.items()}
        return replace(_walked_comparisons("", found, adjust), readers=readers)

    collected = _Collected()
    walked(collected.note)
    families = collected.adjust(_CLASS_TITLES)
    return replace(walked(collected.look_up), multiplicity=families)


def _walked_classes(name: str, task: _Task, adjust: _Adjust) -> _Task:
    """The p values of grades and classes passed through `adjust`."""
    if isinstance(task, MulticlassTask):
        found = _walked_comparisons(name, task, adjust)
        return replace(found, readers=_walked_readers(name, task.readers, adjust))
    if isinstance(task, BinaryTask) and task.grades is not None:
        grades = _walked_comparisons(name, task.grades, adjust)
        return replace(task, grades=replace(grades, readers=_walked_readers(name, task.grades.readers, adjust)))
    return task


def _walked_readers(name: str, readers: Mapping[str, ClassReader], adjust: _Adjust) -> dict[str, ClassReader]:
    return {
        title: replace(
            reader,
            model_minus_reader=_differences(_CLASS_READERS, f"{name}: {title}", reader.model_minus_reader, adjust),
        )
        for title, reader in readers.items()
    }


def _walked_comparisons(name: str, found: _Classes, adjust: _Adjust) -> _Classes:
    pairs = tuple(
        replace(item, differences=_differences(_MODELS, f"{name}: {' - '.join(item.models)}", item.differences, adjust))
        for item in found.comparisons
    )
    levels = tuple(
        replace(
            item,
            differences=_differences(
                _CLASS_LEVELS,
                f"{name}: {item.model}, {item.group}: {' - '.join(item.levels)}",
                item.differences,
                adjust,
            ),
        )
        for item in found.level_comparisons
    )
    interactions = tuple(
        replace(
            item,
            p_value_holm=adjust(
                _CLASS_INTERACTIONS, f"{name}: {item.subject}, {item.group}, {item.measure}", item.p_value
            ),
        )
        for item in found.interactions
    )
    return replace(found, comparisons=pairs, level_comparisons=levels, interactions=interactions)


def _differences(
    family: str, member: str, found: Sequence[MeasureDifference], adjust: _Adjust
) -> tuple[MeasureDifference, ...]:
    return tuple(
        replace(item, p_value_holm=adjust(family, f"{member}, {item.measure}", item.p_value)) for item in found
    )


def adjusted_merits(merits: Mapping[str, MeritResult]) -> tuple[dict[str, MeritResult], tuple[AdjustedFamily, ...]]:
    """The same of a reader study: in each design the differences of all modalities and merits are a family."""
    collected = _Collected()
    for name, result in merits.items():
        _walked_merit(name, result, collected.note)
    families = collected.adjust({})
    return {name: _walked_merit(name, result, collected.look_up) for name, result in merits.items()}, families


def _walked(task: str, item: _Tasks, adjust: _Adjust) -> _Tasks:
    """Every p value of a task's comparisons passed through `adjust`."""

    def auc(difference: AucDifference, family: str, member: str) -> float | None:
        return adjust(family, f"{task}: {member}", difference.p_value)

    def decisions(difference: DecisionDifference, family: str, member: str) -> DecisionDifference:
        accuracy, sensitivity, specificity = (
            replace(test, p_value_holm=adjust(family, f"{task}: {member}, {name}", test.p_value))
            for name, test in difference.tests
        )
        return DecisionDifference(accuracy=accuracy, sensitivity=sensitivity, specificity=specificity)

    def comparison(found: PairedComparison | UnpairedComparison) -> PairedComparison | UnpairedComparison:
        if isinstance(found, UnpairedComparison):
            member = f"{found.score}, {found.group}: {' - '.join(found.levels)}"
            return replace(found, p_value_holm=auc(found, "levels", member))
        member = " - ".join(found.scores)
        beside = found.decisions and decisions(found.decisions, "decisions of scores", member)
        return replace(found, decisions=beside, p_value_holm=auc(found, "scores", member))

    readers = {}
    for name, reader in item.readers.items():
        against = {}
        for score, difference in reader.against.items():
            member = f"{score} - {name}"
            found = difference.auc and replace(difference.auc, p_value_holm=auc(difference.auc, "readers", member))
            beside = difference.decisions and decisions(difference.decisions, "decisions of readers", member)
            against[score] = replace(difference, auc=found, decisions=beside)
        readers[name] = replace(reader, against=against)
    together = item.multi_reader
    if together is not None:
        each = {
            score: replace(found, p_value_holm=adjust("readers together", f"{task}: {score}", found.p_value))
            for score, found in together.model_minus_readers.items()
        }
        together = replace(together, model_minus_readers=each)
    comparisons = tuple(comparison(found) for found in item.comparisons)
    interactions = tuple(
        replace(
            found,
            p_value_holm=adjust("interactions", f"{task}: {found.subject}, {found.group}", found.p_value),
        )
        for found in item.interactions
    )
    return replace(item, comparisons=comparisons, interactions=interactions, readers=readers, multi_reader=together)


def _walked_merit(merit: str, result: MeritResult, adjust: _Adjust) -> MeritResult:
    def design(name: str, found: DesignResult | None) -> DesignResult | None:
        if found is None:
            return None
        differences = tuple(
            replace(item, p_value_holm=adjust(name, f"{merit}: {item.first} - {item.second}", item.p_value))
            for item in found.differences
        )
        of_readers = tuple(
            replace(
                item,
                p_value_holm=adjust(
                    f"{name}, single readers", f"{merit}, {item.reader}: {item.first} - {item.second}", item.p_value
                ),
            )
            for item in found.reader_differences
        )
        return replace(found, differences=differences, reader_differences=of_readers)

    fixed = design("fixed readers", result.fixed_readers)
    return replace(
        result,
        random_readers_and_cases=design("random readers and cases", result.random_readers_and_cases),
        fixed_readers=fixed or result.fixed_readers,
        fixed_cases=design("fixed cases", result.fixed_cases),
    )
