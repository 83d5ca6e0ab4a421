from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from dsmt_nnunet.evaluation.families import adjusted_comparisons, adjusted_tasks
from dsmt_nnunet.evaluation.group_bands import GroupColumn
from dsmt_nnunet.evaluation.patients import PATIENT_COLUMN
from dsmt_nnunet.evaluation.reader_study import RatingColumns, evaluate_reader_study_file
from dsmt_nnunet.evaluation.records.comparisons import PairedComparison, UnpairedComparison
from dsmt_nnunet.evaluation.records.metrics import TableMetrics
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.table_file import TableColumns, evaluate_table_file


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> TableMetrics:
    """Three scores, three readers of whom one decides, two group columns."""
    tmp_path = tmp_path_factory.mktemp("families")
    rng = np.random.default_rng(0)
    truth = np.arange(90) % 2
    columns = {"truth": truth} | {name: (rng.normal(size=90) + truth).round(2) for name in ("a", "b", "c")}
    columns |= {name: np.round(rng.normal(size=90) + truth) for name in ("first", "second")}
    columns |= {"third": rng.integers(0, 2, 90), "site": rng.integers(0, 3, 90), "sex": rng.integers(0, 2, 90)}
    with (tmp_path / "table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([list(columns), *zip(*columns.values(), strict=True)])
    named = TableColumns(
        "truth",
        ("a", "b", "c"),
        readers=("first", "second", "third"),
        groups=(GroupColumn("site"), GroupColumn("sex")),
        thresholds=dict.fromkeys(("a", "b", "c"), (0.5,)),
    )
    return evaluate_table_file(tmp_path / "table.csv", named, tmp_path / "out", EvaluationSettings(n_resamples=0))


def test_one_family_a_question_over_all_its_tests(metrics: TableMetrics) -> None:
    sizes = {item.name: item.n_tests for item in metrics.multiplicity}
    assert sizes == {
        "scores": 3,
        "decisions of scores": 9,
        "levels": 3 * (3 + 1),
        "interactions": (3 + 3) * 2,
        "readers": 3 * 2,
        "decisions of readers": 3 * 3,
        "readers together": 3,
    }
    paired = [item for item in metrics.comparisons if isinstance(item, PairedComparison)]
    levels = [item for item in metrics.comparisons if isinstance(item, UnpairedComparison)]
    decided = [test for item in paired if item.decisions for _, test in item.decisions.tests]
    read = [found.auc for reader in metrics.readers.values() for found in reader.against.values() if found.auc]
    together = metrics.multi_reader.model_minus_readers.values()
    for tests in (paired, levels, metrics.interactions, decided, read, together):
        expected = multipletests([item.p_value for item in tests], method="holm")[1]
        assert [item.p_value_holm for item in tests] == pytest.approx(expected)
    sentence = next(item.sentence for item in metrics.multiplicity if item.name == "levels")
    assert sentence == "p values adjusted by Holm over 12 tests: AUCs between levels of groups."


def test_tasks_are_adjusted_together(metrics: TableMetrics) -> None:
    both, families = adjusted_comparisons({"one": metrics, "other": metrics})
    raw = [item.p_value for item in metrics.comparisons if isinstance(item, UnpairedComparison)]
    found = [item.p_value_holm for item in both["other"].comparisons if isinstance(item, UnpairedComparison)]
    assert found == pytest.approx(multipletests(raw * 2, method="holm")[1][len(raw) :])
    assert "24 tests: AUCs between levels of groups, over 2 tasks" in [
        item.sentence.removeprefix("p values adjusted by Holm over ").removesuffix(".") for item in families
    ]
    assert adjusted_tasks({"one": metrics, "several": "a task without comparisons"})[0]["several"]


def test_differences_of_a_reader_study_are_one_family_a_design(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [
        (reader, modality, case, f"p{case // 2}", case % 2, round(float(rng.normal() + case % 2), 2))
        for reader in "AB"
        for modality in ("CT", "model", "both")
        for case in range(24)
    ]
    header = ("reader", "modality", "case", PATIENT_COLUMN, "truth", "rating")
    with (tmp_path / "ratings.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    columns = RatingColumns("reader", "modality", "case", "truth", "rating")
    found = evaluate_reader_study_file(tmp_path / "ratings.csv", columns, tmp_path, EvaluationSettings(), cut=0.5)
    assert found.inputs.cluster == PATIENT_COLUMN
    differences = [item for merit in found.merits.values() for item in merit.fixed_readers.differences]
    expected = multipletests([item.p_value for item in differences], method="holm")[1]
    assert [item.p_value_holm for item in differences] == pytest.approx(expected)
    assert {item.name: item.n_tests for item in found.multiplicity}["random readers and cases"] == 9
    for mean in found.merits["sensitivity"].quoted.means:
        assert 0 < mean.ci[0] < mean.estimate < mean.ci[1] < 1
    assert "SmallSampleWarning" in {item.name for item in found.warnings}
    alone = evaluate_reader_study_file(
        tmp_path / "ratings.csv",
        RatingColumns("reader", "modality", "case", "truth", "rating", independent=True),
        tmp_path,
        EvaluationSettings(),
    )
    assert alone.inputs.cluster is None
    assert alone.merits["auc"].by_reader[0].se != found.merits["auc"].by_reader[0].se
