"""What `dsmt evaluate` prints."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE

if TYPE_CHECKING:
    from dsmt_nnunet.evaluation.records.comparisons import AucDifference, Comparisons
    from dsmt_nnunet.evaluation.records.metrics import AddedValueTest, Metrics
    from dsmt_nnunet.evaluation.records.score import DecisionValues, Score
    from dsmt_nnunet.evaluation.records.tasks import BinaryTask, MulticlassTask
    from dsmt_nnunet.statistics.non_inferiority import NonInferiority


def print_tasks(tasks: Mapping[str, BinaryTask | MulticlassTask]) -> None:
    """One line a task, its operating points and grades below."""
    from dsmt_nnunet.evaluation.records.tasks import MulticlassTask

    for name, task in tasks.items():
        if isinstance(task, MulticlassTask):
            print(
                f"{name}: n {task.n}, macro AUC {shown(task.auc_macro)} ({interval(task.auc_macro_ci)}), accuracy "
                f"{shown(task.accuracy)} ({interval(task.accuracy_ci)})"
            )
        else:
            print_score(name, task)
            if task.grades:
                grades = task.grades
                print(
                    f"  grades: n {grades.n}, quadratic kappa {shown(grades.quadratic_kappa)} "
                    f"({interval(grades.quadratic_kappa_ci)}), C-index {shown(grades.c_index)} "
                    f"({interval(grades.c_index_ci)}), mean error {shown(grades.mean_absolute_error, 2)} "
                    f"({interval(grades.mean_absolute_error_ci)}) grades"
                )
            print_comparisons(task)


def print_score(name: str, score: Score) -> None:
    """The AUC to quote, and every operating point."""
    print(f"{name}: n {score.n} ({score.n_positive} positive). {score.auc_sentence}")
    for item in score.estimates:
        print(f"  {item.name} {shown(item.value)} ({interval(item.ci)})")
    if score.partial_auc:
        part = score.partial_auc
        print(
            f"  specificities of {part.min_specificity:g} to 1: mean sensitivity {shown(part.mean_sensitivity)} "
            f"({interval(part.mean_sensitivity_ci)}), standardised partial AUC {shown(part.standardised)} "
            f"({interval(part.standardised_ci)})"
        )
    for point in score.operating_points:
        unknown = "each fold its own" if "fold" in point.threshold_source else "undefined"
        threshold = unknown if math.isnan(point.threshold) else f"{point.threshold:.4g}"
        print(f"  threshold {threshold}: {decided(point, ('sensitivity', 'specificity', 'f1', 'accuracy'))}")
        if point.elsewhere:
            print(
                f"  chosen on these cases; on others expect a sensitivity of {shown(point.elsewhere.sensitivity)} "
                f"({interval(point.elsewhere.sensitivity_ci)}), a specificity of "
                f"{shown(point.elsewhere.specificity)} ({interval(point.elsewhere.specificity_ci)})"
            )
        if point.at_prevalence:
            rare = point.at_prevalence
            print(
                f"  at a prevalence of {rare.prevalence:g}: PPV {shown(rare.ppv)} ({interval(rare.ppv_ci)}), "
                f"NPV {shown(rare.npv)} ({interval(rare.npv_ci)}), net benefit {shown(rare.net_benefit)} "
                f"({interval(rare.net_benefit_ci)})"
            )


def decided(values: DecisionValues, metrics: Sequence[str] = ("sensitivity", "specificity")) -> str:
    """Metrics of decisions with their intervals."""
    found = {metric: values.metric(metric) for metric in metrics}
    return ", ".join(f"{metric} {shown(value)} ({interval(ci)})" for metric, (value, ci) in found.items())


def print_added(tests: Sequence[AddedValueTest]) -> None:
    """What each score adds to what is known without it."""
    for item in tests:
        print(
            f"{item.score} beside {', '.join(item.beside)}: log odds {shown(item.weight)} a standard deviation, p "
            f"{p_value(item.p_value)}{holm(item.p_value_holm)} ({item.test})"
        )


def print_comparisons(found: Comparisons) -> None:
    """Pairs of scores, levels of groups, all scores and all levels at once, and scores less readers."""
    from dsmt_nnunet.evaluation.records.comparisons import PairedComparison

    for item in found.comparisons:
        pair = item.scores if isinstance(item, PairedComparison) else item.levels
        of = "" if isinstance(item, PairedComparison) else f"{item.score}, {item.group}: "
        _print_difference(f"{of}{pair[0]} - {pair[1]}", item)
    if found.comparison_joint:
        joint = found.comparison_joint
        print(f"{', '.join(joint.scores)}: all AUCs equal, p {p_value(joint.p_value)} ({joint.test})")
    for test in found.interactions:
        print(
            f"AUC of {test.subject} at all levels of {test.group}: p {p_value(test.p_value)}{holm(test.p_value_holm)}"
        )
    for name, reader in found.readers.items():
        for score, against in reader.against.items():
            if against.auc:
                _print_difference(f"{score} - {name}", against.auc)
            if against.decisions:
                share = against.decisions.accuracy
                print(
                    f"{score} - {name}: accuracy difference {shown(share.difference)} ({interval(share.ci)}), "
                    f"p {p_value(share.p_value)}{holm(share.p_value_holm)}"
                )
    together = found.multi_reader
    for score, mean in (together.model_minus_readers if together else {}).items():
        print(
            f"{score} - mean of {len(together.readers) if together else 0} readers: AUC difference "
            f"{shown(mean.difference)} ({interval(mean.ci)}), p {p_value(mean.p_value)}{holm(mean.p_value_holm)}"
        )
        _print_margin(mean.non_inferiority)


def _print_difference(title: str, item: AucDifference) -> None:
    print(
        f"{title}: AUC difference {shown(item.auc_difference)} ({interval(item.ci)}), p {p_value(item.p_value)}"
        f"{holm(item.p_value_holm)}"
    )
    _print_margin(item.non_inferiority)


def _print_margin(asked: NonInferiority | None) -> None:
    if asked:
        answer = "shown" if asked.is_shown else "not shown"
        print(f"  not worse by more than {asked.margin:g}: {answer}, one-sided p {p_value(asked.p_value)}")


def p_value(value: float) -> str:
    """Four decimals, `<0.0001` below that."""
    return "<0.0001" if value < 0.00005 else shown(value, 4)


def holm(value: float | None) -> str:
    """An adjusted p value in brackets; "" where there is none."""
    return "" if value is None else f" (Holm {p_value(value)})"


def shown(value: float, digits: int = 3) -> str:
    """A number, or a word where it is not defined."""
    return "undefined" if math.isnan(value) else f"{value:.{digits}f}"


def interval(limits: Sequence[float]) -> str:
    """`0.81 to 0.99`."""
    return f"{shown(limits[0])} to {shown(limits[1])}"


def finish(metrics: Metrics, out: Path) -> int:
    """What p values are adjusted over, warnings to stderr, where the results are, and that they are no medical advice.

    Returns:
        The exit status.
    """
    for family in metrics.multiplicity:
        if family.n_tests > 1:
            print(family.sentence)
    for item in metrics.warnings:
        print(f"warning: {item.where}: {item.message} [{item.name}]", file=sys.stderr)
    print(f"{out / 'metrics.json'}\n{NOT_A_MEDICAL_DEVICE}")
    return 0
