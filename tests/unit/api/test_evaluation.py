from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
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
    ],
)
def test_bad_arrays_are_refused(
    y_true: list[int], y_score: list[float], groups: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dsmt.evaluate(y_true, y_score, groups)
