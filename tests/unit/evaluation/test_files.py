from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dsmt_nnunet.evaluation.files import read_curves, read_metrics
from dsmt_nnunet.evaluation.reader_study import RatingColumns, evaluate_reader_study_file
from dsmt_nnunet.evaluation.records.metrics import ReaderStudyMetrics, TableMetrics
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.table_file import TableColumns, evaluate_table_file
from dsmt_nnunet.records import jsonable


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of a table, with readers."""
    tmp_path = tmp_path_factory.mktemp("evaluated")
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 2
    scores = rng.normal(size=60) + truth
    rows = zip(truth, 1 / (1 + np.exp(-scores)), (scores > 0).astype(int), np.round(scores), strict=True)
    with (tmp_path / "table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("truth", "model", "reader_1", "reader_2"), *rows])
    columns = TableColumns("truth", ("model",), readers=("reader_1", "reader_2"))
    evaluate_table_file(tmp_path / "table.csv", columns, tmp_path / "out", EvaluationSettings(n_resamples=100))
    return tmp_path / "out"


@pytest.fixture
def folder(evaluated: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return shutil.copytree(evaluated, tmp_path / "out")


def content_of(folder: Path, name: str = "metrics.json") -> dict:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def change(folder: Path, **changes: object) -> None:
    (folder / "metrics.json").write_text(json.dumps({**content_of(folder), **changes}), encoding="utf-8")


def test_both_files_are_read_as_they_were_written(folder: Path) -> None:
    metrics, curves = read_metrics(folder), read_curves(folder)
    assert isinstance(metrics, TableMetrics)
    assert jsonable(metrics) == content_of(folder)
    assert jsonable(curves) == content_of(folder, "curves.json")
    assert metrics.readers["reader_2"].auc is not None
    assert metrics.readers["reader_1"].auc is None


def test_a_reader_study_is_read_as_it_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [
        (reader, modality, case, case % 2, round(float(rng.normal() + case % 2), 2))
        for reader in "AB"
        for modality in ("CT", "CT and model")
        for case in range(20)
    ]
    with (tmp_path / "ratings.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("reader", "modality", "case", "truth", "rating"), *rows])
    columns = RatingColumns("reader", "modality", "case", "truth", "rating")
    written = evaluate_reader_study_file(tmp_path / "ratings.csv", columns, tmp_path, EvaluationSettings(), cut=0.5)
    read = read_metrics(tmp_path)
    assert isinstance(read, ReaderStudyMetrics)
    assert jsonable(read) == jsonable(written) == content_of(tmp_path)
    assert read.merits["auc"].quoted == read.merits["auc"].random_readers_and_cases


def test_a_file_of_an_earlier_release_is_refused_with_what_to_run(folder: Path) -> None:
    change(folder, schema_version=2)
    with pytest.raises(ValueError, match=r"metrics\.json was written by an earlier release .* Run 'dsmt evaluate tabl"):
        read_metrics(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 8}, "was written by a later release"),
        ({"schema_version": "3"}, "key 'schema_version' must be 7, got '3'"),
        ({"kind": "tables"}, "key 'kind' must be one of"),
        ({"surplus": 1}, "key 'surplus' is not known. Run 'dsmt evaluate table ...' again."),
        ({"n": None}, "key 'n' must be a whole number, got null"),
        ({"scores": {"model": {}}}, "key 'scores.model.brier' is missing"),
    ],
)
def test_a_changed_file_is_refused_by_its_key(folder: Path, changes: dict, message: str) -> None:
    change(folder, **changes)
    with pytest.raises(ValueError) as caught:
        read_metrics(folder)
    assert message in str(caught.value)
    assert str(folder / "metrics.json") in str(caught.value)


def test_curves_may_be_missing_but_not_damaged(folder: Path) -> None:
    (folder / "curves.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="not valid JSON"):
        read_curves(folder)
    (folder / "curves.json").unlink()
    assert read_curves(folder) is None
