"""Leave-one-centre-out: the folds, the data set that they lie in, and what the centres found together."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.statistics.pooling import pooled_auc
from dsmt_nnunet.statistics.roc.by_patient import auc_interval
from dsmt_nnunet.study.centres import centre_folds, link_preprocessed, write_centres
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


def test_centres_are_pooled_on_the_logit_scale(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folds, patients = np.repeat(np.arange(4), 30), np.arange(120) // 2
    truth = np.where(folds == 3, 1, np.arange(120) % 2)
    seeds = [np.round(truth * 0.3 + rng.normal(0, 0.3, 120), 5) for _ in range(2)]
    with (tmp_path / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["patient_id", "cohort", "truth", "fold", "DSMTTrainer_seed0", "DSMTTrainer_seed1"])
        writer.writerows(zip(patients, [""] * 120, truth, folds, *seeds, strict=True))
    write_centres(tmp_path, ["north", "south", "west", "no other class"])
    with (tmp_path / "centres.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    mean = np.mean(seeds, axis=0)
    each = [auc_interval(truth[folds == k], mean[folds == k], patients[folds == k]) for k in range(3)]
    assert [float(row["auc"]) for row in rows[:3]] == pytest.approx([item.auc for item in each], abs=1e-4)
    assert (rows[3]["centre"], rows[3]["auc"], rows[3]["nodules"]) == ("no other class", "", "30")
    expected = pooled_auc([item.auc for item in each], [item.se for item in each])
    assert (rows[4]["centre"], float(rows[4]["auc"])) == ("pooled", pytest.approx(expected.estimate, abs=1e-4))
    assert float(rows[4]["auc_low"]) == pytest.approx(expected.ci[0], abs=1e-4)
    assert float(rows[4]["expected_high"]) == pytest.approx(expected.prediction[1], abs=1e-4)
    assert rows[4]["method"].endswith("3 centres")
