"""Evaluation of a folder of predictions against a table of nodules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dsmt_nnunet.evaluation.detection import detection_of, dice_of, scan_rows
from dsmt_nnunet.evaluation.dice import dice_of_files, find_mask
from dsmt_nnunet.evaluation.families import adjusted_tasks
from dsmt_nnunet.evaluation.files import (
    CASES_NAME,
    JOINED_NAME,
    MARKS_NAME,
    head_of,
    whole_evaluation,
    write_curves,
    write_metrics,
    write_rows,
)
from dsmt_nnunet.evaluation.free_response import MARK_COLUMNS, free_response, searched_scans
from dsmt_nnunet.evaluation.grades import evaluate_grades
from dsmt_nnunet.evaluation.intention import intended_table, intention_to_diagnose
from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule, asked_about, join_case, joined_table
from dsmt_nnunet.evaluation.patients import PATIENT_COLUMN
from dsmt_nnunet.evaluation.records.curves import MulticlassCurves, ScoreCurves
from dsmt_nnunet.evaluation.records.metrics import PredictionMetrics, PredictionSources
from dsmt_nnunet.evaluation.records.tasks import PredictedBinaryTask, PredictedTask
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.task import (
    evaluate_binary_task,
    evaluate_multiclass_task,
    warn_of_gaps,
    warn_of_patients,
)
from dsmt_nnunet.evaluation.task_cases import TaskCases, TaskOptions, patient_of
from dsmt_nnunet.identifiers import look_alikes, same_name_key, same_person_key
from dsmt_nnunet.nodules import NoduleTable, at_one_place
from dsmt_nnunet.predictions.results import CasePrediction, read_folder
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.named_warnings import IncompleteDataWarning, WarningLog
from dsmt_nnunet.tasks import FIXED_COLUMNS, ClassificationSchema

COUNTED_AS_WRONG = "count as not diagnosed (--only-predicted leaves them out, where they were not to be predicted)"


@dataclass(frozen=True)
class PredictionInputs:
    """What is compared with what.

    Attributes:
        folder: with CASE.json, and CASE.nii.gz for Dice.
        truth: nodules.csv.
        labels: folder of reference masks; None leaves Dice out.
        max_distance_mm: limit between centres; None for the default rule of `nodule_matching`.
        options: columns and thresholds.
        only_predicted: leaves out cases of the truth that have no prediction, which else count as not diagnosed.
    """

    folder: Path
    truth: Path
    labels: Path | None = None
    max_distance_mm: float | None = None
    options: TaskOptions = field(default_factory=TaskOptions)
    only_predicted: bool = False

    def __post_init__(self) -> None:
        check_max_distance(self.max_distance_mm)
        if self.labels is not None and not self.labels.is_dir():
            raise ValueError(f"--labels {self.labels} is not a folder. It holds the reference masks, CASE.nii.gz.")


def evaluate_predictions(inputs: PredictionInputs, out: Path, settings: EvaluationSettings) -> PredictionMetrics:
    """Evaluates predictions and writes metrics.json, curves.json, joined.csv, cases.csv and, of a search, marks.csv.

    Raises:
        ValueError: predictions and truth share no case, tasks differ between files, or a column is missing.
        FileNotFoundError: no predictions, or no table.
    """
    log = WarningLog()
    predictions = read_folder(inputs.folder)
    schema = shared_schema(predictions)
    truth = read_truth(inputs.truth, schema)
    options = inputs.options.resolved(schema.primary_task)
    check_columns(truth, schema, options, inputs.truth)
    joined = asked_about(join_all(predictions, truth, inputs, log), schema, log)
    warn_of_patients(joined, options, log)
    tasks, curves = _evaluate_tasks(joined, schema, options, settings, log)
    dice = _dice_of_cases(predictions, inputs, log)
    sources = PredictionSources(
        predictions=inputs.folder.name,
        truth=inputs.truth.name,
        labels=None if inputs.labels is None else inputs.labels.name,
        cluster=options.cluster,
        weights=tuple(map(str, predictions[0].model.get("weights", ()))) or None,
    )
    absent = [] if inputs.only_predicted else absent_cases(predictions, truth)
    detection = detection_of(joined, len(predictions), len(absent), inputs.max_distance_mm, settings, options.cluster)
    patients = _patient_of_case(truth, options)
    over_cases = dice_of(dice, patients, settings)
    scans = searched_scans(predictions, truth, schema.asked, absent, inputs.max_distance_mm, log)
    marks_curves = None
    if scans:
        with log.collect("FROC and AFROC"):
            found, marks_curves = free_response(scans, patients, settings)
        detection = replace(detection, free_response=found)
    tasks, families = adjusted_tasks(tasks)
    metrics = widened(
        PredictionMetrics,
        head_of(settings, log, families),
        inputs=sources,
        primary_task=schema.primary_task,
        tasks=tasks,
        detection=detection,
        dice=over_cases,
    )
    with whole_evaluation(out, inputs.truth) as place:
        write_rows(place / JOINED_NAME, *joined_table(joined, schema, extra_columns(truth)))
        write_rows(place / CASES_NAME, *scan_rows(joined, dice))
        if scans:
            write_rows(place / MARKS_NAME, MARK_COLUMNS, scans.rows)
        write_curves(place, "predictions", tasks=curves, free_response=marks_curves)
        write_metrics(place, metrics)
    return metrics


def check_max_distance(max_distance_mm: float | None) -> None:
    """
    Raises:
        ValueError: it is no distance within which a nodule can be found.
    """
    if max_distance_mm is not None and not max_distance_mm > 0:
        raise ValueError(f"--max-distance must be a positive number of mm, got {max_distance_mm:g}.")


def read_truth(path: Path, schema: ClassificationSchema) -> NoduleTable:
    """The true nodules, each once.

    Raises:
        ValueError: bad rows, rows that name one place, a case of two patients, or several of nobody.
    """
    truth = NoduleTable.read(path, schema)
    truth.patient_of_case()  # raises where a case has two, or its patient is nobody
    if twice := [text for nodules in truth.by_case().values() for text in at_one_place(nodules)]:
        raise ValueError(f"{path}: a nodule counts once. Remove the copies:\n  " + "\n  ".join(twice))
    return truth


def shared_schema(predictions: Sequence[CasePrediction]) -> ClassificationSchema:
    """The schema of all predictions.

    Raises:
        ValueError: they have different ones.
    """
    schema = predictions[0].schema
    other = next((item for item in predictions if item.schema != schema), None)
    if other is not None:
        raise ValueError(
            f"Cases '{predictions[0].case_id}' and '{other.case_id}' were predicted with different tasks; keep the "
            f"predictions of each model in a folder of their own."
        )
    return schema


def extra_columns(truth: NoduleTable) -> list[str]:
    """Columns of a nodule table beyond the fixed ones and the tasks."""
    return list(dict.fromkeys(name for nodule in truth.nodules for name in nodule.extra))


def check_columns(truth: NoduleTable, schema: ClassificationSchema, options: TaskOptions, path: Path) -> None:
    """Raises ValueError where an option names a column or a task that is not there."""
    available = [*FIXED_COLUMNS, *schema.task_names, *extra_columns(truth)]
    missing = [name for name in options.columns if name not in available]
    if missing:
        raise ValueError(f"{path} has no column {missing}; its columns are {available}.")
    wrong = [name for name in (*options.readers, *options.thresholds) if name not in schema.task_names]
    if wrong:
        raise ValueError(f"No task {wrong}; the tasks of these predictions are {list(schema.task_names)}.")


def join_all(
    predictions: Sequence[CasePrediction], truth: NoduleTable, inputs: PredictionInputs, log: WarningLog
) -> list[JoinedNodule]:
    """Joins all predicted cases; says which cases have no prediction, and which no true nodule.

    Raises:
        ValueError: no case is in both, or a case is spelt in two ways.
    """
    by_case, true_cases = truth.by_case(), truth.case_ids
    predicted = {item.case_id for item in predictions}
    if not predicted & set(true_cases):
        raise ValueError(
            f"No case is both in {inputs.folder} (for example '{sorted(predicted)[0]}') and in {inputs.truth} "
            f"(for example '{next(iter(true_cases), '')}'). case_id must be nnU-Net's case identifier, the name of the "
            f"file without its ending."
        )
    absent = absent_cases(predictions, truth)
    without = sorted(predicted - set(true_cases))
    if alike := look_alikes([*absent, *without], same_name_key):
        raise ValueError(
            f"Cases {list(alike[0])} of {inputs.truth} and {inputs.folder} differ in letter case, blanks or zeros, "
            f"so that one would count as not diagnosed. Write case_id as the file is called."
        )
    if absent:
        counted = "are left out, as --only-predicted asks" if inputs.only_predicted else COUNTED_AS_WRONG
        message = f"{len(absent)} cases of the truth have no prediction and {counted}: {shortened(absent)}."
        log.add(IncompleteDataWarning, "cases", message)
    if without:
        log.add(
            IncompleteDataWarning,
            "cases",
            f"{len(without)} predicted cases have no row in the truth and count as scans without a nodule: "
            f"{shortened(without)}.",
        )
    joined = [
        nodule
        for item in predictions
        for nodule in join_case(item, by_case.get(item.case_id, ()), inputs.max_distance_mm)
    ]
    sides = {(nodule.truth is not None, nodule.predicted is not None) for nodule in joined}
    if sides == {(True, False), (False, True)}:
        message = (
            "no true nodule lies near a predicted one, in any case. Are the positions of the truth x, y, z in mm, LPS "
            "as in DICOM (from RAS, as in NIfTI viewers, change the sign of x and y), and of these scans?"
        )
        log.add(IncompleteDataWarning, "cases", message)
    if not inputs.only_predicted:
        joined += [
            JoinedNodule(case_id, nodule, None, has_prediction=False)
            for case_id in absent
            for nodule in by_case.get(case_id, ())
        ]
    return joined


def absent_cases(predictions: Sequence[CasePrediction], truth: NoduleTable) -> list[str]:
    """Cases of the truth, with nodules or without, that were not predicted."""
    predicted = {item.case_id for item in predictions}
    return [case_id for case_id in truth.case_ids if case_id not in predicted]


def _patient_of_case(truth: NoduleTable, options: TaskOptions) -> dict[str, str]:
    """Patient of each case of the truth; none where every case is a patient of its own."""
    if options.cluster is None:
        return {}
    empty = {
        case.case_id: case.patient_id if options.cluster == PATIENT_COLUMN else case.extra.get(options.cluster, "")
        for case in truth.empty
    }
    patients = {nodule.case_id: patient_of(nodule, options.cluster) for nodule in truth.nodules}
    return patients | {name: same_person_key(patient) for name, patient in empty.items() if patient}


def shortened(names: Sequence[str]) -> str:
    """The first ten of some names, for a message."""
    return ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")


def _evaluate_tasks(
    joined: Sequence[JoinedNodule],
    schema: ClassificationSchema,
    options: TaskOptions,
    settings: EvaluationSettings,
    log: WarningLog,
) -> tuple[dict[str, PredictedTask], dict[str, ScoreCurves | MulticlassCurves]]:
    tasks: dict[str, PredictedTask] = {}
    curves: dict[str, ScoreCurves | MulticlassCurves] = {}
    for task in schema.tasks:
        cases = TaskCases.of(joined, task)
        warn_of_gaps(joined, cases, task, log)
        if not cases.task.is_binary:
            tasks[task.name], curves[task.name] = evaluate_multiclass_task(cases, options, settings, log)
            continue
        decisions = [cases.file_decisions()]
        everyone = intended_table(cases, joined, task, options, decisions)
        found, curves[task.name] = evaluate_binary_task(cases, decisions, options, settings, log, everyone=everyone)
        with log.collect(f"{task.name}, intention to diagnose"):
            intended = intention_to_diagnose(everyone, cases, joined, task, settings)
            grades = evaluate_grades(joined, task, options, settings, log)
        tasks[task.name] = widened(PredictedBinaryTask, found, intention_to_diagnose=intended, grades=grades)
    return tasks, curves


def _dice_of_cases(
    predictions: Sequence[CasePrediction], inputs: PredictionInputs, log: WarningLog
) -> dict[str, float]:
    if inputs.labels is None:
        return {}
    dice: dict[str, float] = {}
    lacking = []
    for item in predictions:
        reference, predicted = (find_mask(folder, item.case_id) for folder in (inputs.labels, inputs.folder))
        if reference is None or predicted is None:
            lacking.append(item.case_id)
            continue
        with log.collect(f"Dice of {item.case_id}"):
            dice[item.case_id] = dice_of_files(reference, predicted)
    if lacking:
        message = f"{len(lacking)} cases lack a reference or a predicted mask: {shortened(lacking)}."
        log.add(IncompleteDataWarning, "dice", message)
    return {name: value if np.isfinite(value) else float("nan") for name, value in dice.items()}
