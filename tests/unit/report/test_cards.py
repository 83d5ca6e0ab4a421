"""Cards: order, outcomes, groups, pictures."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet.evaluation.predicted import PredictionInputs, evaluate_predictions
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.image_files import voxel_checksum
from dsmt_nnunet.predictions.explanation import Explanation, explanation_path
from dsmt_nnunet.predictions.results import read_case, write_case
from dsmt_nnunet.report.cards import Card, cards_of, with_pictures, with_reasons
from dsmt_nnunet.report.folder import read_evaluation
from dsmt_nnunet.report.image_folders import ImageFolders
from dsmt_nnunet.report.predicted_cases import OTHER_IMAGE, OTHER_MAPS, OTHER_PREDICTION, PredictedCases
from tests.unit.report.cohort import Cohort, explain_case


@pytest.fixture
def cards(cohort: Cohort) -> list[Card]:
    return cards_of(read_evaluation(cohort.metrics), "card")


def test_mistakes_come_first(cards: list[Card]) -> None:
    outcomes = [card.answers[0].outcome for card in cards]
    assert [card.case_id for card in cards[:4]] == ["case_08", "case_03", "case_11", "case_11"]
    assert outcomes == ["wrong", "wrong", "missed", "extra"] + ["right"] * 9
    errors = [card.answers[0].error for card in cards[4:]]
    assert errors == sorted(errors, reverse=True)


def test_answer_of_a_binary_task(cards: list[Card]) -> None:
    answer = cards[0].answers[0]
    assert (answer.task, answer.class_shown, answer.truth) == ("invasiveness", "<b>invasive</b>", "non-invasive")
    assert (answer.probability, answer.spread, answer.threshold) == (0.95, 0.05, 0.5)
    assert answer.error == pytest.approx(0.95)


def test_answer_of_a_task_with_several_classes(cards: list[Card]) -> None:
    wrong = next(card for card in cards if card.case_id == "case_05").answers[1]
    assert (wrong.outcome, wrong.class_shown, wrong.decision) == ("wrong", "solid", "ground-glass")
    assert wrong.error == pytest.approx(0.8)
    assert math.isnan(wrong.threshold)


def test_missed_and_extra_nodules(cards: list[Card]) -> None:
    missed, extra = cards[2], cards[3]
    assert math.isnan(missed.answers[0].probability)
    assert missed.answers[0].decision == ""
    assert extra.answers[0].truth == ""
    assert math.isnan(extra.answers[0].error)


def test_groups_are_those_of_the_evaluation(cards: list[Card]) -> None:
    levels = {card.case_id: dict(card.groups) for card in cards if card.status == "matched"}
    assert levels["case_00"] == {"cohort": "external", "diameter_mm": "< 12"}
    assert levels["case_06"] == {"cohort": "internal", "diameter_mm": ">= 12"}


def test_pictures_need_an_image(cohort: Cohort, cards: list[Card], tmp_path: Path) -> None:
    folders = ImageFolders((cohort.images,), (cohort.labels,), (tmp_path,))
    done = with_pictures(cards[:2], folders, "predictions")
    assert [card.case_id for card in done] == ["case_08", "case_03"]
    assert done[0].picture is not None
    assert set(done[0].picture.plane_contours) == {"truth"}
    assert done[0].lacking == "No predicted contour: no mask of this case in --predictions."
    without = with_pictures(cards[:1], ImageFolders((tmp_path,)), "predictions")[0]
    assert without.picture is None
    assert "no image" in without.lacking


def test_masks_come_from_the_folder_that_was_evaluated(tmp_path: Path) -> None:
    for name in ("one", "two", "model/fold_1/validation"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "case.nii.gz").touch()
    folders = ImageFolders(predictions=(tmp_path / "one", tmp_path / "two", tmp_path / "model"))
    assert folders.prediction("case", "", "two") == tmp_path / "two" / "case.nii.gz"
    assert folders.prediction("case", "", "elsewhere") == tmp_path / "one" / "case.nii.gz"
    assert folders.prediction("case", "1", "model") == tmp_path / "model" / "fold_1" / "validation" / "case.nii.gz"
    assert folders.prediction("other", "", "two") is None


def test_unreadable_image_is_named(cohort: Cohort, cards: list[Card], tmp_path: Path) -> None:
    (tmp_path / "case_08_0000.nii.gz").write_bytes(b"no image")
    with pytest.raises(ValueError, match="case_08_0000"):
        with_pictures(cards[:1], ImageFolders((tmp_path,)), "predictions")


def test_a_mask_of_which_a_part_is_missing_is_not_drawn(cohort: Cohort, cards: list[Card], tmp_path: Path) -> None:
    for case in cohort.labels.iterdir():
        noise = np.random.default_rng(0).integers(0, 2, (32, 32, 32)).astype(np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(noise), str(tmp_path / case.name))
        (tmp_path / case.name).write_bytes((tmp_path / case.name).read_bytes()[:2000])
    with pytest.raises(ValueError, match="Is it complete"):
        with_pictures(cards[:1], ImageFolders((cohort.images,), (tmp_path,)), "predictions")


def with_model(cohort: Cohort, folder: Path, **changes: Any) -> Path:
    """The predictions with what made them noted: model and image of case_03; changed where asked."""
    shutil.copytree(cohort.predictions, folder)
    case = read_case(folder / "case_03.json")
    image = sitk.ReadImage(str(cohort.images / "case_03_0000.nii.gz"))
    noted = {"model": {"weights": ["aa"]}, "image_crc32": voxel_checksum(sitk.GetArrayFromImage(image)), **changes}
    write_case(replace(case, **noted), folder / "case_03.json")
    return folder


def shown(cohort: Cohort, cards: list[Card], folder: Path) -> Card:
    own = [card for card in cards if card.case_id == "case_03"]
    (card,) = with_pictures(own, ImageFolders((cohort.images,), (cohort.labels,), (folder,)), "predictions")
    return card


def test_an_image_that_was_not_predicted_is_not_shown(cohort: Cohort, cards: list[Card], tmp_path: Path) -> None:
    card = shown(cohort, cards, with_model(cohort, tmp_path / "predictions"))
    assert card.picture is not None
    assert card.lacking == ""
    other = shown(cohort, cards, with_model(cohort, tmp_path / "2" / "predictions", image_crc32="00000000"))
    assert other.picture is None
    assert other.lacking == OTHER_IMAGE


def test_the_evaluation_remembers_which_image_was_predicted(cohort: Cohort, tmp_path: Path) -> None:
    folder = with_model(cohort, tmp_path / "predictions", model={})
    evaluate_predictions(
        PredictionInputs(folder, cohort.truth), tmp_path / "metrics", EvaluationSettings(n_resamples=0)
    )
    own = [card for card in cards_of(read_evaluation(tmp_path / "metrics"), "0") if card.case_id == "case_03"]
    (card,) = with_pictures(own, ImageFolders((cohort.images,)), "predictions")
    assert card.picture is not None
    (tmp_path / "others").mkdir()
    shutil.copy(cohort.images / "case_04_0000.nii.gz", tmp_path / "others" / "case_03_0000.nii.gz")
    (card,) = with_pictures(own, ImageFolders((tmp_path / "others",)), "predictions")
    assert (card.picture, card.lacking) == (None, OTHER_IMAGE)


def test_every_channel_of_the_image_counts(cohort: Cohort, cards: list[Card], tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    arrays = []
    for channel, source in enumerate(("case_03", "case_04")):
        path = shutil.copy(cohort.images / f"{source}_0000.nii.gz", images / f"case_03_{channel:04d}.nii.gz")
        arrays.append(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
    folder = with_model(cohort, tmp_path / "predictions", image_crc32=voxel_checksum(np.stack(arrays)))
    folders = ImageFolders((images,), (), (folder,))
    predicted, first = PredictedCases(folders, "predictions"), sitk.GetImageFromArray(arrays[0])
    assert predicted.is_predicted_image("case_03", "", first)
    (images / "case_03_0001.nii.gz").unlink()
    assert not predicted.is_predicted_image("case_03", "", first)


def test_the_contour_of_another_prediction_is_not_shown(cohort: Cohort, cards: list[Card], tmp_path: Path) -> None:
    folder = with_model(cohort, tmp_path / "predictions")
    case = read_case(folder / "case_08.json")
    write_case(replace(case, case_id="case_03"), folder / "case_03.json")
    card = shown(cohort, cards, folder)
    assert card.picture is not None
    assert "predicted" not in card.picture.plane_contours
    assert card.lacking == OTHER_PREDICTION


def test_a_mask_on_another_grid_is_not_drawn_into_the_image(cohort: Cohort, cards: list[Card], tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    mask = sitk.ReadImage(str(cohort.labels / "case_03.nii.gz"))
    moved = sitk.Image(mask)
    moved.SetOrigin([value + 2 for value in mask.GetOrigin()])
    for shown_mask, named in ((mask, False), (moved, True), (mask[:, :, 1:], True)):
        sitk.WriteImage(shown_mask, str(labels / "case_03.nii.gz"))
        own = [card for card in cards if card.case_id == "case_03"]
        [card] = with_pictures(own, ImageFolders((cohort.images,), (labels,)), "predictions")
        assert card.picture is not None
        assert ("truth" in card.picture.plane_contours) is not named
        assert ("its mask in --labels lies on another grid" in card.lacking) is named


def test_maps_of_another_model_are_not_shown(cohort: Cohort, cards: list[Card], tmp_path: Path) -> None:
    folder = with_model(cohort, tmp_path / "predictions")
    made = Explanation.read(explain_case(replace(cohort, predictions=folder), 3))
    path = explanation_path(folder, "case_03", "1")
    replace(made, weights=("bb",), image_crc32=read_case(folder / "case_03.json").image_crc32).write(path)
    card = shown(cohort, cards, folder)
    assert card.explanation is None
    assert card.lacking == OTHER_MAPS
    replace(made, weights=("aa",), image_crc32=read_case(folder / "case_03.json").image_crc32).write(path)
    assert shown(cohort, cards, folder).explanation is not None


def test_doubts_of_the_prediction_stand_on_the_card(cohort: Cohort, cards: list[Card], tmp_path: Path) -> None:
    folder = with_model(cohort, tmp_path / "predictions", doubts=("the image seems to be cut off at 150 HU",))
    told = with_reasons(cards, ImageFolders(predictions=(folder,)), "predictions")
    assert {card.case_id for card in told if "To be looked at" in dict(card.facts)} == {"case_03"}
