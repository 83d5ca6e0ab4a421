from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from dsmt_nnunet.study.records import RunRow, StudyIdentity, read_identity, read_runs, write_identity, write_runs

IDENTITY = StudyIdentity(dataset="Dataset501_Own", plans="DSMTPlansXS", folds=(0, 1))
ROWS = [
    RunRow(run="A", seed=0, parameters=17, training_minutes=7.25, peak_memory_gb=1.5, measures={"x_auc": 0.75}),
    RunRow(
        run="B", seed=2, parameters=9, training_minutes=math.nan, peak_memory_gb=math.nan, measures={"dice": math.nan}
    ),
]


def test_both_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert (read_identity(tmp_path), read_runs(tmp_path)) == (None, ())
    write_identity(tmp_path, IDENTITY)
    write_runs(tmp_path, ROWS)
    assert read_identity(tmp_path) == IDENTITY
    first, second = read_runs(tmp_path)
    assert (first.run, first.seed, first.parameters, first.measures["x_auc"]) == ("A", 0, 17, 0.75)
    assert first.training_minutes == pytest.approx(7.25, abs=0.05)
    assert math.isnan(second.training_minutes)
    assert math.isnan(second.measures["dice"])


def test_a_study_begun_without_a_version_goes_on(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"dataset": "D", "plans": "P", "folds": [0, 1]}))
    assert read_identity(tmp_path) == StudyIdentity(dataset="D", plans="P", folds=(0, 1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema_version": 2, "dataset": "D", "plans": "P"}, "schema_version 2, this release reads 1"),
        ({"schema_version": 1, "dataset": "D"}, "key 'plans' is missing"),
        ({"schema_version": 1, "dataset": "D", "plans": "P", "colour": 1}, "key 'colour' is not known"),
    ],
)
def test_another_file_is_refused_with_what_to_do(tmp_path: Path, content: dict, message: str) -> None:
    (tmp_path / "study.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as caught:
        read_identity(tmp_path)
    assert "-o" in str(caught.value)


def test_a_damaged_row_of_runs_is_named(tmp_path: Path) -> None:
    write_runs(tmp_path, ROWS)
    text = (tmp_path / "runs.csv").read_text()
    (tmp_path / "runs.csv").write_text(text.replace("0.7500", "good"))
    with pytest.raises(ValueError, match="line 2: 'x_auc' must be a number or empty, got 'good'"):
        read_runs(tmp_path)
    (tmp_path / "runs.csv").write_text(text.replace("\n1,", "\n2,"))
    with pytest.raises(ValueError, match="schema_version 2, this release reads 1"):
        read_runs(tmp_path)
