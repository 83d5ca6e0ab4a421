"""What a prediction says about the nodules of one case, and how it lies on disk: CASE.json."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE, files
from dsmt_nnunet.covariates import Covariates, checked
from dsmt_nnunet.predictions.answer_rules import check_decision, differences, number, probabilities_of, size
from dsmt_nnunet.tasks import ClassificationSchema, Task, TaskKind

SCHEMA_VERSION = 4
DEEP_FEATURES = "deep_features"
"""Among the contributions: what is not linear in the descriptors."""
MIN_CANDIDATE_PROBABILITY = 0.1
"""Of nodule, in some voxel of a candidate."""
POSITION_COLUMNS = ("x_mm", "y_mm", "z_mm")


@dataclass(frozen=True)
class TaskPrediction:
    """Answer to one task.

    Attributes:
        probabilities: class name -> probability, calibrated where the model folder holds a temperature.
        spread: class name -> standard deviation of the folds' probabilities; empty with a single fold.
        decision: class name chosen at the operating point; of grades, the answer to their question.
        threshold: of the positive class; None for a nominal task, which takes the most probable class.
        answers: of an ordinal task, the probability of each answer to its question, calibrated; else empty.
        contributions: descriptor (`dsmt_nnunet.descriptors`), column of a covariate or `DEEP_FEATURES` -> its share in
            the score in log odds, before calibration, against the mean of the training nodules; of a nominal task in
            the score of the decision less the mean over the classes. Empty in a model without descriptors.
    """

    probabilities: Mapping[str, float]
    spread: Mapping[str, float]
    decision: str
    threshold: float | None
    answers: Mapping[str, float] = field(default_factory=dict)
    contributions: Mapping[str, float] = field(default_factory=dict)

    @property
    def answer_probabilities(self) -> Mapping[str, float]:
        """Answer -> probability, in the order of classes: to the question that grades are asked, else to the task's."""
        return self.answers or self.probabilities


@dataclass(frozen=True)
class NodulePrediction:
    """One nodule: where it is, how large the predicted mask is, and the answers.

    Attributes:
        nodule_id: as given, or a number in order of falling volume.
        centre_mm: (x, y, z) in mm, LPS.
        diameter_mm: of the sphere of the same volume; NaN when the mask is empty there.
        volume_mm3: of the predicted mask.
        tasks: task name -> answer.
        descriptors: name -> value, measured under the predicted mask; names and units in `dsmt_nnunet.descriptors`.
        covariates: of the model -> value; None where it is not known, and what is expected of a nodule with these
            descriptors stands in its place.
        detection_score: log odds of nodule in its most certain voxel; None where the position was given.
    """

    nodule_id: str
    centre_mm: tuple[float, float, float]
    diameter_mm: float
    volume_mm3: float
    tasks: Mapping[str, TaskPrediction]
    descriptors: Mapping[str, float] = field(default_factory=dict)
    covariates: Covariates = field(default_factory=dict)
    detection_score: float | None = None


@dataclass(frozen=True)
class Candidate:
    """What a search marked too faintly, or as one too many, to be classified as a nodule.

    Attributes:
        centre_mm: (x, y, z) in mm, LPS.
        detection_score: log odds of nodule in its most certain voxel.
    """

    centre_mm: tuple[float, float, float]
    detection_score: float


@dataclass(frozen=True)
class CasePrediction:
    """All nodules of one case, and what made them.

    Attributes:
        case_id: nnU-Net's case identifier.
        schema: the tasks.
        nodules: with their answers.
        model: names, number of folds, `weights` (a digest of each network), operating point.
        image_crc32: checksum of the voxels that were predicted; "" where they were not at hand.
        doubts: what is possible, but should be looked at; `warnings` in the file.
        candidates: beside the nodules, the most certain first; None where the nodules were given, not searched for.
    """

    case_id: str
    schema: ClassificationSchema
    nodules: tuple[NodulePrediction, ...]
    model: Mapping[str, Any] = field(default_factory=dict)
    image_crc32: str = ""
    doubts: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "case_id": self.case_id,
            "notice": NOT_A_MEDICAL_DEVICE,
            "model": dict(self.model),
            **({"image_crc32": self.image_crc32} if self.image_crc32 else {}),
            **({"warnings": list(self.doubts)} if self.doubts else {}),
            "classification": self.schema.to_block(),
            "nodules": [
                {
                    "nodule_id": nodule.nodule_id,
                    "centre_mm_lps": [round(value, 3) for value in nodule.centre_mm],
                    "diameter_mm": None if math.isnan(nodule.diameter_mm) else round(nodule.diameter_mm, 3),
                    "volume_mm3": round(nodule.volume_mm3, 3),
                    "tasks": {
                        name: {
                            "probabilities": dict(task.probabilities),
                            "spread": dict(task.spread),
                            "decision": task.decision,
                            "threshold": task.threshold,
                            "answers": dict(task.answers),
                            "contributions": {key: round(value, 5) for key, value in task.contributions.items()},
                        }
                        for name, task in nodule.tasks.items()
                    },
                    "descriptors": {key: float(f"{value:.6g}") for key, value in nodule.descriptors.items()},
                    **({"covariates": dict(nodule.covariates)} if nodule.covariates else {}),
                    **_scored(nodule.detection_score),
                }
                for nodule in self.nodules
            ],
            **({} if self.candidates is None else {"candidates": [_marked(item) for item in self.candidates]}),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> CasePrediction:
        """Reads what `to_json` gave.

        Raises:
            ValueError: another schema version, or not a prediction.
        """
        if content.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"Prediction files have schema_version {SCHEMA_VERSION}, this one has "
                f"{content.get('schema_version')!r}: it was written by another release"
            )
        schema = ClassificationSchema.from_block(content["classification"])
        for key, kind in (("nodules", list), ("model", dict), ("warnings", list)):
            if not isinstance(content.get(key, kind()), kind):
                raise ValueError(f"'{key}' must be a {kind.__name__}, got {content[key]!r}")
        nodules = tuple(_nodule(item, schema) for item in content["nodules"])
        if len({nodule.nodule_id for nodule in nodules}) < len(nodules):
            raise ValueError(f"a nodule occurs twice in {[nodule.nodule_id for nodule in nodules]}")
        model = content.get("model", {})
        doubts = tuple(map(str, content.get("warnings", ())))
        candidates = tuple(map(_candidate, content["candidates"])) if "candidates" in content else None
        if candidates is not None and any(nodule.detection_score is None for nodule in nodules):
            raise ValueError("a nodule of a searched scan lacks 'detection_score'")
        checksum = str(content.get("image_crc32", ""))
        return cls(str(content["case_id"]), schema, nodules, model, checksum, doubts, candidates)


def _scored(score: float | None) -> dict[str, float]:
    return {} if score is None else {"detection_score": round(score, 5)}


def _marked(item: Candidate) -> dict[str, Any]:
    return {"centre_mm_lps": [round(value, 3) for value in item.centre_mm], **_scored(item.detection_score)}


def _candidate(item: Mapping[str, Any]) -> Candidate:
    return Candidate(_place(item), number(item["detection_score"], "detection_score"))


def _place(item: Mapping[str, Any]) -> tuple[float, float, float]:
    x_mm, y_mm, z_mm = (number(value, "centre_mm_lps") for value in item["centre_mm_lps"])
    return x_mm, y_mm, z_mm


def _nodule(item: Mapping[str, Any], schema: ClassificationSchema) -> NodulePrediction:
    answers = item["tasks"]
    if list(answers) != list(schema.task_names):
        raise ValueError(f"nodule {item['nodule_id']} has answers to {list(answers)}, not {list(schema.task_names)}")
    return NodulePrediction(
        str(item["nodule_id"]),
        _place(item),
        math.nan if item["diameter_mm"] is None else size(item["diameter_mm"], "diameter_mm"),
        size(item["volume_mm3"], "volume_mm3"),
        {task.name: _task(answers[task.name], task) for task in schema.tasks},
        {name: number(value, name) for name, value in item["descriptors"].items()},
        checked(schema.covariates, item.get("covariates", {})) if "covariates" in item else {},
        number(item["detection_score"], "detection_score") if "detection_score" in item else None,
    )


def _task(item: Mapping[str, Any], task: Task) -> TaskPrediction:
    asked = task if task.kind is TaskKind.NOMINAL else task.as_binary()
    if item["decision"] not in asked.classes:
        raise ValueError(f"{task.name}: the decision {item['decision']!r} is none of {list(asked.classes)}")
    probabilities = probabilities_of(item["probabilities"], task)
    answers = probabilities_of(item["answers"], asked) if item["answers"] else {}
    threshold = None if item["threshold"] is None else number(item["threshold"], f"{task.name}: threshold")
    check_decision(item["decision"], answers or probabilities, threshold, asked)
    return TaskPrediction(
        probabilities,
        {name: number(value, f"{task.name}: spread") for name, value in item["spread"].items()},
        item["decision"],
        threshold,
        answers,
        {name: number(value, name) for name, value in item["contributions"].items()},
    )


def write_case(prediction: CasePrediction, path: str | Path) -> None:
    """Writes CASE.json, whole or not at all.

    Raises:
        ValueError: a probability is NaN.
        OSError: it could not be written whole.
    """
    files.write_json(path, prediction.to_json())


def read_case(path: str | Path) -> CasePrediction:
    """Reads one CASE.json.

    Raises:
        ValueError: the file is not a prediction of this schema version; the message names it.
    """
    return _prediction(path)


def _prediction(path: str | Path, content: Any = None) -> CasePrediction:
    """Of a file, or of its content where it has been read."""
    try:
        return CasePrediction.from_json(content or json.loads(Path(path).read_text(encoding="utf-8")))
    except KeyError as error:
        raise ValueError(f"{path} is not a DSMT prediction: it lacks {error}. Predict the case again.") from error
    except (TypeError, AttributeError, ValueError) as error:
        reason = str(error).removesuffix(".")
        raise ValueError(f"{path} is not a DSMT prediction: {reason}. Predict the case again.") from error


def is_case_file(path: Path) -> bool:
    """Whether a JSON file in a prediction folder is a CASE.json (nnU-Net puts files of its own there)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return False
    return _is_case(content)


def _is_case(content: Any) -> bool:
    return isinstance(content, dict) and "schema_version" in content and "nodules" in content


def read_folder(folder: str | Path) -> list[CasePrediction]:
    """Reads every CASE.json of a folder, by case name.

    Raises:
        FileNotFoundError: the folder holds none.
        ValueError: one of them is damaged or of another schema version, is named after another case, or they come
            from several models.
    """
    contents = {}
    for path in sorted(Path(folder).glob("*.json")):
        try:
            contents[path] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:  # a case would be passed over
            raise ValueError(
                f"{path} is cut off or damaged ({error}). Predict its case again, or take the file away."
            ) from error
    found = {path: content for path, content in contents.items() if _is_case(content)}
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no DSMT prediction (CASE.json). Predict with a DSMT model and with nnUNet_extTrainer set "
            f"('dsmt env' prints it)."
        )
    cases = [_prediction(path, content) for path, content in found.items()]
    for path, case in zip(found, cases, strict=True):
        if path.stem != case.case_id:
            raise ValueError(f"{path} holds the prediction of case '{case.case_id}'. Remove the copy.")
    check_one_model(cases, folder)
    check_one_threshold(cases, folder)
    return cases


def check_one_model(cases: Iterable[CasePrediction], folder: str | Path) -> None:
    """
    Raises:
        ValueError: the predictions come from several models, see `differences`.
    """
    first: list[CasePrediction] = []
    for case in cases:
        if all(differences(case.model, other.model) for other in first):
            first.append(case)
    if len(first) > 1:
        raise ValueError(
            f"{folder} holds predictions of {len(first)} models: those of the cases {[one.case_id for one in first]} "
            f"differ in {', '.join(differences(first[0].model, first[1].model))}. Give each its own folder."
        )


def check_one_threshold(cases: Iterable[CasePrediction], folder: str | Path) -> None:
    """
    Raises:
        ValueError: nodules were decided at several thresholds of a task, though one model has one.
    """
    first: dict[str, tuple[float | None, str]] = {}
    for case in cases:
        for name, answer in ((name, answer) for nodule in case.nodules for name, answer in nodule.tasks.items()):
            threshold, earlier = first.setdefault(name, (answer.threshold, case.case_id))
            if answer.threshold != threshold:
                raise ValueError(
                    f"{folder}: {name} was decided at a threshold of {threshold} in case '{earlier}' and of "
                    f"{answer.threshold} in case '{case.case_id}', and one model has one. Predict them again."
                )
