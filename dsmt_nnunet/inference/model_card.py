"""The card of a model: what it was made of, what it is for, how well it does and where it ends."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE, __version__
from dsmt_nnunet.evaluation.records.metrics import CrossvalMetrics, PredictionMetrics
from dsmt_nnunet.evaluation.records.score import Score
from dsmt_nnunet.evaluation.records.tasks import BinaryTask
from dsmt_nnunet.inference.model_files import checkpoint_paths, read_checkpoint, read_json
from dsmt_nnunet.inference.weights import weights_digest
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.predictions.operating_point import OperatingPoint
from dsmt_nnunet.shipped_models import DATA_TITLE, LIMITS_TITLE, PERFORMANCE_TITLE
from dsmt_nnunet.tasks import ClassificationSchema

FEWEST = 5
"""Groups of fewer patients are not named: they could tell who was there."""
DECIDED = ("sensitivity", "specificity")
_SAID_BY_THE_AUTHOR = ("description", "reference", "licence", "license", "release")


def model_card(
    folder: Path,
    table: NoduleTable | None,
    metrics: CrossvalMetrics | PredictionMetrics | None,
    groups: Sequence[str] = (),
    checkpoint: str = "checkpoint_final.pth",
) -> str:
    """Markdown of what is on disk; what is not there is said to be missing. No case, patient or path is named.

    Args:
        folder: of the model.
        table: its training nodules, of which counts are told; None where they are not at hand.
        metrics: of `dsmt evaluate crossval` or `predictions`; None for none.
        groups: columns of the table whose groups are counted, such as centre or scanner.
        checkpoint: file in each fold's folder.

    Raises:
        FileNotFoundError: no model is there.
        ValueError: it is damaged, the table has no such column, or the metrics are not of its networks.
    """
    plans, dataset_json = (read_json(folder / name, folder) for name in ("plans.json", "dataset.json"))
    plan = DSMTPlan.from_plans(plans)
    paths = checkpoint_paths(folder, None, checkpoint)
    digests = [weights_digest(read_checkpoint(path, trust=False)["network_weights"]) for path in paths]
    if metrics is not None:
        _check_evaluated(folder, metrics.inputs.weights or (), digests)
    lines = [
        f"# {folder.resolve().parent.name}, {folder.resolve().name}",
        "",
        f"{NOT_A_MEDICAL_DEVICE}",
        "",
        *_about(dataset_json, plan, paths, digests),
        *_intended_use(plan),
        *_data(plan.schema, table, groups),
        *_performance(plan.schema, metrics, table),
        *_operating_point(folder, plan.schema, digests),
        *_limits(plan, table),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _check_evaluated(folder: Path, evaluated: Sequence[str], digests: Sequence[str]) -> None:
    """
    Raises:
        ValueError: metrics do not tell of which networks they are, or are of others.
    """
    others = sorted(set(evaluated) - set(digests))
    if not evaluated or others:
        what = f"{len(others)} of {len(evaluated)} are not among them" if others else "the metrics name none"
        raise ValueError(
            f"The metrics are not of the networks that {folder.name} holds ({what}): they are of another model, of one "
            f"that was trained anew since, or written by another release. Evaluate this one: dsmt evaluate crossval."
        )


def _about(
    dataset_json: dict[str, Any], plan: DSMTPlan, paths: Sequence[Path], digests: Sequence[str]
) -> Iterator[str]:
    for key in _SAID_BY_THE_AUTHOR:
        if dataset_json.get(key):
            yield f"- {key}: {dataset_json[key]}"
    if not any(dataset_json.get(key) for key in ("licence", "license")):
        yield "- licence: not stated (add `licence` to dataset.json)"
    yield f"- written by dsmt-nnunet {__version__}"
    for path, digest in zip(paths, digests, strict=True):
        yield f"- weights of {path.parent.name}: SHA-256 {digest}..."
    yield ""
    yield from ("## How it was planned", "")
    yield from (f"- {name}: {reason}" for name, reason in plan.decisions.items())
    yield from (() if plan.decisions else ("- by the defaults for stock plans",))
    yield ""


def _intended_use(plan: DSMTPlan) -> Iterator[str]:
    yield from ("## What it answers", "")
    for task in plan.schema.tasks:
        primary = ", the primary task" if task.name == plan.schema.primary_task else ""
        question = task.question_of_grades
        asked = f"; asked: {question.positive} (from {question.positive_from} on)?" if question is not None else ""
        yield f"- {task.name} ({task.kind.value}{primary}): {', '.join(task.classes)}{asked}"
    for covariate in plan.covariates:
        what = f"number, {covariate.unit or 'no unit'}" if covariate.is_number else ", ".join(covariate.categories)
        yield f"- it may be told {covariate.name} ({what}); for what is not known stands what such a nodule lets expect"
    yield ""
    yield "Meant for research on nodules in CT like those below, at positions that somebody gives or a search finds;"
    yield "not for decisions about patients."
    yield ""


def _data(schema: ClassificationSchema, table: NoduleTable | None, groups: Sequence[str]) -> Iterator[str]:
    yield from (f"## {DATA_TITLE}", "")
    if table is None:
        yield from ("The table of training nodules was not at hand.", "")
        return
    without = f", {len(table.empty)} of them without a nodule," if table.empty else ""
    size = f"{len(table)} nodules in {len(table.case_ids)} scans{without} of {len(table.patient_ids)} patients"
    yield f"{size}; each fold left its own out."
    yield ""
    yield from ("| task | class | nodules |", "|---|---|---|")
    for task in schema.tasks:
        counts = Counter(nodule.labels.get(task.name) for nodule in table.nodules)
        yield from (f"| {task.name} | {name} | {counts[name]} |" for name in task.classes)
        yield f"| {task.name} | not known | {counts[None]} |"
    yield ""
    for column in groups:
        if not any(column in nodule.extra for nodule in table.nodules):
            raise ValueError(f"The table of nodules has no column '{column}'; it has {sorted(table.nodules[0].extra)}.")
        yield from (f"| {column} | nodules | patients |", "|---|---|---|")
        yield from _group_rows(table, column)
        yield ""


def _group_rows(table: NoduleTable, column: str) -> Iterator[str]:
    nodules = Counter(_level(nodule, column) for nodule in table.nodules)
    patients = _patients(table, column)
    small = [level for level in nodules if patients[level] < FEWEST]
    yield from (f"| {level} | {nodules[level]} | {patients[level]} |" for level in sorted(set(nodules) - set(small)))
    if small:
        yield f"| {len(small)} of fewer than {FEWEST} patients | {sum(nodules[level] for level in small)} | |"


def _patients(table: NoduleTable | None, column: str) -> Counter[str]:
    """Level of a column -> how many patients have a nodule of it."""
    pairs = {(_level(nodule, column), nodule.patient_id) for nodule in (table.nodules if table else ())}
    return Counter(level for level, _ in pairs)


def _level(nodule: Nodule, column: str) -> str:
    return nodule.extra.get(column) or "not known"


def _performance(
    schema: ClassificationSchema, metrics: CrossvalMetrics | PredictionMetrics | None, table: NoduleTable | None
) -> Iterator[str]:
    yield from (f"## {PERFORMANCE_TITLE}", "")
    if metrics is None:
        yield from ("Not measured: give the folder of `dsmt evaluate crossval` with --metrics.", "")
        return
    how = "cross-validation, nodules at their true positions" if metrics.kind == "crossval" else "cases apart"
    yield f"By {how}; in brackets {metrics.confidence} intervals."
    yield ""
    for name in schema.task_names:
        task = metrics.tasks.get(name)
        if not isinstance(task, Score):
            continue
        yield f"- {name}: {task.auc_sentence}"
        point = task.point
        if point is not None:
            metrics_shown = ("sensitivity", "specificity", "ppv", "npv")
            yield f"  - {', '.join(f'{metric} {_with_ci(*point.metric(metric))}' for metric in metrics_shown)}"
        yield f"  - calibration: slope {task.calibration_slope:.2f}, Brier score {task.brier:.3f}"
    # By their task alone: messages may name cases, and what follows the task small groups.
    warnings = dict.fromkeys(f"{warning.name} ({warning.where.split(',')[0]})" for warning in metrics.warnings)
    if warnings:
        yield f"- warnings of the evaluation: {', '.join(warnings)}"
    yield ""
    yield from _subgroups(metrics, table)


def _subgroups(metrics: CrossvalMetrics | PredictionMetrics, table: NoduleTable | None) -> Iterator[str]:
    """The primary task by each group column of the evaluation."""
    task = metrics.tasks.get(metrics.primary_task)
    if not isinstance(task, BinaryTask):
        return
    yield from (f"### {metrics.primary_task} by subgroup", "")
    if not task.subgroups:
        columns = "`--group centre --group scanner --group diameter_mm=10,20`"
        yield from (f"Not measured: evaluate with the columns that tell groups apart, as in {columns}.", "")
        return
    for column, levels in task.subgroups.items():
        patients = _patients(table, column)
        small = {name for name, level in levels.items() if min(level.n, patients.get(name, level.n)) < FEWEST}
        yield f"| {column} | nodules | {task.positive_class} | AUC | sensitivity | specificity |"
        yield "|---|---|---|---|---|---|"
        for name, level in levels.items():
            score = level.scores.get(metrics.primary_task)
            if name in small or score is None:
                continue
            decided = [_with_ci(*score.point.metric(what)) if score.point else "" for what in DECIDED]
            auc = _with_ci(score.auc, score.auc_ci)
            yield f"| {name} | {level.n} | {level.n_positive} | {auc} | {' | '.join(decided)} |"
        if small:
            count = sum(levels[name].n for name in small)
            yield f"| {len(small)} of fewer than {FEWEST} patients or nodules | {count} | | | | |"
        yield ""


def _with_ci(value: float, ci: tuple[float, float]) -> str:
    if math.isnan(value):
        return "not defined"
    return (
        f"{value:.2f} ({ci[0]:.2f} to {ci[1]:.2f})" if not math.isnan(ci[0] + ci[1]) else f"{value:.2f} (no interval)"
    )


def _operating_point(folder: Path, schema: ClassificationSchema, digests: Sequence[str]) -> Iterator[str]:
    yield from ("## Operating point", "")
    point = OperatingPoint.read(folder)
    misfit = "" if point is None else point.misfit(digests, schema)
    if point is None or misfit:
        why = f" That of the folder is not used: {misfit}." if misfit else ""
        yield from (f"None: thresholds are 0.5, and probabilities are not calibrated.{why}", "")
        return
    for name in schema.task_names:
        if name in point.tasks:
            yield f"- {name}: temperature {point.temperature(name):.3g}, threshold {point.threshold(name):.3g}"
    yield ""


def _limits(plan: DSMTPlan, table: NoduleTable | None) -> Iterator[str]:
    yield from (f"## {LIMITS_TITLE}", "")
    if table is not None:
        known = sorted(nodule.diameter_mm for nodule in table.nodules if nodule.diameter_mm > 0)
        if known:
            yield f"- nodules it learnt from are {known[0]:.0f} to {known[-1]:.0f} mm wide; others are extrapolated"
    yield f"- components below {plan.min_diameter_mm:g} mm are no candidates of a search"
    if not plan.training.background_share:
        yield (
            "- it learnt from patches around nodules alone: give it the positions of the nodules (nodules.csv), since "
            "a search of a whole chest takes vessels for nodules"
        )
    if not plan.use_context:
        yield "- it looks at the nodule and its rim alone, not at the lung around"
    yield "- a model that starts from these weights knows the patients above: a validation on them would be too good"
    yield "- other scanners, protocols and populations than those above have to be tried before anything rests on it"
