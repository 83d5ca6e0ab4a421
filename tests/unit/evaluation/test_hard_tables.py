from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.evaluation.predicted import read_truth
from dsmt_nnunet.nodules import NoduleTable
from tests.unit.evaluation.cohort import SCHEMA, nodule
from tests.unit.evaluation.tables import evaluate, names, write_table


def hard(tmp_path: Path, truth: list[object], score: list[object], *options: str) -> dict:
    table = write_table(tmp_path / "hard.csv", {"truth": truth, "score": score})
    return evaluate(table, tmp_path / "hard", "--truth", "truth", "--score", "score", *options)


def test_one_class_is_null_with_a_named_warning(tmp_path) -> None:
    metrics = hard(tmp_path, [1] * 12, list(np.linspace(0.1, 0.9, 12)))
    block = metrics["scores"]["score"]
    assert (block["auc"], block["auc_ci"]) == (None, [None, None])
    for item in block["estimates"]:
        assert (item["value"], item["ci"], item["method"]) == (None, [None, None], "undefined"), item["name"]
    assert block["operating_points"][0]["specificity"] is None
    assert block["operating_points"][0]["sensitivity"] == 0.5
    assert "OneClassWarning" in names(metrics)


def test_perfect_separation_and_its_inversion(tmp_path) -> None:
    truth = [0] * 10 + [1] * 10
    block = (metrics := hard(tmp_path, truth, list(np.linspace(0.1, 0.9, 20))))["scores"]["score"]
    assert (block["auc"], block["auc_method"]) == (1.0, "newcombe-method-5")
    assert block["auc_ci"] == pytest.approx([0.8002, 1.0], abs=1e-4)
    assert (block["estimates"][0]["value"], block["estimates"][0]["ci"]) == (1.0, [None, None])
    assert {"ZeroVarianceWarning", "SeparationWarning"} <= names(metrics)
    inverted = hard(tmp_path, truth, list(np.linspace(0.9, 0.1, 20)))["scores"]["score"]
    assert inverted["auc"] == 0.0


def test_identical_scores_and_few_cases(tmp_path) -> None:
    metrics = hard(tmp_path, [0, 1, 0, 1, 1], [0.5] * 5)
    assert metrics["scores"]["score"]["auc"] == 0.5
    assert {"SmallSampleWarning", "ZeroVarianceWarning"} <= names(metrics)
    assert metrics["scores"]["score"]["operating_points"][0]["npv"] is None


def test_one_positive_case_has_an_auc_without_an_interval(tmp_path) -> None:
    metrics = hard(tmp_path, [1] + [0] * 14, list(np.linspace(0.9, 0.1, 15)))
    assert metrics["scores"]["score"]["auc"] == 1.0
    assert metrics["scores"]["score"]["auc_ci"] == [None, None]
    for item in metrics["scores"]["score"]["estimates"]:
        assert (item["value"], item["ci"]) == (1.0, [None, None]), item["name"]
    assert "OneCaseInClassWarning" in names(metrics)


def test_rows_without_truth_are_left_out_and_counted(tmp_path) -> None:
    metrics = hard(tmp_path, [0, 1, "", 0, 1, 0, 1, 0, 1, 0, 1, ""], list(np.linspace(0.1, 0.9, 12)))
    assert metrics["n"] == 10
    assert any("2 rows have no truth" in item["message"] for item in metrics["warnings"])


@pytest.mark.parametrize(
    ("truth", "score", "options", "message"),
    [
        ([0, 1, 1], [0.1, "", "nan"], (), "lines 3, 4"),
        ([0, 1, 1], ["1,234", 0.2, 0.3], (), "1,234"),
        ([0, 1, 1], ["1_2", 0.2, 0.3], (), "line 2"),
        ([0, 1, 1], ["\uff11", 0.2, 0.3], (), "line 2"),
        (["a", "b", "a"], [0.1, 0.2, 0.3], (), "--positive"),
        (["a", "b", "c"], [0.1, 0.2, 0.3], ("--positive", "a"), "two class names"),
        (["a", "b", "a"], [0.1, 0.2, 0.3], ("--positive", "x"), "two class names"),
        ([0, 1, 2], [0.1, 0.2, 0.3], (), "must be 0 or 1"),
        (["", "", ""], [0.1, 0.2, 0.3], (), "no row has a value"),
        ([0, 1, 1], [0.1, 0.2, 0.3], ("--score", "scroe"), "no column ['scroe']"),
        ([0, 1, 1], [0.1, 0.2, 0.3], ("--reader", "score"), "more than once"),
        ([0, 1, 1], [0.1, 0.2, 0.3], ("--threshold", "scroe=1"), "'scroe' is none"),
        ([0, 1, 1], [0.1, 0.2, 0.3], ("--threshold", "score=high"), "finite number"),
        ([0, 1, 1], [0.1, 0.2, 0.3], ("--bootstrap", "3"), "100 resamples"),
        ([0, 1, 1], [0.1, 0.2, 0.3], ("--confidence", "95"), "confidence level"),
        ([0, 1, 1], [0.1, 0.2, 0.3], ("--group", "score=3,2"), "must rise"),
        ([0, 1, 1], [0.1, 0.2, 0.3], ("--prevalence", "5"), "--prevalence lies strictly between 0 and 1"),
        ([0, 1, 1], [0.1, 0.2, 0.3], ("--confidence", "0.99", "--bootstrap", "150"), "at least 200 resamples"),
    ],
)
def test_bad_input_ends_in_one_clear_message(tmp_path, capsys, truth, score, options, message) -> None:
    table = write_table(tmp_path / "bad.csv", {"truth": truth, "score": score})
    arguments = ["evaluate", "table", str(table), "--truth", "truth", "--score", "score", "-o", str(tmp_path / "out")]
    assert main([*arguments, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_positives_of_a_single_patient_have_no_interval(tmp_path) -> None:
    rng = np.random.default_rng(0)
    columns = {"truth": [1] * 5 + [0] * 15, "score": rng.random(20).round(3), "patient": ["p"] * 5 + list(range(15))}
    table = write_table(tmp_path / "one.csv", columns)
    metrics = evaluate(table, tmp_path / "out", "--truth", "truth", "--score", "score", "--cluster", "patient")
    assert metrics["scores"]["score"]["auc_ci"] == [None, None]
    assert "OneCaseInClassWarning" in names(metrics)


def test_a_score_is_no_probability_in_a_subgroup_either(tmp_path) -> None:
    rng = np.random.default_rng(0)
    columns = {
        "truth": [0, 1] * 20,
        "score": np.r_[rng.random(20), 5 * rng.random(20)],
        "site": ["A"] * 20 + ["B"] * 20,
    }
    table = write_table(tmp_path / "sites.csv", columns)
    metrics = evaluate(table, tmp_path / "out", "--truth", "truth", "--score", "score", "--group", "site")
    assert metrics["subgroups"]["site"]["A"]["scores"]["score"]["brier"] is None
    assert [item["where"] for item in metrics["warnings"] if item["name"] == "NotAProbabilityWarning"] == ["score"]


def test_decimal_commas_are_decimal_commas(tmp_path) -> None:
    truth = [0, 1] * 10
    points = [round(0.03 * n + 0.1 * label, 3) for n, label in enumerate(truth)]
    commas = [str(value).replace(".", ",") for value in points]
    assert hard(tmp_path, truth, points)["scores"] == hard(tmp_path, truth, commas)["scores"]


@pytest.mark.parametrize(
    ("cases", "options", "message"),
    [
        (["a", "b", "a"], ("--case", "case_id"), "line 4 is case 'a' (--case case_id), as is line 2"),
        (["a", "", "b"], ("--case", "case_id"), "line 3: the name of the case"),
        (["a", "b", "a"], (), "line 4 repeats line 2"),
    ],
)
def test_no_case_counts_twice(tmp_path, capsys, cases, options, message) -> None:
    table = write_table(tmp_path / "twice.csv", {"case_id": cases, "truth": [0, 1, 0], "score": [0.1, 0.7, 0.1]})
    arguments = ["evaluate", "table", str(table), "--truth", "truth", "--score", "score", "-o", str(tmp_path / "out")]
    assert main([*arguments, *options]) == 2
    assert message in capsys.readouterr().err


def test_nodules_of_one_case_are_no_copies_and_not_independent(tmp_path) -> None:
    columns = {"Case ID": ["a", "a", "b", "b"], "truth": [0, 1, 0, 1], "score": [0.1, 0.7, 0.2, 0.3]}
    table = write_table(tmp_path / "nodules.csv", columns)
    metrics = evaluate(table, tmp_path / "out", "--truth", "truth", "--score", "score")
    assert metrics["n"] == 4
    (told,) = [item["message"] for item in metrics["warnings"] if item["name"] == "ClusteredDataWarning"]
    assert "4 rows of 2 cases ('Case ID') are taken as independent" in told
    clustered = evaluate(table, tmp_path / "o", "--truth", "truth", "--score", "score", "--cluster", "Case ID")
    assert "ClusteredDataWarning" not in names(clustered)


def test_a_nodule_with_two_labels_counts_twice(tmp_path, capsys) -> None:
    columns = {"case_id": ["a", "a"], "Nodule_ID": ["1", "1"], "truth": [0, 1], "score": [0.1, 0.7]}
    table = write_table(tmp_path / "nodules.csv", columns)
    options = ["--truth", "truth", "--score", "score", "-o", str(tmp_path / "out")]
    assert main(["evaluate", "table", str(table), *options]) == 2
    assert "line 3 is nodule '1' of 'a', as is line 2" in capsys.readouterr().err


@pytest.mark.parametrize("header", ["Patient_ID", "patient id", "PATIENT-ID"])
def test_patients_are_the_unit_however_their_column_is_spelt(tmp_path, header) -> None:
    rng = np.random.default_rng(0)
    columns = {header: [f"P{k // 4}" for k in range(40)], "truth": [0, 1] * 20, "score": rng.random(40).round(3)}
    table = write_table(tmp_path / "t.csv", columns)
    metrics = evaluate(table, tmp_path / "out", "--truth", "truth", "--score", "score")
    assert metrics["inputs"]["cluster"] == header
    assert "of 10 patients, who are the unit" in metrics["scores"]["score"]["auc_sentence"]


@pytest.mark.parametrize(
    ("column", "cells", "options", "message"),
    [
        ("truth", ["IAC", "iac"] * 6, ("--positive", "IAC"), "'iac'"),
        ("truth", ["yes", "no"] * 6, ("--positive", "Yes"), "two class names"),
        ("truth", ["no"] * 12, ("--positive", "No"), "'no', 'No'"),
        ("Fold", [0, 1] * 6, (), "a column 'Fold' with the values ['0', '1']"),
        ("fold", ["0", "0.0", "1"] * 4, ("--fold", "fold"), "'0', '0.0'"),
        ("sex", ["M", "m", "F"] * 4, ("--group", "sex"), "'M', 'm'"),
    ],
)
def test_one_name_in_two_spellings_is_refused(tmp_path, capsys, column, cells, options, message) -> None:
    columns = {"truth": [0, 1] * 6, "score": list(np.linspace(0.1, 0.9, 12))} | {column: cells}
    table = write_table(tmp_path / "t.csv", columns)
    arguments = ["evaluate", "table", str(table), "--truth", "truth", "--score", "score", *options]
    assert main([*arguments, "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_table_is_not_overwritten(tmp_path, capsys) -> None:
    table = tmp_path / "scores.csv"
    table.write_text("truth,score\n" + "0,0.2\n1,0.7\n" * 6)
    before = table.read_text()
    assert main(["evaluate", "table", str(table), "--truth", "truth", "--score", "score", "-o", str(tmp_path)]) == 2
    assert "would overwrite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]
    assert table.read_text() == before


@pytest.mark.parametrize("name", ["unknown", "N/A", "#REF!"])
def test_cases_of_nobody_are_not_of_one_patient(tmp_path, capsys, name) -> None:
    patients = [name] * 4 + [f"P{number}" for number in range(8)]
    columns = {"patient_id": patients, "truth": [0, 1] * 6, "score": list(np.linspace(0.1, 0.9, 12))}
    table = write_table(tmp_path / "t.csv", columns)
    options = ["--truth", "truth", "--score", "score"]
    assert main(["evaluate", "table", str(table), *options, "-o", str(tmp_path / "out")]) == 2
    assert f"'{name}' in column 'patient_id' names nobody, and 4 such cases" in capsys.readouterr().err
    assert evaluate(table, tmp_path / "out", *options, "--cluster", "none")["n"] == 12


@pytest.mark.parametrize(
    ("cases", "patients", "told"), [("aa", ("P1", "P2"), "in another"), ("ab", ("unknown", "unknown"), "is 'unknown'")]
)
def test_a_case_of_the_truth_is_of_one_patient_who_is_somebody(tmp_path, cases, patients, told) -> None:
    labels = dict.fromkeys(SCHEMA.task_names)
    rows = [nodule(cases[k], k, labels, patient_id=patients[k]) for k in (0, 1)]
    NoduleTable(tuple(rows)).write(tmp_path / "nodules.csv", SCHEMA)
    with pytest.raises(ValueError, match=told):
        read_truth(tmp_path / "nodules.csv", SCHEMA)
