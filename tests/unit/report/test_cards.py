"""Cards: order, outcomes, groups, pictures."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dsmt_nnunet.report.cards import Card, cards_of, with_pictures
from dsmt_nnunet.report.folder import read_evaluation
from dsmt_nnunet.report.image_folders import ImageFolders
from tests.unit.report.cohort import Cohort


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
    assert "no mask" in done[0].lacking
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
