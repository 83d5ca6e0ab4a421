"""`dsmt study` with some of the folds, with centres as folds, and with folds of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.records import write_json
from dsmt_nnunet.study import centres
from dsmt_nnunet.study import tables as study_tables
from dsmt_nnunet.tasks import ClassificationSchema, Task
from tests.unit.cli import test_study
from tests.unit.cli.test_study import run, starting

_environment, calls, own_data = test_study._environment, test_study.calls, test_study.own_data


def give_sites(raw: Path, **site_of: str) -> None:
    schema = ClassificationSchema((Task("t", ("no", "yes")),), "t")
    nodules = [Nodule(k, "1", k, (0, 0, 0), 9.0, {}, extra={"site": site}) for k, site in site_of.items()]
    NoduleTable(tuple(nodules)).write(raw / "nodules.csv", schema)
    write_json({"classification": schema.to_block()}, raw / "dataset.json")


def test_single_folds_and_centres_are_trained(
    own_data: Path, calls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(study_tables.Question, "of_folds", lambda raw, folds: asked.append(folds))
    monkeypatch.setattr(centres, "write_centres", lambda out, names: asked.append(names))
    assert run(tmp_path, "-d", "777", "-f", "1") == 0
    assert asked == [[{"train": ["b"], "val": ["a"]}]]
    assert {command.split()[3] for command in starting(calls, "nnUNetv2_train")} == {"1"}
    give_sites(tmp_path / "nnUNet_raw" / own_data.name, a="west", b="east")
    (tmp_path / "study").rename(tmp_path / "folds")
    asked.clear()
    assert run(tmp_path, "-d", "777", "--by", "site") == 0
    assert asked == [[{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}], ("east", "west")]
    linked = tmp_path / "study" / "nnUNet_preprocessed" / own_data.name
    assert (linked / "DSMTPlansXS.json").resolve() == own_data / "DSMTPlansXS.json"
    assert run(tmp_path, "-d", "777") != 0, "another study"
    assert run(tmp_path, "--by", "site") != 0, "phantoms have no centres"


def test_patients_are_dealt_out_anew_for_a_seed(
    own_data: Path, calls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [f"c{number:02}" for number in range(20)]
    give_sites(tmp_path / "nnUNet_raw" / own_data.name, **dict.fromkeys(cases, ""))
    write_json([{"train": cases[:10], "val": cases[10:]}], own_data / "splits_final.json")
    asked: list[Any] = []
    monkeypatch.setattr(study_tables.Question, "of_folds", lambda raw, folds: asked.append(folds))
    for seed in (1, 2, 1):
        assert run(tmp_path, "-d", "777", "--fold-seed", str(seed)) == 0
        if seed == 1 and len(asked) == 1:
            assert run(tmp_path, "-d", "777", "--fold-seed", "2") != 0, "a folder for each seed"
        (tmp_path / "study").rename(tmp_path / f"study{len(asked)}")
    first, second, again = asked
    assert first == again != second
    for folds in (first, second):
        assert sorted(case for fold in folds for case in fold["val"]) == cases
    assert run(tmp_path, "--fold-seed", "1") != 0, "phantoms have one fold"
    assert run(tmp_path, "-d", "777", "--by", "site", "--fold-seed", "1") != 0, "one or the other"
