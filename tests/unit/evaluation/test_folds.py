from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.statistics.roc.delong import auc_score
from tests.unit.evaluation.test_table_command import evaluate, write_table

OPTIONS = ("--truth", "truth", "--score", "one", "--score", "other", "--threshold", "one=0")


@pytest.fixture
def cohort(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Out-of-fold scores of two procedures; each fold's model has a scale of its own."""
    rng = np.random.default_rng(0)
    truth, fold = np.arange(200) % 2, np.repeat(np.arange(5), 40)
    columns = {
        "truth": truth,
        "one": (rng.normal(size=200) + truth + 3 * fold).round(3),
        "other": (rng.normal(size=200) + 0.5 * truth - 2 * fold).round(3),
        "fold": np.array(["a", "b", "c", "d", "e"])[fold],
        "site": np.array(["A", "B"])[(np.arange(200) // 2) % 2],
        "reader": np.round(rng.normal(size=200) + truth),
        "patient_id": np.array([f"p{k // 2}" for k in range(200)]),
    }
    return write_table(tmp_path / "folds.csv", columns), columns


def difference(columns: dict[str, np.ndarray], values) -> tuple[float, float, float]:
    """Mean, corrected standard error and p value of a difference fold by fold (Nadeau and Bengio 2003)."""
    found = np.array([values(columns["fold"] == name) for name in "abcde"])
    se = np.sqrt((1 / 5 + 40 / 160) * found.var(ddof=1))
    return found.mean(), se, 2 * t.sf(abs(found.mean()) / se, 4)


def test_scores_of_several_folds_are_refused_without_their_column(cohort, tmp_path, capsys) -> None:
    table, _ = cohort
    assert main(["evaluate", "table", str(table), *OPTIONS, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "say --fold fold to have them analysed within folds, or --fold none" in error
    pooled = evaluate(table, tmp_path / "pooled", *OPTIONS, "--fold", "none")
    assert pooled["inputs"]["fold"] is None
    assert main(["evaluate", "table", str(table), *OPTIONS, "--fold", "where", "-o", str(tmp_path / "out")]) == 2
    assert "no column 'where' (--fold)" in capsys.readouterr().err


def test_pairs_are_compared_within_folds(cohort, tmp_path) -> None:
    table, columns = cohort
    metrics = evaluate(table, tmp_path / "out", *OPTIONS, "--fold", "fold", "--reader", "reader", "--group", "site")
    truth, one, other = columns["truth"], columns["one"], columns["other"]
    pair = metrics["comparisons"][0]
    mean, se, p_value = difference(
        columns, lambda part: auc_score(truth[part], one[part]) - auc_score(truth[part], other[part])
    )
    assert pair["test"] == "corrected resampled t within folds"
    assert (pair["auc_difference"], pair["se"], pair["p_value"]) == pytest.approx((mean, se, p_value))
    assert pair["aucs"][0] == pytest.approx(metrics["scores"]["one"]["auc"])
    assert metrics["scores"]["one"]["auc"] > auc_score(truth, one) + 0.1, "pooled, the scales of the folds blur it"
    assert "Mean AUC over 5 folds" in metrics["scores"]["one"]["auc_sentence"]
    levels = next(item for item in metrics["comparisons"] if item["kind"] == "unpaired" and item["score"] == "one")
    sites = [columns["site"] == name for name in "AB"]
    mean, se, p_value = difference(
        columns, lambda part: np.subtract(*(auc_score(truth[part & site], one[part & site]) for site in sites))
    )
    assert (levels["auc_difference"], levels["se"], levels["p_value"]) == pytest.approx((mean, se, p_value))
    against = metrics["readers"]["reader"]["against"]["one"]["auc"]
    assert against["test"] == "corrected resampled t within folds"
    assert metrics["readers"]["reader"]["operating_points"][0]["model_at_reader_specificity"] == {}
    assert metrics["comparison_joint"] is None
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["inputs"]["fold"] == "fold"


def test_a_patient_in_several_folds_is_told(cohort, tmp_path) -> None:
    _, columns = cohort
    torn = {**columns, "patient_id": np.array([f"p{k % 100}" for k in range(200)])}
    table = write_table(tmp_path / "torn.csv", torn)
    metrics = evaluate(table, tmp_path / "out", *OPTIONS, "--fold", "fold")
    assert any("100 patients have cases in several folds" in item["message"] for item in metrics["warnings"])


def test_an_empty_fold_is_named(cohort, tmp_path, capsys) -> None:
    _, columns = cohort
    lacking = {**columns, "fold": np.where(np.arange(200) == 3, "", columns["fold"])}
    table = write_table(tmp_path / "lacking.csv", lacking)
    assert main(["evaluate", "table", str(table), *OPTIONS, "--fold", "fold", "-o", str(tmp_path / "out")]) == 2
    assert "column of folds 'fold' is empty in line 5" in capsys.readouterr().err
