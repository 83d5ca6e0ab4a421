"""What a single figure needs to be reported everywhere: a line in `MEASURES`."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from dsmt_nnunet.evaluation import measures
from dsmt_nnunet.evaluation.files import read_metrics
from dsmt_nnunet.evaluation.measures import MEASURES, Measure
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.report.folder import read_evaluation
from dsmt_nnunet.report.panel import panels_of
from dsmt_nnunet.report.tables import metric_tables
from dsmt_nnunet.statistics.resampled_t import corrected_resampled_t
from dsmt_nnunet.statistics.resampling import weighted_auc
from dsmt_nnunet.statistics.roc.fixed_specificity import sensitivity_at_specificity
from tests.unit.evaluation.tables import evaluate, write_table
from tests.unit.statistics.clustered_data import MadeCases, made_cases

OPTIONS = EvaluationSettings(n_resamples=200)


@pytest.fixture
def data() -> MadeCases:
    return made_cases(30, 3, 2)


def table_of(data: MadeCases, folds: np.ndarray | None = None) -> ScoreTable:
    names = tuple(str(index) for index in range(len(data.y_true)))
    patients = tuple(str(code) for code in data.patients)
    return ScoreTable(names, data.y_true, {"score": data.scores[0]}, clusters=patients, folds=folds)


def test_a_line_in_the_list_is_all_that_a_new_figure_needs(data, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(measures, "MEASURES", (*MEASURES, Measure("area so far unknown", weighted_auc)))
    columns = {"truth": data.y_true.astype(int), "score": data.scores[0], "patient_id": data.patients}
    out = tmp_path / "out"
    evaluate(write_table(tmp_path / "table.csv", columns), out, "--truth", "truth", "--score", "score")
    score = read_metrics(out).scores["score"]
    added = score.estimate("area so far unknown")
    assert added.value == pytest.approx(score.auc)
    assert (
        f"  area so far unknown {added.value:.3f} ({added.ci[0]:.3f} to {added.ci[1]:.3f})" in capsys.readouterr().out
    )
    (panel,) = panels_of(read_evaluation(out))
    rows = dict(metric_tables(panel, "95%")[0].rows)
    assert rows["Area so far unknown"] == f"{added.value:.3f} ({added.ci[0]:.3f} to {added.ci[1]:.3f})"


def test_patients_are_left_out_one_after_the_other(data) -> None:
    found = Measure("area", weighted_auc).estimate(table_of(data), data.scores[0], OPTIONS)
    kept = [data.patients != patient for patient in range(30)]
    each = np.array([roc_auc_score(data.y_true[chosen], data.scores[0][chosen]) for chosen in kept])
    u = each - each.mean()
    df = min(3 * (u**2).sum() ** 2 / (u**4).sum(), 29)
    odds = np.log(found.value / (1 - found.value))
    half = t.ppf(0.975, df) * np.sqrt(29 / 30 * (u**2).sum()) / (found.value * (1 - found.value))
    assert found.ci == pytest.approx(tuple(1 / (1 + np.exp(-(odds + sign * half))) for sign in (-1, 1)))


def test_folds_are_measured_each_on_its_own(data) -> None:
    folds = data.patients % 3
    found = Measure("area", weighted_auc).estimate(table_of(data, folds), data.scores[0] + 100 * folds, OPTIONS)
    each = [
        float(weighted_auc(data.y_true[chosen], data.scores[0][chosen], np.ones((1, chosen.sum()), dtype=int))[0])
        for chosen in (folds == k for k in range(3))
    ]
    assert found.value == pytest.approx(np.mean(each))
    assert found.method == "corrected-resampled-t-logit"
    half = 4.302652729749464 * corrected_resampled_t(each, 0.5).se / (found.value * (1 - found.value))
    assert found.ci[1] == pytest.approx(1 / (1 + np.exp(-np.log(found.value / (1 - found.value)) - half)))


def test_the_cut_of_a_fixed_specificity_counts_as_chosen(data) -> None:
    fixed = MEASURES[1].estimate(table_of(data), data.scores[0], OPTIONS)
    expected = sensitivity_at_specificity(data.y_true, data.scores[0], 0.9, data.patients, n_resamples=200)
    assert (fixed.value, fixed.ci, fixed.method) == (expected.sensitivity, expected.ci, "zhou-qin-btii-t")
    without = MEASURES[1].estimate(table_of(data), data.scores[0], EvaluationSettings(n_resamples=0))
    assert (without.value, without.method) == (expected.sensitivity, "undefined")
