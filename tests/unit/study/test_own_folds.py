"""The folds of a study's own, and the data set that they lie in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.study.own_folds import centre_folds, link_preprocessed
from dsmt_nnunet.tasks import ClassificationSchema, Task

SCHEMA = ClassificationSchema((Task("invasiveness", ("no", "yes")),), "invasiveness")


def table(path: Path, **centre_of: str) -> Path:
    nodules = [
        Nodule(case.rstrip("_"), "2" if case.endswith("_") else "1", case, (0, 0, 0), 9.0, {}, extra={"centre": name})
        for case, name in centre_of.items()
    ]
    NoduleTable(tuple(nodules)).write(path, SCHEMA)
    return path


def test_every_centre_is_left_out_once(tmp_path: Path) -> None:
    path = table(tmp_path / "n.csv", a="B", b="A", c="B", unused="C")
    folds = centre_folds(path, SCHEMA, "centre", ["a", "b", "c"])
    assert folds == {"A": {"train": ["a", "c"], "val": ["b"]}, "B": {"train": ["b"], "val": ["a", "c"]}}


@pytest.mark.parametrize(
    ("centre_of", "column", "message"),
    [
        ({"a": "A", "b": ""}, "centre", "'b' has nothing in column 'centre'"),
        ({"a": "A", "a_": "B"}, "centre", r"'a' has \['A', 'B'\]"),
        ({"a": "A", "b": "A"}, "centre", "there is none to leave out"),
        ({"a": "A", "b": "B"}, "site", "no column 'site'"),
    ],
)
def test_a_case_without_one_centre_is_named(
    tmp_path: Path, centre_of: dict[str, str], column: str, message: str
) -> None:
    path = table(tmp_path / "n.csv", **centre_of)
    with pytest.raises(ValueError, match=message):
        centre_folds(path, SCHEMA, column, sorted({name.rstrip("_") for name in centre_of}))


def test_the_users_folds_stay_as_they_are(tmp_path: Path) -> None:
    source, target = tmp_path / "planned", tmp_path / "study"
    (source / "cases").mkdir(parents=True)
    (source / "cases" / "a.b2nd").write_text("image")
    (source / "splits_final.json").write_text("[]")
    folds = {"train": ["b"], "val": ["a"]}
    for _ in range(2):
        link_preprocessed(source, target, [folds])
    assert (target / "cases" / "a.b2nd").read_text() == "image"
    assert json.loads((target / "splits_final.json").read_text()) == [folds]
    assert (source / "splits_final.json").read_text() == "[]"
