"""`dsmt evaluate table --beside`: what a score adds to what is known without it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
from scipy.stats import chi2

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.evaluation.files import read_metrics
from dsmt_nnunet.records import jsonable

N = 150
RNG = np.random.default_rng(3)
DIAMETER = RNG.normal(12, 4, N)
TRUTH = (RNG.random(N) < expit(0.2 * (DIAMETER - 12))).astype(int)
SCORES = {"helps": expit(TRUTH + RNG.normal(0, 1.5, N)), "noise": RNG.random(N)}


def run(folder: Path, per_patient: int, *more: str) -> int:
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["truth", "patient_id", "diameter_mm", "part", *SCORES])
        for k in range(N):
            values = (score[k] for score in SCORES.values())
            writer.writerow([TRUTH[k], f"p{k // per_patient}", DIAMETER[k], k % 3, *values])
    options = ["--truth", "truth", "--score", "helps", "--score", "noise", "--beside", "diameter_mm"]
    out = ["--bootstrap", "0", "-o", str(folder / "out")]
    return main(["evaluate", "table", str(folder / "t.csv"), *options, *out, *more])


def test_the_test_is_the_likelihood_ratio_of_both_regressions(tmp_path, capsys) -> None:
    assert run(tmp_path, 1) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    helps, noise = metrics["added_value"]
    for item, score in ((helps, SCORES["helps"]), (noise, SCORES["noise"])):
        both = sm.Logit(TRUTH, sm.add_constant(np.column_stack([logit(score), DIAMETER]))).fit(disp=0)
        alone = sm.Logit(TRUTH, sm.add_constant(DIAMETER)).fit(disp=0)
        assert item["p_value"] == pytest.approx(chi2.sf(2 * (both.llf - alone.llf), 1), rel=1e-5)
        assert item["weight"] == pytest.approx(both.params[1] * logit(score).std(), rel=1e-5)
    assert helps["p_value"] < helps["p_value_holm"] == pytest.approx(2 * helps["p_value"])
    assert noise["p_value"] > 0.05
    assert (helps["test"], helps["beside"], helps["n"]) == ("likelihood ratio", ["diameter_mm"], N)
    assert "helps beside diameter_mm: log odds" in capsys.readouterr().out
    assert jsonable(read_metrics(tmp_path / "out")) == metrics


def test_patients_are_the_unit_and_folds_are_refused(tmp_path, capsys) -> None:
    assert run(tmp_path, 3) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {item["test"] for item in metrics["added_value"]} == {"sandwich over patients, t"}
    assert run(tmp_path, 1, "--fold", "part") == 2
    assert "on out-of-fold scores the test rejects in 16 to 51 %" in capsys.readouterr().err
