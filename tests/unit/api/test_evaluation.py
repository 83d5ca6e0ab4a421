from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

import dsmt_nnunet as dsmt

RNG = np.random.default_rng(3)
Y_TRUE = RNG.integers(0, 2, 80)
Y_SCORE = np.clip(0.3 * Y_TRUE + RNG.uniform(0, 0.7, 80), 0, 1)


def test_the_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    groups = [f"p{number // 2}" for number in range(80)]
    result = dsmt.evaluate(Y_TRUE, Y_SCORE, groups, threshold=0.4, n_resamples=200)
    assert result.auc.auc == pytest.approx(roc_auc_score(Y_TRUE, Y_SCORE))
    assert (result.n, result.n_positive, result.n_groups) == (80, Y_TRUE.sum(), 40)
    (point,) = result.operating_points
    assert point.metrics.tp == ((Y_SCORE >= 0.4) & (Y_TRUE == 1)).sum()
    written = json.loads((result.write(tmp_path) / "metrics.json").read_text())["scores"]["score"]
    assert written["auc_ci"] == pytest.approx([result.auc.lower, result.auc.upper])
    assert written["operating_points"][0]["sensitivity"] == pytest.approx(point.metrics.sensitivity.value)
    assert result.calibration is not None
    assert written["brier"] == pytest.approx(result.calibration.brier)


def test_groups_are_the_unit() -> None:
    doubled = dsmt.evaluate(np.repeat(Y_TRUE, 3), np.repeat(Y_SCORE, 3), np.repeat(np.arange(80), 3), n_resamples=500)
    alone = dsmt.evaluate(np.repeat(Y_TRUE, 3), np.repeat(Y_SCORE, 3), n_resamples=500)
    assert doubled.auc.upper - doubled.auc.lower > 1.4 * (alone.auc.upper - alone.auc.lower)
    assert doubled.operating_points[0].metrics.sensitivity.ci[0] < alone.operating_points[0].metrics.sensitivity.ci[0]


def test_a_threshold_chosen_here_says_so() -> None:
    result = dsmt.evaluate(Y_TRUE, 10 * Y_SCORE, choose_threshold="youden", n_resamples=0)
    assert [point.chosen_on_reported_data for point in result.operating_points] == [True]
    assert result.calibration is None
    assert dsmt.evaluate(Y_TRUE, 10 * Y_SCORE, n_resamples=0).operating_points == ()


def test_one_class_is_undefined_not_zero() -> None:
    result = dsmt.evaluate([1, 1, 1], [0.2, 0.5, 0.6])
    assert math.isnan(result.auc.auc)
    assert math.isnan(result.auc.lower)
    assert "SmallSampleWarning" in [warning.name for warning in result.warnings]


@pytest.mark.parametrize(
    ("y_true", "y_score", "groups", "message"),
    [
        ([0, 2], [0.1, 0.2], None, "must be 0 or 1"),
        ([0, 1], [0.1, math.nan], None, "finite"),
        ([0, 1], [0.1], None, "2 cases"),
        ([0, 1], [0.1, 0.2], ["a"], "groups must name one value for each of the 2 cases"),
        ([0, 1], [0.1, 0.2], ["a", None], "none of them empty"),
        ([], [], None, "at least one case"),
        ([0, 1], [0.1, 0.2], "ab", "a list with one value for each case, got str"),
        ([0, 1], [0.1, 0.2], np.zeros((2, 2)), "a list with one value"),
        ([0, 1], [0.1, 0.2], np.array([1, np.nan], dtype=np.float32), "none of them empty"),
        ([0, 1], [0.1, 0.2], np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"), "none of them empty"),
        (np.ma.masked_equal([0, 1], 0), [0.1, 0.2], None, "y_true is a masked array"),
        ([0, 1], np.ma.masked_equal([0.1, 0.2], 0.1), None, "y_score is a masked array"),
        ([0, 1], [0.1, 0.2j], None, "must hold real numbers"),
        ([0, 1], ["1_0", "0.5"], None, "must hold numbers, got '1_0'"),
        ([0, 1], np.array(["1_0", 0.5], dtype=object), None, "must hold numbers, got '1_0'"),
        ([0, 1], np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"), None, "must hold numbers"),
        ([0, 1], np.array([2**60, 2**60 + 1]), None, "can be told apart"),
        ([0, 1], [-(2**70), 2**70 + 1], None, "can be told apart"),
        ([0, 1], torch.tensor([0.1, 0.2], requires_grad=True), None, "y_score cannot be read as an array"),
    ],
)
def test_bad_arrays_are_refused(
    y_true: list[int], y_score: list[float], groups: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dsmt.evaluate(y_true, y_score, groups)


def test_series_are_taken_by_place_where_labels_say_the_same() -> None:
    table = pd.DataFrame({"y": Y_TRUE, "score": Y_SCORE, "centre": ["a", "b"] * 40}).sample(frac=1, random_state=0)
    result = dsmt.evaluate(table["y"], table["score"], subgroups=table[["centre"]], n_resamples=0)
    assert result.auc.auc == pytest.approx(roc_auc_score(Y_TRUE, Y_SCORE))
    for columns in (
        {"y_score": pd.Series(Y_SCORE)},
        {"groups": pd.Series(range(80))},
        {"subgroups": {"a": table.y[::-1]}},
    ):
        with pytest.raises(ValueError, match=r"different indices.*\.to_numpy\(\)"):
            dsmt.evaluate(table["y"], **{"y_score": table["score"], **columns}, n_resamples=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "whole number from 0"),
        ({"seed": 1.5}, "seed of the bootstrap must be a whole number"),
        ({"n_resamples": 100.5}, "n_resamples of the bootstrap must be a whole number"),
        ({"level": math.nan}, "confidence level"),
        ({"threshold": math.nan}, "finite number"),
        ({"subgroups": {"a": "xy"}}, "a must be a list"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dsmt.evaluate([0, 1], [0.1, 0.2], **options)


def test_spellings_of_one_patient_are_one_as_in_a_table() -> None:
    groups = [1, 1.0, "01", *range(3, 80)]
    result = dsmt.evaluate(Y_TRUE, Y_SCORE, groups, n_resamples=0)
    assert result.n_groups == 78
    assert "'1', '1.0', '01' are taken for one patient" in result.warnings[0].message


def test_a_page_shows_something_and_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no evaluation is named"):
        dsmt.write_report([], tmp_path / "page.html")
    folder = dsmt.evaluate(Y_TRUE, Y_SCORE, n_resamples=0).write(tmp_path / "own")
    with pytest.raises(ValueError, match="is a folder, and the page is a file"):
        dsmt.write_report(folder, tmp_path)
    with pytest.raises(ValueError, match=r"--images .*/nothing is not a folder"):
        dsmt.write_report(folder, tmp_path / "page.html", images=str(tmp_path / "nothing"))
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("subgroups", "error", "message"),
    [
        ({"sex": ["M", "m"] * (len(Y_TRUE) // 2)}, ValueError, "'M', 'm'"),
        ({"age": range(len(Y_TRUE))}, ValueError, "different numbers"),
        (["M"] * len(Y_TRUE), TypeError, "mapping of name to the level"),
    ],
)
def test_subgroups_are_those_that_a_table_may_have(subgroups: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        dsmt.evaluate(Y_TRUE, Y_SCORE, subgroups=subgroups, n_resamples=0)
