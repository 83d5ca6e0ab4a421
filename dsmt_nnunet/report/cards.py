"""The wall of cards: one nodule each, the mistakes first."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dsmt_nnunet.csv_table import number_or_nan
from dsmt_nnunet.dicom.scan_source import ScanSource
from dsmt_nnunet.evaluation.group_bands import GroupColumn
from dsmt_nnunet.evaluation.joined_nodules import IMAGE_COLUMN
from dsmt_nnunet.evaluation.records.metrics import CrossvalMetrics
from dsmt_nnunet.evaluation.records.tasks import BinaryTask
from dsmt_nnunet.predictions.explanation import Explanation
from dsmt_nnunet.report.answers import Answer, answer_of
from dsmt_nnunet.report.explanation_picture import ExplanationPicture, explanation_picture
from dsmt_nnunet.report.folder import EvaluationFolder, Row
from dsmt_nnunet.report.image_folders import ImageFolders
from dsmt_nnunet.report.nodule_picture import (
    NodulePicture,
    OutsideImageError,
    Triple,
    nodule_picture,
    parse_centre,
    read_volume,
)
from dsmt_nnunet.report.places import Place, place_in_source, place_in_volume, stack_places
from dsmt_nnunet.report.predicted_cases import OTHER_IMAGE, OTHER_MAPS, OTHER_PREDICTION, PredictedCases, masks_on_grid
from dsmt_nnunet.report.reasons import Reason, reasons_of

_BAND = re.compile(r"(?:< (?P<below>\S+)|>= (?P<above>\S+)|(?P<low>\S+) to < (?P<high>\S+))")
NO_IMAGES = "Give --images FOLDER to see the nodule here."


@dataclass(frozen=True)
class Card:
    """One nodule of an evaluation.

    Attributes:
        key: unique in the page.
        case_id: nnU-Net case identifier.
        nodule_id: of the truth, of the prediction for an extra one.
        predicted_nodule_id: "" for a missed one.
        status: matched, missed, extra or crashed (the case has no prediction).
        fold: of a cross-validation, "" elsewhere.
        image_crc32: checksum of the image that was predicted and evaluated; "" where it is not known.
        centre_mm: (x, y, z), LPS; None where the table has none.
        answers: one a task, the primary one first.
        groups: column -> level.
        facts: (name, value) for the reader.
        diameter_mm: of the truth, else of the prediction; NaN where not known.
        place: the slice to look at; None where nothing tells it.
        picture: None where there is no image.
        stack_places: words for the place of each slice of the picture's stack; () without a picture.
        explanation: what drove the score; None where it was not asked.
        lacking: why something is not shown, "" where nothing lacks.
        reasons: largest shares of the primary task's score; () where the predictions tell none.
    """

    key: str
    case_id: str
    nodule_id: str
    predicted_nodule_id: str
    status: str
    fold: str
    centre_mm: Triple | None
    answers: tuple[Answer, ...]
    image_crc32: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    facts: tuple[tuple[str, str], ...] = ()
    diameter_mm: float = math.nan
    place: Place | None = None
    picture: NodulePicture | None = None
    stack_places: tuple[str, ...] = ()
    explanation: ExplanationPicture | None = None
    lacking: str = ""
    reasons: tuple[Reason, ...] = ()


def cards_of(evaluation: EvaluationFolder, key: str) -> list[Card]:
    """The cards of all nodules in joined.csv, without pictures, the mistakes of the primary task first."""
    tasks = evaluation.tasks
    names = sorted(tasks, key=lambda name: name != evaluation.primary_task)
    levels = group_levels(evaluation)
    cards = []
    for number, row in enumerate(evaluation.nodules):
        cards.append(
            Card(
                key=f"{key}-{number + 1}",
                case_id=row["case_id"],
                nodule_id=row.get("truth_nodule_id") or row.get("predicted_nodule_id", ""),
                predicted_nodule_id=row.get("predicted_nodule_id", ""),
                status=row["status"],
                fold=row.get("fold", ""),
                centre_mm=parse_centre([row.get(column, "") for column in ("x_mm", "y_mm", "z_mm")]),
                answers=tuple(answer_of(row, name, tasks[name]) for name in names),
                image_crc32=row.get(IMAGE_COLUMN, ""),
                groups={column: values[number] for column, values in levels.items() if values[number]},
                facts=tuple(_facts(row, evaluation)),
                diameter_mm=number_or_nan(row.get("truth_diameter_mm") or row.get("predicted_diameter_mm", "")),
            )
        )
    return sorted(cards, key=lambda card: card.answers[0].rank if card.answers else (0, 0.0))


def group_levels(evaluation: EvaluationFolder) -> dict[str, tuple[str, ...]]:
    """Level of every nodule in each group column of the evaluation, and its fold."""
    columns: dict[str, list[str]] = {}
    for task in evaluation.tasks.values():
        if isinstance(task, BinaryTask):
            for column, subgroups in task.subgroups.items():
                columns.setdefault(column, []).extend(subgroups)
    result = {}
    for column, levels in columns.items():
        values = [_cell(row, column) for row in evaluation.nodules]
        try:
            result[column] = GroupColumn(column, _edges(levels)).levels(values)
        except ValueError:
            continue
    if isinstance(evaluation.metrics, CrossvalMetrics):
        result["fold"] = tuple(row.get("fold", "") for row in evaluation.nodules)
    return result


def with_reasons(cards: Sequence[Card], folders: ImageFolders, source: str) -> list[Card]:
    """The same cards with the reasons of their primary task and the doubts of the prediction; arguments as of
    `with_pictures`."""
    predicted = PredictedCases(folders, source)
    done = []
    for card in cards:
        case = predicted.case(card.case_id, card.fold)
        doubts = () if case is None else tuple(("To be looked at", text) for text in case.doubts)
        done.append(replace(card, reasons=_reasons(card, predicted), facts=(*card.facts, *doubts)))
    return done


def _reasons(card: Card, predicted: PredictedCases) -> tuple[Reason, ...]:
    nodule = predicted.nodule(card.case_id, card.fold, card.predicted_nodule_id)
    if nodule is None or not card.answers or not _was_evaluated(card, predicted):
        return ()
    return reasons_of(nodule, card.answers[0].task)


def _was_evaluated(card: Card, predicted: PredictedCases) -> bool:
    return all(
        predicted.was_evaluated(
            card.case_id, card.fold, card.predicted_nodule_id, answer.task, answer.class_shown, answer.probability
        )
        for answer in card.answers
    )


def with_places(cards: Sequence[Card], folders: ImageFolders, source: str) -> list[Card]:
    """The same cards with the slices of the archive that show them, where these are known; each file is read once."""
    scans: dict[str, ScanSource | None] = {}
    result: list[Card] = []
    for card in cards:
        if card.case_id not in scans:
            scans[card.case_id] = folders.scan_source(card.case_id, source)
        scan = scans[card.case_id]
        if scan is not None and card.centre_mm is not None:
            card = replace(card, place=place_in_source(scan, card.centre_mm))
        result.append(card)
    return result


def with_pictures(
    cards: Sequence[Card], folders: ImageFolders, source: str, progress: Callable[[], Any] = lambda: None
) -> list[Card]:
    """The same cards with their pictures; each case is read once.

    Args:
        cards: of one evaluation.
        folders: where images and masks lie.
        source: name of the folder of predictions that was evaluated.
        progress: called after each card.
    """
    by_case: dict[str, list[Card]] = {}
    for card in cards:
        by_case.setdefault(card.case_id, []).append(card)
    done: dict[str, Card] = {}
    predicted = PredictedCases(folders, source)
    for case_cards in by_case.values():
        for card in _case_pictures(case_cards, folders, source, predicted):
            done[card.key] = card
            progress()
    return [done[card.key] for card in cards]


def _case_pictures(cards: Sequence[Card], folders: ImageFolders, source: str, predicted: PredictedCases) -> list[Card]:
    case_id, fold = cards[0].case_id, cards[0].fold
    path = folders.image(case_id)
    if path is None:
        reason = "This case has no image in the folder of --images." if folders.images else NO_IMAGES
        return [replace(card, lacking=reason) for card in cards]
    image = read_volume(path)
    if not predicted.is_predicted_image(case_id, fold, image, cards[0].image_crc32):
        return [replace(card, lacking=OTHER_IMAGE) for card in cards]
    scan = folders.scan_source(case_id, source)
    evaluated = all(_was_evaluated(card, predicted) for card in cards)
    mask = folders.prediction(case_id, fold, source) if evaluated else None
    paths = {"truth": folders.label(case_id), "predicted": mask}
    masks, lacking = masks_on_grid(image, paths)
    lacking = lacking if evaluated else OTHER_PREDICTION
    result = []
    for card in cards:
        try:
            if card.centre_mm is None:
                raise OutsideImageError("The position of this nodule is not known.")
            picture = nodule_picture(image, masks, card.centre_mm, card.diameter_mm)
        except OutsideImageError as error:
            result.append(replace(card, lacking=str(error)))
            continue
        maps = _maps(card, folders, source) if evaluated else None
        fit = maps is None or predicted.are_of(maps, case_id, fold)
        drove = None
        if maps is not None and fit:
            drove = explanation_picture(maps, image, card.centre_mm, picture.field_mm)
        seen = replace(
            card,
            place=card.place or place_in_volume(image, card.centre_mm),
            picture=picture,
            stack_places=tuple(stack_places(image, scan, card.centre_mm, picture.field_mm)),
            explanation=drove,
            lacking=" ".join(text for text in (lacking, "" if fit else OTHER_MAPS) if text),
        )
        result.append(seen)
    return result


def _maps(card: Card, folders: ImageFolders, source: str) -> Explanation | None:
    path = folders.explanation(card.case_id, card.predicted_nodule_id, card.fold, source)
    return None if path is None else Explanation.read(path)


def _facts(row: Row, evaluation: EvaluationFolder) -> list[tuple[str, str]]:
    facts = [("Case", "no prediction")] if row["status"] == "crashed" else []
    for title, column, unit in (
        ("Diameter, truth", "truth_diameter_mm", "mm"),
        ("Diameter, predicted", "predicted_diameter_mm", "mm"),
        ("Volume, predicted", "predicted_volume_mm3", "mm³"),
        ("Distance of centres", "distance_mm", "mm"),
    ):
        value = number_or_nan(row.get(column, ""))
        if not math.isnan(value):
            facts.append((title, f"{value:.0f} {unit}" if unit == "mm³" else f"{value:.1f} {unit}"))
    dice = number_or_nan((evaluation.dice or {}).get(row["case_id"], ""))
    if not math.isnan(dice):
        facts.append(("Dice of the case", f"{dice:.2f}"))
    if row.get("patient_id"):
        facts.append(("Patient", row["patient_id"]))
    return facts


def _cell(row: Row, column: str) -> str:
    for name in (column, f"{column}_truth", f"truth_{column}"):
        if name in row:
            return row[name]
    return ""


def _edges(levels: Sequence[str]) -> tuple[float, ...]:
    """Edges of bands, read from the names of the levels; () where they are categories."""
    matches = [_BAND.fullmatch(level) for level in levels if level != "(unknown)"]
    if not matches or not all(matches):
        return ()
    texts = {text for match in matches if match for text in match.groups() if text}
    try:
        return tuple(sorted(float(text) for text in texts))
    except ValueError:
        return ()
