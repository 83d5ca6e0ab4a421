"""Predicted nodules beside true ones, one row each: found, missed or extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dsmt_nnunet.evaluation.nodule_matching import match_nodules
from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.predictions.results import CasePrediction, NodulePrediction
from dsmt_nnunet.statistics.named_warnings import IncompleteDataWarning, WarningLog
from dsmt_nnunet.tasks import ClassificationSchema, Task, TaskKind

IMAGE_COLUMN = "image_crc32"
"""Of joined.csv: which image was predicted."""
Status = Literal["matched", "missed", "extra", "crashed"]


@dataclass(frozen=True)
class JoinedNodule:
    """A nodule of the truth, of the prediction, or of both.

    Attributes:
        case_id: nnU-Net case identifier.
        truth: None for an extra nodule.
        predicted: None for a missed one, and where the case has no prediction.
        distance_mm: between the centres; None unless both are there.
        fold: of a cross-validation; None elsewhere.
        has_prediction: whether the case was predicted at all.
        image_crc32: checksum of the image that was predicted; "" where it is not known.
    """

    case_id: str
    truth: Nodule | None
    predicted: NodulePrediction | None
    distance_mm: float | None = None
    fold: int | None = None
    has_prediction: bool = True
    image_crc32: str = ""

    @property
    def status(self) -> Status:
        if not self.has_prediction:
            return "crashed"
        if self.predicted is None:
            return "missed"
        return "matched" if self.truth is not None else "extra"


def join_case(
    prediction: CasePrediction,
    truth: Sequence[Nodule],
    max_distance_mm: float | None = None,
    fold: int | None = None,
) -> list[JoinedNodule]:
    """Joins the nodules of one case; true ones first, in their order, then extra ones."""
    predicted, image = prediction.nodules, prediction.image_crc32
    matches = {
        match.truth: match for match in match_nodules(truth, [item.centre_mm for item in predicted], max_distance_mm)
    }
    joined = []
    for index, nodule in enumerate(truth):
        match = matches.get(index)
        if match is None:
            joined.append(JoinedNodule(prediction.case_id, nodule, None, None, fold, image_crc32=image))
        else:
            found = predicted[match.predicted]
            joined.append(JoinedNodule(prediction.case_id, nodule, found, match.distance_mm, fold, image_crc32=image))
    used = {match.predicted for match in matches.values()}
    joined += [
        JoinedNodule(prediction.case_id, None, item, None, fold, image_crc32=image)
        for index, item in enumerate(predicted)
        if index not in used
    ]
    return joined


def asked_about(joined: Sequence[JoinedNodule], schema: ClassificationSchema, log: WarningLog) -> list[JoinedNodule]:
    """Those that the schema's questions are asked of; it is said how many true nodules were learnt from alone."""
    if schema.asked is None:
        return list(joined)
    kept = [item for item in joined if item.truth is None or schema.asked.holds(item.truth.diameter_mm)]
    if others := len(joined) - len(kept):
        message = f"{others} nodules are outside of {schema.asked}: they are learnt from alone and do not count here."
        log.add(IncompleteDataWarning, "nodules", message)
    return kept


def truth_value(nodule: Nodule, column: str) -> str:
    """What the truth table says of a nodule in any of its columns; "" where nothing."""
    if column in nodule.labels:
        return nodule.labels[column] or ""
    if column == "diameter_mm":
        return "" if nodule.diameter_mm != nodule.diameter_mm else repr(nodule.diameter_mm)
    fixed: Mapping[str, str] = {
        "case_id": nodule.case_id,
        "nodule_id": nodule.nodule_id,
        "patient_id": nodule.patient_id,
    }
    return fixed.get(column, nodule.extra.get(column, ""))


def joined_table(
    nodules: Sequence[JoinedNodule], schema: ClassificationSchema, extra_columns: Sequence[str]
) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of joined.csv.

    Per binary task `<task>_truth`, `<task>_prob`, `<task>_spread`, `<task>_decision`, `<task>_threshold`; a
    multi-class task has `<task>_prob_<class>` and `<task>_spread_<class>` instead. An ordinal task has the columns of
    its question, in whose answers truth and decision stand, `<task>_prob_<grade>`, and `<task>_grade`, the true one.
    """
    columns = ["case_id", "fold", "status", "truth_nodule_id", "predicted_nodule_id", "patient_id", "distance_mm"]
    columns += ["x_mm", "y_mm", "z_mm", "truth_diameter_mm", "predicted_diameter_mm", "predicted_volume_mm3"]
    columns += [IMAGE_COLUMN]
    for task in schema.tasks:
        endings = [f"_{name}" for name in task.classes] if task.kind is TaskKind.NOMINAL else [""]
        columns += [f"{task.name}_truth", f"{task.name}_decision", f"{task.name}_threshold"]
        columns += [f"{task.name}_{kind}{end}" for kind in ("prob", "spread") for end in endings]
        columns += [f"{task.name}_prob_{name}" for name in _grades_of(task)]
        columns += [f"{task.name}_grade"] if _grades_of(task) else []
    taken = set(columns)
    extra = [name for name in extra_columns if name not in taken]
    return columns + extra, [_joined_row(item, schema, extra) for item in nodules]


def _joined_row(item: JoinedNodule, schema: ClassificationSchema, extra: Sequence[str]) -> list[object]:
    truth, found = item.truth, item.predicted
    place = truth.centre_mm if truth else found.centre_mm if found else ("", "", "")
    row: list[object] = [
        item.case_id,
        "" if item.fold is None else item.fold,
        item.status,
        truth.nodule_id if truth else "",
        found.nodule_id if found else "",
        truth.patient_id if truth else "",
        "" if item.distance_mm is None else round(item.distance_mm, 3),
        *place,
        _number(truth.diameter_mm) if truth else "",
        _number(found.diameter_mm) if found else "",
        found.volume_mm3 if found else "",
        item.image_crc32,
    ]
    for task in schema.tasks:
        label = truth.labels[task.name] if truth else None
        grade = [label or ""] if _grades_of(task) else []
        row.append(task.stratum(label) or "")
        answer = found.tasks.get(task.name) if found else None
        asked = task if task.kind is TaskKind.NOMINAL else task.as_binary()
        names = [asked.positive_class] if asked.is_binary else list(task.classes)
        if answer is None:
            row += [""] * (2 + 2 * len(names) + len(_grades_of(task))) + grade
            continue
        row += [answer.decision, "" if answer.threshold is None else answer.threshold]
        row += [answer.answer_probabilities[name] for name in names]
        row += [answer.spread.get(name, "") for name in names]
        row += [*(answer.probabilities[name] for name in _grades_of(task)), *grade]
    return row + [truth_value(truth, name) if truth else "" for name in extra]


def _grades_of(task: Task) -> tuple[str, ...]:
    return task.classes if task.kind is TaskKind.ORDINAL else ()


def _number(value: float) -> object:
    return "" if value != value else value
