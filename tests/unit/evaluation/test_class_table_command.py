"""`dsmt evaluate classes`: models that decide among grades or classes."""

from __future__ import annotations

import csv
import errno
import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, roc_auc_score

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.evaluation.files import read_metrics
from dsmt_nnunet.records import jsonable
from dsmt_nnunet.report.figure_style import FigureFolder
from dsmt_nnunet.report.folder import read_evaluation
from dsmt_nnunet.report.section import build_section
from dsmt_nnunet.statistics.resampled_t import corrected_resampled_t

NAMES = ("AIS", "MIA", "IAC")
N = 90
RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 3, N)
PROBS = {
    name: RNG.dirichlet((1, 1, 1), N) * (1 - w) + w * np.eye(3)[TRUTH] for name, w in (("good", 0.3), ("bad", 0.05))
}


def write(path: Path, **changes: str) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = [f"{model}_prob_{name}" for model in PROBS for name in NAMES]
        writer.writerow(["grade", "patient_id", "sex", "fold", "r", *columns])
        for k in range(N):
            row = {
                "grade": NAMES[TRUTH[k]],
                "patient_id": f"p{k // 2}",
                "sex": "fm"[k // 2 % 2],
                "fold": str(k // 2 % 5),
            }
            row |= {"r": NAMES[TRUTH[k]] if k % 3 else "", **(changes if k == 7 else {})}
            writer.writerow([*row.values(), *(value for model in PROBS for value in PROBS[model][k])])
    return path


def run(folder: Path, table: Path, *more: str) -> dict:
    options = ["--truth", "grade", "--classes", *NAMES, "--model", "good", "--model", "bad", "-o", str(folder)]
    assert main(["evaluate", "classes", str(table), *options, *more]) == 0
    return json.loads((folder / "metrics.json").read_text())


def test_graded_models_are_compared_over_patients_and_shown(tmp_path, capsys) -> None:
    asked = ("--ordered", "--fold", "none", "--group", "sex", "--reader", "r")
    metrics = run(tmp_path / "out", write(tmp_path / "t.csv"), *asked)
    measures = {item["measure"]: item for item in metrics["models"]["good"]}
    decided = (np.cumsum(PROBS["good"], axis=1) >= 0.5).argmax(axis=1)
    assert measures["quadratic kappa"]["value"] == pytest.approx(cohen_kappa_score(TRUTH, decided, weights="quadratic"))
    assert measures["accuracy"]["value"] == pytest.approx(accuracy_score(TRUTH, decided))
    (pair,) = metrics["comparisons"]
    assert [item["measure"] for item in pair["differences"]] == list(measures)
    assert all(item["p_value"] <= item["p_value_holm"] < 0.05 for item in pair["differences"])
    assert {item["test"] for item in pair["differences"]} == {"ratio over patients, t", "jackknife of patients, t"}
    assert (metrics["n_clusters"], metrics["inputs"]["fold"]) == (45, None)
    assert sum(level["n"] for level in metrics["subgroups"]["sex"].values()) == N
    assert len(metrics["interactions"]) == 3 * 4, "each model and their difference, of every measure"
    assert metrics["readers"]["r"]["good"]["n"] == N - N // 3
    tests = {item["name"]: item["n_tests"] for item in metrics["multiplicity"]}
    assert tests["models of grades and classes"] == 4
    assert tests["levels of grades and classes"] == 2 * 4
    assert "good - bad: quadratic kappa" in capsys.readouterr().out
    assert jsonable(read_metrics(tmp_path / "out")) == metrics
    section = build_section(read_evaluation(tmp_path / "out"), "1", "grades", FigureFolder(tmp_path / "figures"))
    assert "the patient (patient_id) is the unit" in section.settings
    assert not {"bootstrap", "threshold"} & {*section.settings.replace(";", "").split()}, "neither is made here"
    captions = [table.caption for table in section.panels[0].tables]
    assert {"Measures", "Models beside each other", "Subgroups: Sex", "Does a measure depend on the subgroup?"} <= {
        *captions
    }


def test_classes_without_an_order_are_compared_within_folds(tmp_path) -> None:
    metrics = run(tmp_path / "out", write(tmp_path / "t.csv"), "--fold", "fold", "--group", "sex")
    macro = next(item for item in metrics["comparisons"][0]["differences"] if item["measure"] == "macro AUC")
    folds = np.arange(N) // 2 % 5
    assert all(len(set(TRUTH[folds == k])) == 3 for k in range(5))
    aucs = [
        [roc_auc_score(TRUTH[folds == k], PROBS[m][folds == k], multi_class="ovr", labels=[0, 1, 2]) for k in range(5)]
        for m in PROBS
    ]
    expected = corrected_resampled_t(np.subtract(*aucs), 0.25)
    assert (macro["difference"], macro["p_value"]) == pytest.approx((expected.mean, expected.p_value), rel=1e-3)
    assert {item["test"] for item in metrics["comparisons"][0]["differences"]} == {"corrected resampled t within folds"}
    assert metrics["interactions"] == []


def test_a_full_disk_leaves_no_folder(tmp_path, capsys, monkeypatch) -> None:
    def full_disk(path: Path, _: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    table, out = write(tmp_path / "t.csv"), tmp_path / "out"
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    options = ["--truth", "grade", "--classes", *NAMES, "--model", "good", "--fold", "none", "-o", str(out)]
    assert main(["evaluate", "classes", str(table), *options]) == 2
    assert f"No space left on device: '{out / 'metrics.json'}'" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grade": "SCC"}, r"'grade' must hold .*SCC.* line 9"),
        ({"r": "maybe"}, r"'r' must hold .*maybe.* line 9"),
        ({"patient_id": ""}, r"'patient_id' is empty in line 9"),
    ],
)
def test_a_wrong_cell_names_its_line(tmp_path, capsys, changes: dict[str, str], message: str) -> None:
    table = write(tmp_path / "t.csv", **changes)
    options = ["--truth", "grade", "--classes", *NAMES, "--model", "good", "--fold", "none", "--reader", "r"]
    assert main(["evaluate", "classes", str(table), *options, "-o", str(tmp_path / "out")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
