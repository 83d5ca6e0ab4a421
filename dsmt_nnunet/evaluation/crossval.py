"""Evaluation of a cross-validation, and the operating point that prediction uses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dsmt_nnunet.evaluation.families import adjusted_tasks
from dsmt_nnunet.evaluation.files import JOINED_NAME, head_of, whole_evaluation, write_curves, write_metrics, write_rows
from dsmt_nnunet.evaluation.grades import evaluate_grades
from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule, asked_about, join_case, joined_table
from dsmt_nnunet.evaluation.out_of_fold import NestedCalibration, choose_operating_point, nested_calibration
from dsmt_nnunet.evaluation.predicted import (
    check_columns,
    check_max_distance,
    extra_columns,
    read_truth,
    shared_schema,
    shortened,
)
from dsmt_nnunet.evaluation.records.curves import MulticlassCurves, ScoreCurves
from dsmt_nnunet.evaluation.records.metrics import CrossvalMetrics, CrossvalSources, OperatingPointFile
from dsmt_nnunet.evaluation.records.tasks import (
    ChosenPoint,
    CrossvalBinaryTask,
    CrossvalMulticlassTask,
    CrossvalTask,
    FoldScore,
    FoldSummary,
)
from dsmt_nnunet.evaluation.score import calibration
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.task import (
    evaluate_binary_task,
    evaluate_multiclass_task,
    warn_of_gaps,
    warn_of_patients,
)
from dsmt_nnunet.evaluation.task_cases import TaskCases, TaskOptions
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.predictions.operating_point import OPERATING_POINT_NAME, OperatingPoint, TaskOperatingPoint
from dsmt_nnunet.predictions.results import CasePrediction, is_case_file, read_folder
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.calibration.scaling import DEFAULT_THRESHOLD, apply_temperature
from dsmt_nnunet.statistics.checks import FloatArray, IntArray
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.statistics.named_warnings import IncompleteDataWarning, ThresholdWarning, WarningLog
from dsmt_nnunet.statistics.roc.folds import FoldAuc, crossval_auc
from dsmt_nnunet.tasks import ClassificationSchema, Task

NESTED = "temperature and threshold of each fold chosen on the other folds"
ONE_FOLD = f"default {DEFAULT_THRESHOLD:g} on uncalibrated probabilities; one fold only"
OPERATING_POINT_NOTE = (
    "operating_point.json holds temperature and threshold chosen on all out-of-fold predictions together. The metrics "
    "here are of temperatures and thresholds chosen on the other folds, so that no fold is judged by its own choice."
)


@dataclass(frozen=True)
class CrossvalInputs:
    """What is evaluated.

    Attributes:
        model_folder: with fold_k/validation/CASE.json; operating_point.json is written there.
        truth: nodules.csv.
        folds: folds to use; None for all that were validated.
        max_distance_mm: limit between centres; None for the default rule of `nodule_matching`.
        target_sensitivity: of the threshold; None for Youden's J.
        options: columns and thresholds.
    """

    model_folder: Path
    truth: Path
    folds: tuple[int, ...] | None = None
    max_distance_mm: float | None = None
    target_sensitivity: float | None = None
    options: TaskOptions = field(default_factory=TaskOptions)

    def __post_init__(self) -> None:
        check_max_distance(self.max_distance_mm)
        if self.folds is not None and len(set(self.folds)) < len(self.folds):
            raise ValueError(f"A fold counts once, got {list(self.folds)} (-f).")
        if self.target_sensitivity is not None and not 0 < self.target_sensitivity <= 1:
            raise ValueError(f"--target-sensitivity lies in 0 to 1 (0 excluded), got {self.target_sensitivity:g}.")


def evaluate_crossval(inputs: CrossvalInputs, out: Path, settings: EvaluationSettings) -> CrossvalMetrics:
    """Evaluates all folds' validation predictions; writes operating_point.json into the model folder, and
    metrics.json, curves.json and joined.csv into `out`.

    Raises:
        ValueError: no fold was validated, a case was validated in two folds, or it has no row in the truth, or no
            nodule can be judged.
    """
    log = WarningLog()
    folds = _read_folds(inputs)
    predictions = [item for cases in folds.values() for item in cases]
    schema = shared_schema(predictions)
    truth = read_truth(inputs.truth, schema)
    inputs = replace(inputs, options=inputs.options.resolved(schema.primary_task))
    check_columns(truth, schema, inputs.options, inputs.truth)
    joined = asked_about(_join(folds, truth, inputs, log), schema, log)
    warn_of_patients(joined, inputs.options, log)
    temperatures = {item.case_id: item.model.get("temperatures", {}) for item in predictions}
    tasks: dict[str, CrossvalTask] = {}
    curves: dict[str, ScoreCurves | MulticlassCurves] = {}
    points: dict[str, TaskOperatingPoint] = {}
    for task in schema.tasks:
        cases = uncalibrated_cases(TaskCases.of(joined, task), temperatures)
        if task.name == schema.primary_task:
            _check_judged(cases, inputs.truth)
        warn_of_gaps(joined, cases, task, log)
        with log.collect(f"{task.name}, operating point"):
            points[task.name] = choose_operating_point(
                cases.labels, cases.probs, inputs.target_sensitivity, cases.clusters(inputs.options)
            )
        tasks[task.name], curves[task.name] = _task(task, cases, points[task.name], joined, inputs, settings, log)
    tasks, families = adjusted_tasks(tasks)
    classes = {task.name: task.classes for task in schema.tasks}
    chosen_on = _chosen_on(schema, points, list(folds))
    weights = weights_of(folds, log)
    point = OperatingPoint(points, chosen_on, weights, classes)
    metrics = widened(
        CrossvalMetrics,
        head_of(settings, log, families),
        inputs=CrossvalSources(
            model=inputs.model_folder.name,
            dataset=inputs.model_folder.parent.name,
            truth=inputs.truth.name,
            cluster=inputs.options.cluster,
            weights=weights or None,
        ),
        primary_task=schema.primary_task,
        folds=tuple(folds),
        operating_point=OperatingPointFile(file=OPERATING_POINT_NAME, note=OPERATING_POINT_NOTE),
        tasks=tasks,
        detection=None,
        dice=None,
    )
    with whole_evaluation(out, inputs.truth) as place:
        write_rows(place / JOINED_NAME, *joined_table(joined, schema, extra_columns(truth)))
        write_curves(place, "crossval", tasks=curves)
        write_metrics(place, metrics)
        point.write(inputs.model_folder)
    return metrics


def uncalibrated_cases(cases: TaskCases, temperatures: dict[str, dict[str, float]]) -> TaskCases:
    """The same cases with the temperature that the prediction files name taken back."""
    used = [float(temperatures.get(item.case_id, {}).get(cases.task.name, 1.0)) for item in cases.nodules]
    probs = [apply_temperature(row, 1 / value) for row, value in zip(cases.probs, used, strict=True)]
    return TaskCases(cases.task, cases.nodules, cases.labels, np.array(probs).reshape(cases.probs.shape))


def _read_folds(inputs: CrossvalInputs) -> dict[int, list[CasePrediction]]:
    validated = [
        path for path in inputs.model_folder.glob("fold_*/validation") if any(map(is_case_file, path.glob("*.json")))
    ]
    names = [path.parent.name for path in validated]
    there = tuple(sorted(int(name[5:]) for name in names if name[5:].isdigit()))
    numbers = there if inputs.folds is None else inputs.folds
    if there and (lacking := [fold for fold in numbers if not (inputs.model_folder / f"fold_{fold}").is_dir()]):
        raise ValueError(f"{inputs.model_folder} has no fold {lacking[0]} (-f); validated are the folds {list(there)}.")
    if not numbers:
        raise ValueError(
            f"{inputs.model_folder} holds no fold_K/validation. Train a fold, or validate it: "
            f"nnUNetv2_train DATASET CONFIGURATION FOLD -tr TRAINER --val"
        )
    folds = {fold: read_folder(inputs.model_folder / f"fold_{fold}" / "validation") for fold in numbers}
    seen: dict[str, int] = {}
    for fold, cases in folds.items():
        for item in cases:
            if item.case_id in seen:
                raise ValueError(
                    f"Case '{item.case_id}' was validated in fold {seen[item.case_id]} and in fold {fold}; a case "
                    f"belongs to the validation set of one fold. Name the folds of one split with -f."
                )
            seen[item.case_id] = fold
    return folds


def _join(
    folds: dict[int, list[CasePrediction]], truth: NoduleTable, inputs: CrossvalInputs, log: WarningLog
) -> list[JoinedNodule]:
    by_case = truth.by_case()
    unknown = sorted(item.case_id for cases in folds.values() for item in cases if item.case_id not in truth.case_ids)
    if unknown:
        message = f"{len(unknown)} validated cases have no row in the truth and count as scans without a nodule."
        log.add(IncompleteDataWarning, "cases", message)
    validated = {item.case_id for cases in folds.values() for item in cases}
    if absent := [case_id for case_id in truth.case_ids if case_id not in validated]:
        message = (
            f"{len(absent)} of {len(truth.case_ids)} cases of the truth were not validated in the folds {list(folds)} "
            f"and do not count here: {shortened(absent)}. Train or validate (--val) the folds that are missing."
        )
        log.add(IncompleteDataWarning, "cases", message)
    return [
        nodule
        for fold, cases in folds.items()
        for item in cases
        for nodule in join_case(item, by_case.get(item.case_id, ()), inputs.max_distance_mm, fold)
    ]


def _check_judged(cases: TaskCases, truth: Path) -> None:
    """Refuses to choose an operating point on nothing, which would take the place of a good one."""
    if not len(cases.labels):
        raise ValueError(
            f"No validated nodule can be judged by the primary task: {truth} has no row with a known label at any of "
            f"their positions. Compare its case_id and x_mm, y_mm, z_mm with the validated cases; nothing was written."
        )


def _task(
    task: Task,
    cases: TaskCases,
    point: TaskOperatingPoint,
    joined: Sequence[JoinedNodule],
    inputs: CrossvalInputs,
    settings: EvaluationSettings,
    log: WarningLog,
) -> tuple[CrossvalTask, ScoreCurves | MulticlassCurves]:
    folds = np.array([item.fold for item in cases.nodules], dtype=np.int64)
    nested = None
    if len(np.unique(folds)) > 1:
        with log.collect(f"{task.name}, other folds"):
            nested = nested_calibration(
                cases.labels, cases.probs, folds, inputs.target_sensitivity, cases.clusters(inputs.options)
            )
    else:
        message = "One fold only: a chosen threshold and temperature cannot be judged on data they were not chosen on."
        log.add(ThresholdWarning, task.name, message)
    expected, limits = (point.details.get(f"sensitivity_to_expect{end}") for end in ("", "_ci"))
    chosen = ChosenPoint(
        temperature=point.temperature,
        threshold=point.threshold,
        method=point.method,
        sensitivity_to_expect=None if expected is None else float(expected),
        sensitivity_to_expect_ci=None if limits is None else (float(limits[0]), float(limits[1])),
    )
    if not cases.task.is_binary:
        of_classes, class_curves = evaluate_multiclass_task(
            cases, inputs.options, settings, log, folds, None if nested is None else nested.probs
        )
        return widened(CrossvalMulticlassTask, of_classes, chosen_operating_point=chosen), class_curves
    if nested is None:
        decisions = Decisions.at_threshold(cases.probs[:, 1], DEFAULT_THRESHOLD, ONE_FOLD)
        probabilities = None
    else:
        decisions, probabilities = Decisions(nested.called_positive, float("nan"), NESTED), nested.probs[:, 1]
    found, curves = evaluate_binary_task(cases, [decisions], inputs.options, settings, log, probabilities, folds)
    clusters = cases.clusters(inputs.options)
    with log.collect(f"{task.name}, folds"):
        summary = _fold_summary(cases, folds, decisions, nested, settings, clusters)
    with log.collect(task.name):
        before = calibration(cases.labels == 1, cases.probs[:, 1], settings.level, clusters)
        grades = evaluate_grades(joined, task, inputs.options, settings, log)
    parts = {"uncalibrated": before, "chosen_operating_point": chosen, "grades": grades}
    return widened(CrossvalBinaryTask, found, summary, **parts), curves


def _fold_summary(
    cases: TaskCases,
    folds: IntArray,
    decisions: Decisions,
    nested: NestedCalibration | None,
    settings: EvaluationSettings,
    clusters: tuple[str, ...] | None,
) -> FoldSummary:
    score: FloatArray = cases.probs[:, 1]
    auc = crossval_auc(cases.labels == 1, score, folds, settings.level, clusters)
    choices = {} if nested is None else {choice.fold: choice for choice in nested.choices}

    def entry(item: FoldAuc) -> FoldScore:
        inside = folds == item.fold
        positive = cases.labels[inside] == 1
        called = decisions.called_positive[inside]
        choice = choices.get(item.fold)
        return FoldScore(
            fold=item.fold,
            n=item.n,
            n_positive=item.n_positive,
            auc=item.interval.auc,
            auc_ci=(item.interval.lower, item.interval.upper),
            auc_method=item.interval.method,
            temperature_from_other_folds=math.nan if choice is None else choice.temperature,
            threshold_from_other_folds=math.nan if choice is None else choice.threshold,
            sensitivity=float(called[positive].mean()) if positive.any() else math.nan,
            specificity=float((~called[~positive]).mean()) if (~positive).any() else math.nan,
        )

    return FoldSummary(
        folds=tuple(entry(item) for item in auc.folds),
        n_folds_with_auc=auc.n_folds,
        auc_ci_these_models=auc.ci_these_models,
        auc_sd_over_folds=auc.sd,
        auc_pooled=auc.pooled,
    )


def weights_of(folds: Mapping[int, Sequence[CasePrediction]], log: WarningLog) -> tuple[str, ...]:
    """Digests of the networks that made the predictions, one a fold: what an operating point is tied to.

    Raises:
        ValueError: predictions of a fold come from several networks.
    """
    digests = set()
    for fold, cases in folds.items():
        own = {tuple(item.model.get("weights", ())) for item in cases}
        if len(own) > 1:
            raise ValueError(
                f"The validation predictions of fold {fold} come from {len(own)} networks: an earlier training left "
                f"some. Validate the fold anew: nnUNetv2_train ... --val"
            )
        digests |= {str(digest) for weights in own for digest in weights}
    if len(digests) != len(folds):
        message = (
            "The predictions do not tell which networks made them (another release wrote them), so prediction will not "
            "use this operating point. Validate the folds anew: nnUNetv2_train ... --val"
        )
        log.add(IncompleteDataWarning, "operating point", message)
        return ()
    return tuple(sorted(digests))


def _chosen_on(
    schema: ClassificationSchema, points: dict[str, TaskOperatingPoint], folds: Sequence[int]
) -> dict[str, object]:
    details = points[schema.primary_task].details
    return {"folds": list(folds), "n": details["n"], "n_positive": details.get("n_positive")}
