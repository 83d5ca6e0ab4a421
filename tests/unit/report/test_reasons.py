from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dsmt_nnunet.predictions.results import (
    DEEP_FEATURES,
    CasePrediction,
    NodulePrediction,
    TaskPrediction,
    read_case,
    write_case,
)
from dsmt_nnunet.report.cards import cards_of, with_reasons
from dsmt_nnunet.report.folder import read_evaluation
from dsmt_nnunet.report.image_folders import ImageFolders
from dsmt_nnunet.report.page import write_report
from dsmt_nnunet.report.predicted_cases import PredictedCases
from dsmt_nnunet.report.reasons import reasons_of
from tests.unit.report.cohort import Cohort, page_options
from tests.unit.small_plans import SCHEMA

SHARES = {"diameter_mm": 0.5, "hu_mean": -0.75, "sphericity": 0.1, "age": 0.25, DEEP_FEATURES: -0.2}
ANSWER = TaskPrediction({"non-invasive": 0.4, "invasive": 0.6}, {}, "invasive", 0.5, contributions=SHARES)
TEXTURE = TaskPrediction(dict.fromkeys(SCHEMA["texture"].classes, 1 / 3), {}, "solid", None)
NODULE = NodulePrediction(
    "1",
    (1.0, 2.0, 3.0),
    12.0,
    900.0,
    {"texture": TEXTURE, "invasiveness": ANSWER},
    {"diameter_mm": 12.345, "hu_mean": -310.2, "sphericity": 0.9},
    covariates={"age": 63.0},
)

ON_DISK = replace(NODULE, covariates={})


def test_the_largest_shares_come_first_and_nothing_is_lost() -> None:
    reasons = reasons_of(NODULE, "invasiveness", at_most=3)
    assert [(own.name, own.value) for own in reasons] == [
        ("hu_mean", "-310"),
        ("diameter_mm", "12.3"),
        ("age", "63"),
        ("", ""),
    ]
    assert [own.meaning for own in reasons] == [
        "Mean density, HU",
        "Equivalent diameter of the mask, mm",
        "Age",
        "2 others together",
    ]
    assert sum(own.share for own in reasons) == pytest.approx(sum(SHARES.values()))
    every = reasons_of(NODULE, "invasiveness")
    assert [own.name for own in every][-2:] == [DEEP_FEATURES, "sphericity"]
    assert len(every) == len(SHARES)


def test_a_model_without_descriptors_has_no_reasons() -> None:
    deep = replace(NODULE, tasks={"invasiveness": replace(ANSWER, contributions={})})
    assert reasons_of(deep, "invasiveness") == ()
    assert reasons_of(NODULE, "texture") == ()


def test_nodules_are_found_by_name_and_other_releases_passed_over(tmp_path: Path) -> None:
    other = replace(ON_DISK, nodule_id="2")
    path = tmp_path / "a.json"
    write_case(CasePrediction("a", SCHEMA, (ON_DISK, other)), path)
    folders = ImageFolders(predictions=(tmp_path,))
    read = PredictedCases(folders, tmp_path.name).nodule
    assert read("a", "", "2") == other
    assert read("a", "", "3") is None
    assert read("b", "", "1") is None
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 1}))
    assert PredictedCases(folders, tmp_path.name).nodule("a", "", "1") is None


def with_shares(cohort: Cohort, folder: Path) -> CasePrediction:
    """The prediction of case_03, with what its score consists of, in a folder of the same name."""
    folder.mkdir()
    case = read_case(cohort.predictions / "case_03.json")
    (nodule,) = case.nodules
    answer = replace(nodule.tasks["invasiveness"], contributions=SHARES)
    told = replace(nodule, tasks={**nodule.tasks, "invasiveness": answer}, descriptors=NODULE.descriptors)
    case = replace(case, nodules=(told,))
    write_case(case, folder / "case_03.json")
    return case


@pytest.mark.usefixtures("no_figures")
def test_the_page_says_why(cohort: Cohort, tmp_path: Path) -> None:
    told = tmp_path / cohort.predictions.name
    with_shares(cohort, told)
    options = page_options(cohort)
    options = replace(options, folders=replace(options.folders, predictions=(told,)))
    evaluation = read_evaluation(cohort.metrics)
    cards = with_reasons(cards_of(evaluation, "k"), options.folders, evaluation.source)
    assert [card.case_id for card in cards if card.reasons] == ["case_03"]
    page = write_report([cohort.metrics], tmp_path / "page.html", options).read_text(encoding="utf-8")
    assert page.count('<details class="reasons">') == 1
    assert '<tr title="hu_mean"><th scope="row">Mean density, HU</th><td>-310</td><td>-0.75</td></tr>' in page


def test_reasons_of_another_answer_than_was_evaluated_are_left_out(cohort: Cohort, tmp_path: Path) -> None:
    told = tmp_path / cohort.predictions.name
    case = with_shares(cohort, told)
    (nodule,) = case.nodules
    names = list(nodule.tasks["invasiveness"].probabilities)
    other = replace(nodule.tasks["invasiveness"], probabilities=dict(zip(names, (0.55, 0.45), strict=True)))
    nodules = (replace(nodule, tasks={**nodule.tasks, "invasiveness": other}),)
    write_case(replace(case, nodules=nodules), told / "case_03.json")
    evaluation = read_evaluation(cohort.metrics)
    cards = with_reasons(cards_of(evaluation, "k"), ImageFolders(predictions=(told,)), evaluation.source)
    assert not any(card.reasons for card in cards)
