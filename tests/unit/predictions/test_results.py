from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsmt_nnunet.predictions.results import (
    Candidate,
    CasePrediction,
    is_case_file,
    read_case,
    read_folder,
    write_case,
)
from tests.unit.predictions.made_case import prediction
from tests.unit.small_plans import SCHEMA


def test_a_prediction_survives_its_file(tmp_path: Path) -> None:
    write_case(prediction(), tmp_path / "case.json")
    assert read_case(tmp_path / "case.json") == prediction()
    assert [path.name for path in tmp_path.iterdir()] == ["case.json"]


def test_an_unknown_diameter_is_null_in_the_file_and_nan_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    write_case(prediction(diameter_mm=math.nan), path)
    assert json.loads(path.read_text(), parse_constant=pytest.fail)["nodules"][0]["diameter_mm"] is None
    assert math.isnan(read_case(path).nodules[0].diameter_mm)


def test_a_case_without_nodules_survives_its_file(tmp_path: Path) -> None:
    write_case(replace(prediction(), nodules=()), tmp_path / "case.json")
    assert read_case(tmp_path / "case.json").nodules == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**prediction().to_json(), "schema_version": 1}, "schema_version 4, this one has 1"),
        ({"schema_version": 4, "nodules": []}, "is not a DSMT prediction"),
        ({**prediction().to_json(), "nodules": [{"nodule_id": "1"}]}, "is not a DSMT prediction"),
    ],
)
def test_files_that_are_no_predictions_are_named(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as caught:
        read_case(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda case: case["nodules"][0]["tasks"]["invasiveness"].update(decision="non-invasive"), "does not follow"),
        (lambda case: case["nodules"][0]["tasks"]["invasiveness"].update(threshold=0.8), "does not follow"),
        (lambda case: case["nodules"][0]["tasks"]["texture"].update(decision="part-solid"), "does not follow"),
        (lambda case: case["nodules"][0]["tasks"]["invasiveness"].update(threshold=-7.0), "between 0 and 1"),
        (lambda case: case["nodules"].append(case["nodules"][0]), "occurs twice"),
        (lambda case: case["nodules"][0].update(volume_mm3=-1.0), "must not be negative"),
        (lambda case: case.update(nodules={}), "'nodules' must be a list"),
        (lambda case: case.update(warnings="odd"), "'warnings' must be a list"),
        (lambda case: case.update(model=[]), "'model' must be a dict"),
        (lambda case: case["nodules"][0]["tasks"]["texture"]["probabilities"].update(solid="0.5"), "finite number"),
        (lambda case: case["nodules"][0].update(centre_mm_lps=[1.0, None, 2.0]), "finite number"),
    ],
)
def test_an_answer_that_contradicts_itself_is_refused(tmp_path: Path, edit: Callable[[Any], Any], reason: str) -> None:
    content = prediction().to_json()
    edit(content)
    (tmp_path / "case.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=reason):
        read_case(tmp_path / "case.json")


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_case(prediction(), tmp_path / "case.json")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_case(prediction(diameter_mm=1.0), tmp_path / "case.json")
    assert read_case(tmp_path / "case.json") == prediction()


def test_a_folder_is_read_by_case_and_other_files_are_passed_over(tmp_path: Path) -> None:
    for case_id in ("b", "a"):
        write_case(prediction(case_id), tmp_path / f"{case_id}.json")
    (tmp_path / "plans.json").write_text("{}")
    (tmp_path / "list.json").write_text("[]")
    assert [case.case_id for case in read_folder(tmp_path)] == ["a", "b"]
    assert not is_case_file(tmp_path / "plans.json")


@pytest.mark.parametrize("left", [0, 0.5])
def test_a_case_file_that_was_cut_off_is_not_passed_over(tmp_path: Path, left: float) -> None:
    for case_id in ("a", "b"):
        write_case(prediction(case_id), tmp_path / f"{case_id}.json")
    content = (tmp_path / "b.json").read_bytes()
    (tmp_path / "b.json").write_bytes(content[: int(left * len(content))])
    with pytest.raises(ValueError, match=r"b\.json is cut off or damaged"):
        read_folder(tmp_path)


def test_a_folder_without_predictions_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no DSMT prediction"):
        read_folder(tmp_path)


def answers(content: dict) -> dict:
    return content["nodules"][0]["tasks"]["invasiveness"]


BROKEN = {
    "a key is missing": (lambda content: content.pop("nodules"), "lacks 'nodules'"),
    "a number is text": (lambda content: answers(content)["probabilities"].update(invasive="0.75"), "finite number"),
    "above 1": (lambda content: answers(content)["probabilities"].update(invasive=7.5), "no probabilities"),
    "not 1 together": (lambda content: answers(content)["probabilities"].update(invasive=0.5), "no probabilities"),
    "infinite": (lambda content: answers(content)["probabilities"].update(invasive=math.inf), "finite number"),
    "another class": (lambda content: answers(content)["probabilities"].update(benign=0.0), "not of"),
    "another decision": (lambda content: answers(content).update(decision="benign"), "the decision 'benign'"),
    "a task is missing": (lambda content: content["nodules"][0]["tasks"].pop("texture"), "answers to"),
    "two coordinates": (lambda content: content["nodules"][0]["centre_mm_lps"].pop(), "not enough values"),
    "a list": (lambda content: content.update(nodules={"left": 1}), "DSMT prediction"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_case_file_that_says_what_cannot_be_is_named(tmp_path: Path, name: str) -> None:
    change, reason = BROKEN[name]
    content = prediction().to_json()
    change(content)
    (tmp_path / "case.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"case\.json is not a DSMT prediction: .*{reason}|{reason}"):
        read_case(tmp_path / "case.json")


def test_a_copy_of_a_case_is_not_counted_twice(tmp_path: Path) -> None:
    write_case(prediction("c0"), tmp_path / "c0.json")
    write_case(prediction("c0"), tmp_path / "c0 (1).json")
    with pytest.raises(ValueError, match=r"c0 \(1\)\.json holds the prediction of case 'c0'"):
        read_folder(tmp_path)


def test_predictions_of_two_models_in_one_folder_are_refused(tmp_path: Path) -> None:
    for case_id, weights in (("a", "1f"), ("b", "2f")):
        write_case(replace(prediction(case_id), model={"weights": [weights]}), tmp_path / f"{case_id}.json")
    with pytest.raises(ValueError, match=r"predictions of 2 models: those of the cases \['a', 'b'\]"):
        read_folder(tmp_path)


def test_doubts_survive_the_file(tmp_path: Path) -> None:
    case = CasePrediction("a", SCHEMA, (), doubts=("the image seems to be cut off at 150 HU",))
    write_case(case, tmp_path / "a.json")
    assert read_case(tmp_path / "a.json") == case
    assert json.loads((tmp_path / "a.json").read_text())["warnings"] == list(case.doubts)


def test_candidates_and_scores_of_a_search_survive_the_file(tmp_path: Path) -> None:
    (nodule,) = prediction().nodules
    faint = Candidate((1.0, -2.5, 3.25), -1.75)
    case = replace(prediction(), nodules=(replace(nodule, detection_score=6.5),), candidates=(faint,))
    write_case(case, tmp_path / "case.json")
    again = read_case(tmp_path / "case.json")
    assert (again.nodules[0].detection_score, again.candidates) == (6.5, (faint,))
    write_case(prediction(), tmp_path / "given.json")
    given = read_case(tmp_path / "given.json")
    assert (given.nodules[0].detection_score, given.candidates) == (None, None)


def test_a_nodule_of_a_searched_scan_has_a_score(tmp_path: Path) -> None:
    write_case(replace(prediction(), candidates=()), tmp_path / "case.json")
    with pytest.raises(ValueError, match="a nodule of a searched scan lacks 'detection_score'"):
        read_case(tmp_path / "case.json")
