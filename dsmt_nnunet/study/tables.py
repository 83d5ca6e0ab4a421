"""The tables of a study: one row a run, one row a nodule with the score of every run, and what certainty is worth."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dsmt_nnunet.evaluation.folds import FOLD_COLUMN
from dsmt_nnunet.files import write_rows
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.predictions.results import read_folder
from dsmt_nnunet.predictions.table import CLASSIFICATION_TABLE_NAME
from dsmt_nnunet.statistics.calibration.scaling import DEFAULT_THRESHOLD
from dsmt_nnunet.statistics.roc.delong import auc_score
from dsmt_nnunet.study.added_value import WITH_DIAMETER, beside_diameter, weights_beside_diameter
from dsmt_nnunet.study.answers import mean_dice
from dsmt_nnunet.study.calibration import calibration_row
from dsmt_nnunet.study.floors import Key, MeasuredNodule, Split, floor_columns, nodules_of
from dsmt_nnunet.study.records import RunRow, read_runs, write_runs
from dsmt_nnunet.study.seeds import SCORES_NAME, write_seed_tables
from dsmt_nnunet.tasks import ClassificationSchema, Task, TaskKind

RADIOMICS_CACHE = "radiomics.csv"
LEAST_CERTAIN = 0.2
"""Share of the nodules that certainty.csv leaves out."""
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Run:
    """One trained model on the unseen cases.

    Attributes:
        label: trainer, and the checkpoint where it is not the final one.
        seed: of the training.
        predictions: folders that `study_answers.answer` wrote; several where each fold answered its own.
        checkpoint: of the model, or of one of its folds.
        minutes, memory_gb: of the training; NaN where it was not seen from beginning to end.
        validation: folder with the answers for validation cases, where those are not what is asked about.
    """

    label: str
    seed: int
    predictions: tuple[Path, ...]
    checkpoint: Path
    minutes: float
    memory_gb: float
    validation: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Question:
    """What a study asks of its runs.

    Attributes:
        raw: the raw data set.
        schema: its tasks.
        splits: cases that were learnt from, and cases that were not seen meanwhile.
        part: where the unseen cases are: `Ts` or `Tr`.
    """

    raw: Path
    schema: ClassificationSchema
    splits: tuple[Split, ...]
    part: str

    @classmethod
    def of_test_cases(cls, raw: Path, folds: Sequence[Mapping[str, Sequence[str]]]) -> Question:
        """Trained on fold 0, asked about the test cases."""
        schema = _schema_of(raw)
        unseen = frozenset(measured.nodule.case_id for measured in nodules_of(raw, "Ts", schema))
        return cls(raw, schema, (Split(frozenset(folds[0]["train"]), unseen),), "Ts")

    @classmethod
    def of_folds(cls, raw: Path, folds: Sequence[Mapping[str, Sequence[str]]]) -> Question:
        """A cross-validation."""
        splits = tuple(Split(frozenset(fold["train"]), frozenset(fold["val"])) for fold in folds)
        return cls(raw, _schema_of(raw), splits, "Tr")

    def unseen(self) -> list[MeasuredNodule]:
        """Nodules that are asked about."""
        cases = frozenset().union(*(split.unseen for split in self.splits))
        nodules = [item for item in nodules_of(self.raw, self.part, self.schema) if item.nodule.case_id in cases]
        asked = self.schema.asked
        return [item for item in nodules if asked is None or asked.holds(item.nodule.diameter_mm)]

    def fold_of(self, case_id: str) -> dict[str, int]:
        """The fold that left a case out, under the name of its column; nothing where one model answers for all."""
        if len(self.splits) < 2:
            return {}
        return {FOLD_COLUMN: next(fold for fold, split in enumerate(self.splits) if case_id in split.unseen)}

    def all_nodules(self) -> list[MeasuredNodule]:
        """Nodules that are learnt from or asked about."""
        parts = ("Tr", "Ts") if self.part == "Ts" else ("Tr",)
        return [item for part in parts for item in nodules_of(self.raw, part, self.schema)]


def floors_of(question: Question, out: Path, processes: int) -> dict[str, dict[Key, float]]:
    """Scores of the unseen nodules without a network, by name of the floor.

    Args:
        question: what is asked.
        out: folder of the study, which keeps the radiomic features.
        processes: at work together.

    Raises:
        ValueError: the primary task is not binary, so that there is no one score.
    """
    primary = question.schema.primary
    if primary.kind is TaskKind.NOMINAL:
        raise ValueError(
            f"A study compares scores of a binary or ordinal primary task; '{primary.name}' has "
            f"{len(primary.classes)} classes without order."
        )
    return floor_columns(question.all_nodules(), question.splits, out / RADIOMICS_CACHE, processes)


def write_tables(question: Question, runs: Sequence[Run], floors: Mapping[str, Mapping[Key, float]], out: Path) -> None:
    """Writes runs.csv, scores.csv, seeds.csv, cohorts.csv, added_value.csv, certainty.csv and calibration.csv.

    Args:
        question: what was asked.
        runs: all finished runs.
        floors: what `floors_of` gives.
        out: folder.

    Raises:
        ValueError: a run does not answer for a nodule that it was asked about.
    """
    schema = question.schema
    unseen = question.unseen()
    known = [measured for measured in unseen if measured.label >= 0]
    scores = {run: _scores(run, schema, unseen) for run in runs}
    write_runs(out, _run_rows(schema, unseen, scores, out))
    columns: dict[str, Mapping[Key, float]] = dict(floors)
    seeds_of: dict[str, list[dict[Key, float]]] = defaultdict(list)
    for run, tasks in scores.items():
        columns[f"{run.label}_seed{run.seed}"] = tasks[schema.primary_task]
        seeds_of[run.label].append(tasks[schema.primary_task])
    added: list[dict[str, str]] = []
    for label, seeds in seeds_of.items():
        columns[label] = {key: float(np.mean([seed[key] for seed in seeds])) for key in seeds[0]}
        with_diameter = beside_diameter(columns[label], known, question.splits)
        if with_diameter:
            columns[f"{label}{WITH_DIAMETER}"] = with_diameter
        weights = weights_beside_diameter(columns[label], known, independent=question.part == "Ts")
        added += [{"run": label, **weights}] if weights else []
    rows = [_score_row(question, measured, columns) for measured in known]
    _write_csv(out / SCORES_NAME, rows)
    write_seed_tables(out)
    if added:
        _write_csv(out / "added_value.csv", added)
    truth = np.array([row["truth"] for row in rows])
    certainty = [
        {"run": label, **_certainty(truth, np.array([[seed[item.key] for item in known] for seed in seeds]))}
        for label, seeds in seeds_of.items()
    ]
    _write_csv(out / "certainty.csv", certainty)
    nodules = question.all_nodules()
    calibration = [
        {
            "run": run.label,
            "seed": run.seed,
            **calibration_row(schema.primary_task, run.predictions, run.validation, nodules),
        }
        for run in runs
    ]
    _write_csv(out / "calibration.csv", calibration)


def _score_row(
    question: Question, measured: MeasuredNodule, columns: Mapping[str, Mapping[Key, float]]
) -> dict[str, Any]:
    """One nodule of scores.csv."""
    nodule = measured.nodule
    return {
        "case_id": nodule.case_id,
        "nodule_id": nodule.nodule_id,
        "patient_id": nodule.patient_id,
        "cohort": _cohort(measured),
        "diameter_mm": f"{nodule.diameter_mm:.2f}",
        "truth": measured.label,
        **question.fold_of(nodule.case_id),
        **{name: f"{values[measured.key]:.5f}" for name, values in columns.items()},
    }


def _certainty(truth: Array, scores: Array) -> dict[str, str]:
    """Accuracy at 0.5 of all nodules, and without the share of them that the model is least certain of.

    Args:
        truth: (N,) 0 or 1.
        scores: (seeds, N) probabilities. Uncertain is a mean near 0.5, or, with several seeds, a wide spread.
    """
    mean = scores.mean(axis=0)
    correct = (mean >= DEFAULT_THRESHOLD) == (truth == 1)
    kept = len(truth) - round(LEAST_CERTAIN * len(truth))
    near = np.argsort(-np.abs(mean - DEFAULT_THRESHOLD), kind="stable")[:kept]
    row = {"nodules": str(len(truth)), "accuracy": f"{correct.mean():.4f}"}
    row["without_nearest"] = f"{correct[near].mean():.4f}"
    agreed = np.argsort(scores.std(axis=0), kind="stable")[:kept]
    return {**row, "without_widest_spread": f"{correct[agreed].mean():.4f}" if len(scores) > 1 else ""}


def _schema_of(raw: Path) -> ClassificationSchema:
    return ClassificationSchema.from_dataset_json(json.loads((raw / "dataset.json").read_text(encoding="utf-8")))


def _run_rows(
    schema: ClassificationSchema,
    nodules: Sequence[MeasuredNodule],
    scores: Mapping[Run, Mapping[str, Mapping[Key, float]]],
    out: Path,
) -> list[RunRow]:
    """Rows of runs.csv; minutes and memory of trainings of earlier calls are kept."""
    kept = {(row.run, row.seed): row for row in read_runs(out)}
    rows = []
    for run, tasks in scores.items():
        before = kept.get((run.label, run.seed))
        plan = DSMTPlan.from_plans(json.loads((run.checkpoint.parents[1] / "plans.json").read_text(encoding="utf-8")))
        measures: dict[str, float] = {}
        for cohort in sorted({_cohort(measured) for measured in nodules}):
            own = [measured for measured in nodules if _cohort(measured) == cohort]
            prefix = f"{cohort}_" if cohort else ""
            for task in schema.tasks:
                if task.kind is not TaskKind.NOMINAL:
                    learnt = plan.training.task_weights.get(task.name, 1.0) > 0
                    measures[f"{prefix}{task.name}_auc"] = _auc(own, task, tasks) if learnt else math.nan
            dice = mean_dice(run.predictions, frozenset(measured.nodule.case_id for measured in own))
            measures[f"{prefix}dice"] = dice if plan.training.segmentation_weight > 0 else math.nan
        rows.append(
            RunRow(
                run=run.label,
                seed=run.seed,
                parameters=_parameters(run, plan),
                training_minutes=before.training_minutes if before and math.isnan(run.minutes) else run.minutes,
                peak_memory_gb=before.peak_memory_gb if before and math.isnan(run.memory_gb) else run.memory_gb,
                measures=measures,
            )
        )
    return rows


def _scores(run: Run, schema: ClassificationSchema, nodules: Sequence[MeasuredNodule]) -> dict[str, dict[Key, float]]:
    """Task name -> nodule -> probability of the last class."""
    scores: dict[str, dict[Key, float]] = defaultdict(dict)
    for folder in run.predictions:
        for case in read_folder(folder):
            for nodule in case.nodules:
                for name, task in nodule.tasks.items():
                    score = list(task.answer_probabilities.values())[-1]
                    scores[name][case.case_id, nodule.nodule_id] = score
    for name in schema.task_names:
        missing = [measured.key for measured in nodules if measured.key not in scores[name]]
        if missing:
            raise ValueError(
                f"{run.label}, seed {run.seed}, has no score of {name} for {len(missing)} nodules, such as nodule "
                f"{missing[0][1]} of case {missing[0][0]}. Remove {CLASSIFICATION_TABLE_NAME} from "
                f"its folder ({' or '.join(str(folder) for folder in run.predictions)}) and run 'dsmt study' again."
            )
    return scores


def _cohort(measured: MeasuredNodule) -> str:
    return measured.nodule.extra.get("cohort", "")


def _auc(nodules: Sequence[MeasuredNodule], task: Task, scores: Mapping[str, Mapping[Key, float]]) -> float:
    answers = {measured.key: task.binary_label(measured.nodule.labels.get(task.name)) for measured in nodules}
    known = [key for key, answer in answers.items() if answer is not None]
    truth = [int(answers[key] == task.as_binary().positive_class) for key in known]
    if len(set(truth)) < 2:
        return math.nan
    return auc_score(truth, [scores[task.name][key] for key in known])


def _parameters(run: Run, plan: DSMTPlan) -> int:
    """Of the parts that answer: without the decoder where nothing was segmented, without the U-Net beside DenseNet."""
    idle = ["decoder.encoder."]
    if plan.training.segmentation_weight == 0:
        idle.append("decoder.")
    if plan.heads.pooling == "densenet":
        idle.append("encoder.")
    weights = torch.load(run.checkpoint, map_location="cpu", weights_only=False)["network_weights"]
    return sum(value.numel() for name, value in weights.items() if not name.startswith(tuple(idle)))


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = list(rows[0])
    write_rows(path, (columns, *([row.get(name, "") for name in columns] for row in rows)), line_end="\n")
