from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.statistics.decisions.metrics import METRIC_NAMES
from dsmt_nnunet.statistics.roc.clustered import clustered_auc_interval
from tests.unit.evaluation.cohort import rows_of
from tests.unit.evaluation.tables import evaluate, names, strict, write_table


@pytest.fixture
def cohort(tmp_path) -> tuple[Path, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    y_true = np.arange(120) % 2
    strength = rng.normal(size=120) + 1.2 * y_true
    columns = {
        "case": [f"c{k}" for k in range(120)],
        "patient": [f"p{k // 3}" for k in range(120)],
        "truth": np.where(y_true == 1, "invasive", "benign"),
        "model": np.round(1 / (1 + np.exp(-strength)), 3),
        "other": np.round(strength + rng.normal(size=120), 2),
        "size": np.round(rng.uniform(5, 20, 120), 1),
        "site": np.array(["A", "B", ""])[np.arange(120) % 3],
        "reader_1": (strength + rng.normal(size=120) > 0.5).astype(int),
        "reader_2": np.clip(np.round(strength + rng.normal(size=120)), -2, 3).astype(int),
        "reader_3": np.clip(np.round(strength + rng.normal(size=120)), -2, 3).astype(int),
    }
    return write_table(tmp_path / "table.csv", columns), columns


FULL = ("--truth", "truth", "--positive", "invasive", "--score", "model", "--score", "other")


def test_every_part_of_a_full_evaluation(cohort, tmp_path) -> None:
    table, columns = cohort
    options = ["--threshold", "model=0.5", "--threshold", "model=0.3", "--threshold", "other=0.4", "--case", "case"]
    options += ["--reader", "reader_1", "--reader", "reader_2", "--reader", "reader_3"]
    metrics = evaluate(table, tmp_path / "out", *FULL, *options, "--group", "site", "--group", "size=10,15")
    model = metrics["scores"]["model"]
    assert (metrics["schema_version"], metrics["kind"], model["n"], model["n_positive"]) == (7, "table", 120, 60)
    for key in ("auc", "brier", "ece", "calibration_slope", "calibration_intercept"):
        assert isinstance(model[key], float), key
    for key in ("auc", "brier"):
        assert model[f"{key}_ci"][0] < model[key] < model[f"{key}_ci"][1], key
    for item in model["estimates"]:
        assert item["ci"][0] < item["value"] < item["ci"][1], item
    limits = [f"{limit:.3f}" for limit in (model["auc"], *model["auc_ci"])]
    assert model["auc_sentence"].startswith(f"AUC {limits[0]} (95% interval {limits[1]} to {limits[2]})")
    assert [point["threshold"] for point in model["operating_points"]] == [0.5, 0.3]
    for point in model["operating_points"]:
        for key in ("sensitivity", "specificity", "ppv", "npv", "f1", "accuracy"):
            assert point[f"{key}_ci"][0] < point[key] < point[f"{key}_ci"][1], key
        assert point["threshold_chosen_on_reported_data"] is False
    truth = np.asarray(columns["truth"]) == "invasive"
    assert model["operating_points"][1]["tp"] == int((truth & (columns["model"] >= 0.3)).sum())
    assert len(metrics["decision_curve"]["model"]["net_benefit_model"]) == 99
    assert metrics["decision_curve"]["other"] is None
    assert set(metrics["subgroups"]["site"]) == {"A", "B", "(unknown)"}
    assert list(metrics["subgroups"]["size"]) == ["< 10", "10 to < 15", ">= 15"]
    assert sum(level["n"] for level in metrics["subgroups"]["size"].values()) == 120
    rows = rows_of(tmp_path / "out" / "scores.csv")
    assert rows[3]["case"] == "c3"
    assert (rows[3]["truth"], rows[3]["model_decision"]) == ("1", str(int(columns["model"][3] >= 0.5)))


def test_what_is_compared_is_printed_with_its_interval_and_over_what_it_is_adjusted(cohort, tmp_path, capsys) -> None:
    table, _ = cohort
    options = ["--reader", "reader_1", "--reader", "reader_2", "--reader", "reader_3", "--group", "site"]
    metrics = evaluate(table, tmp_path / "out", *FULL, *options, "--threshold", "model=0.5", "--margin", "0.1")
    printed = capsys.readouterr().out
    tests = {" - ".join(item.get("scores") or item["levels"]): item for item in metrics["comparisons"]}
    tests |= {"model - reader_2": metrics["readers"]["reader_2"]["against"]["model"]["auc"]}
    for title, item in tests.items():
        limits = f"{item['auc_difference']:.3f} ({item['ci'][0]:.3f} to {item['ci'][1]:.3f})"
        assert f"{title}: AUC difference {limits}, p " in printed, title
    assert "model - reader_1: accuracy difference" in printed
    assert "model - mean of 2 readers: AUC difference" in printed
    assert "AUC of model - other at all levels of site: p " in printed
    assert printed.count("not worse by more than 0.1: ") == 7
    for family in metrics["multiplicity"]:
        assert (family["sentence"] in printed) == (family["n_tests"] > 1)


def test_comparisons_paired_unpaired_and_mcnemar(cohort, tmp_path) -> None:
    table, _ = cohort
    options = ["--threshold", "model=0.5", "--threshold", "other=0.4", "--group", "site"]
    metrics = evaluate(table, tmp_path / "out", *FULL, *options)
    paired = [item for item in metrics["comparisons"] if item["kind"] == "paired"]
    assert [item["scores"] for item in paired] == [["model", "other"]]
    block = paired[0]
    assert block["test"] == "paired DeLong"
    scores = metrics["scores"]
    assert block["auc_difference"] == pytest.approx(scores["model"]["auc"] - scores["other"]["auc"])
    accuracy, sensitivity = block["decisions"]["accuracy"], block["decisions"]["sensitivity"]
    points = [scores[name]["operating_points"][0] for name in ("model", "other")]
    assert accuracy["difference"] == pytest.approx(points[0]["accuracy"] - points[1]["accuracy"])
    assert (accuracy["n"], sensitivity["n"]) == (120, 60)
    assert sensitivity["only_first_right"] <= accuracy["only_first_right"]
    unpaired = [item for item in metrics["comparisons"] if item["kind"] == "unpaired"]
    assert [(item["score"], item["levels"]) for item in unpaired] == [("model", ["A", "B"]), ("other", ["A", "B"])]


def test_readers_against_the_model(cohort, tmp_path) -> None:
    table, columns = cohort
    options = ["--reader", "reader_1", "--reader", "reader_2", "--reader", "reader_3", "--threshold", "reader_3=1"]
    metrics = evaluate(table, tmp_path / "out", *FULL, *options)
    first, second, third = (metrics["readers"][f"reader_{k}"] for k in (1, 2, 3))
    truth = np.asarray(columns["truth"]) == "invasive"
    assert first["kind"] == "binary"
    point = first["operating_points"][0]
    assert point["sensitivity"] == pytest.approx(columns["reader_1"][truth].mean())
    model_point = point["model_at_reader_specificity"]["model"]
    assert model_point["specificity"] >= point["specificity"] - 1e-12
    cut = model_point["threshold"]
    assert model_point["sensitivity"] == pytest.approx((columns["model"][truth] >= cut).mean())
    for other in np.unique(columns["model"]):
        specificity, sensitivity = (
            (columns["model"][~truth] < other).mean(),
            (columns["model"][truth] >= other).mean(),
        )
        better = (sensitivity, specificity) > (model_point["sensitivity"], model_point["specificity"])
        assert not (specificity >= point["specificity"] and better), "no threshold dominates it"
    assert model_point["sensitivity_ci"][0] < model_point["sensitivity"] < model_point["sensitivity_ci"][1]
    assert cut > 0
    assert first["against"]["model"]["decisions"]["accuracy"]["n"] == 120
    assert (second["kind"], len(second["operating_points"]), "decisions" in second["against"]["model"]) == (
        "ordinal",
        5,
        False,
    )
    assert len(third["operating_points"]) == 1
    assert "decisions" in third["against"]["model"]
    assert second["against"]["model"]["auc"]["test"] == "paired DeLong"
    several = metrics["multi_reader"]
    assert several["readers"] == ["reader_2", "reader_3"]
    assert several["mean_auc"] == pytest.approx((second["auc"] + third["auc"]) / 2)
    difference = several["model_minus_readers"]["model"]
    assert difference["difference"] == pytest.approx(metrics["scores"]["model"]["auc"] - several["mean_auc"])


def test_the_patient_is_the_unit_of_every_interval_and_test(cohort, tmp_path) -> None:
    table, columns = cohort
    options = [*FULL, "--threshold", "model=0.5", "--threshold", "other=0.4", "--group", "site", "--reader", "reader_1"]
    options += ["--reader", "reader_2", "--reader", "reader_3"]
    metrics = evaluate(table, tmp_path / "out", *options, "--cluster", "patient")
    alone = evaluate(table, tmp_path / "alone", *options)
    assert (metrics["clustered"], metrics["n_clusters"], metrics["inputs"]["cluster"]) == (True, 40, "patient")
    assert (alone["clustered"], alone["n_clusters"], alone["inputs"]["cluster"]) == (False, None, None)
    truth = np.asarray(columns["truth"]) == "invasive"
    interval = clustered_auc_interval(truth, columns["model"], columns["patient"])
    model = metrics["scores"]["model"]
    assert model["auc_ci"] == pytest.approx([interval.lower, interval.upper])
    assert "of 40 patients, who are the unit" in model["auc_sentence"]
    point, plain = (item["scores"]["model"]["operating_points"][0] for item in (metrics, alone))
    assert any(point[f"{name}_ci"] != plain[f"{name}_ci"] for name in METRIC_NAMES)
    assert model["brier_ci"] != alone["scores"]["model"]["brier_ci"]
    assert model["calibration_slope_ci"] != alone["scores"]["model"]["calibration_slope_ci"]
    pair = metrics["comparisons"][0]
    assert (pair["test"], pair["decisions"]["accuracy"]["test"]) == ("paired Obuchowski", "ratio over patients, t")
    assert pair["decisions"]["accuracy"]["n_clusters"] == 40
    levels = [item for item in metrics["comparisons"] if item["kind"] == "unpaired"]
    assert {item["test"] for item in levels} == {"unpaired Obuchowski (Welch t)"}
    assert metrics["readers"]["reader_2"]["auc_method"] == "obuchowski-logit-t"
    assert metrics["readers"]["reader_2"]["against"]["model"]["auc"]["test"] == "paired Obuchowski"
    assert "over patients" in metrics["multi_reader"]["method"]


def test_a_column_of_patients_is_taken_unless_it_is_not_to_be(tmp_path) -> None:
    rng = np.random.default_rng(0)
    columns = {"truth": [0, 1] * 20, "score": rng.random(40).round(3), "patient_id": [f"P{k // 4}" for k in range(40)]}
    columns["patient_id"][0] = "p0"
    table = write_table(tmp_path / "patients.csv", columns)
    options = ("--truth", "truth", "--score", "score")
    metrics = evaluate(table, tmp_path / "out", *options)
    assert (metrics["n_clusters"], metrics["inputs"]["cluster"]) == (10, "patient_id")
    assert any("'p0', 'P0' are taken for one patient" in item["message"] for item in metrics["warnings"])
    alone = evaluate(table, tmp_path / "alone", *options, "--cluster", "none")
    assert (alone["n_clusters"], alone["inputs"]["cluster"]) == (None, None)
    assert any("40 cases of 10 patients are taken as independent" in item["message"] for item in alone["warnings"])
    assert metrics["scores"]["score"]["auc_ci"] != alone["scores"]["score"]["auc_ci"]


def test_a_forced_threshold_says_so_in_words(cohort, tmp_path, capsys) -> None:
    table, _ = cohort
    metrics = evaluate(table, tmp_path / "out", *FULL, "--threshold-from", "youden")
    point = metrics["scores"]["other"]["operating_points"][0]
    assert point["threshold_chosen_on_reported_data"] is True
    assert "optimistic" in point["note"]
    model = metrics["scores"]["model"]["operating_points"][0]
    own, other = (item["sensitivity"] + item["specificity"] for item in (model, model["elsewhere"]))
    assert other < own
    assert "chosen on these cases; on others expect a sensitivity of" in capsys.readouterr().out
    assert "ThresholdWarning" in names(metrics)


def test_scores_without_a_stated_threshold(cohort, tmp_path) -> None:
    table, _ = cohort
    metrics = evaluate(table, tmp_path / "out", *FULL)
    assert metrics["scores"]["model"]["operating_points"][0]["threshold"] == 0.5
    assert metrics["scores"]["other"]["operating_points"] == []
    assert metrics["scores"]["other"]["brier"] is None
    assert {"ThresholdWarning", "NotAProbabilityWarning"} <= names(metrics)
    assert "decisions" not in metrics["comparisons"][0]


def test_a_stated_prevalence_changes_predictive_values_and_net_benefit(cohort, tmp_path, capsys) -> None:
    table, _ = cohort
    plain = evaluate(table, tmp_path / "a", *FULL)
    rare = evaluate(table, tmp_path / "b", *FULL, "--prevalence", "0.05")
    point, own = (item["scores"]["model"]["operating_points"][0] for item in (rare, plain))
    assert "at_prevalence" not in own
    sensitivity, false_positive = point["sensitivity"], 1 - point["specificity"]
    expected = 0.05 * sensitivity / (0.05 * sensitivity + 0.95 * false_positive)
    assert point["at_prevalence"]["ppv"] == pytest.approx(expected)
    assert point["ppv"] == own["ppv"] > 2 * expected
    curves = [item["decision_curve"]["model"] for item in (rare, plain)]
    assert [curve["prevalence"] for curve in curves] == [0.05, 0.5]
    assert curves[0]["net_benefit_all"][19] < 0 < curves[1]["net_benefit_all"][19]
    assert rare["settings"]["prevalence"] == 0.05
    assert "at a prevalence of 0.05: PPV" in capsys.readouterr().out


def test_a_margin_asks_for_non_inferiority_of_scores_and_to_readers(cohort, tmp_path, capsys) -> None:
    table, _ = cohort
    options = ["--reader", "reader_2", "--reader", "reader_3", "--cluster", "patient", "--margin", "0.05"]
    metrics = evaluate(table, tmp_path / "out", *FULL, *options)
    pair = metrics["comparisons"][0]
    assert pair["non_inferiority"]["lower"] == pytest.approx(pair["ci"][0])
    assert pair["non_inferiority"]["is_shown"] == (pair["ci"][0] > -0.05)
    against = metrics["readers"]["reader_2"]["against"]["model"]["auc"]
    assert against["non_inferiority"]["lower"] == pytest.approx(against["ci"][0])
    together = metrics["multi_reader"]["model_minus_readers"]["model"]
    assert together["non_inferiority"]["lower"] == pytest.approx(together["ci"][0])
    assert "not worse by more than 0.05" in capsys.readouterr().out
    assert "non_inferiority" not in evaluate(table, tmp_path / "without", *FULL)["comparisons"][0]


def test_calibration_tells_what_chance_gives(cohort, tmp_path) -> None:
    table, _ = cohort
    model = evaluate(table, tmp_path / "a", *FULL)["scores"]["model"]
    assert 0 < model["ece_if_calibrated"] < model["ece"]
    assert model["ece_debiased"] == pytest.approx(model["ece"] - model["ece_if_calibrated"])
    sure = write_table(tmp_path / "sure.csv", {"truth": [0, 1] * 10, "p": [0.0, 1.0, 0.3, 0.6] * 5})
    metrics = evaluate(sure, tmp_path / "b", "--truth", "truth", "--score", "p")
    assert metrics["scores"]["p"]["n_clipped"] == 10
    assert any("10 of 20 probabilities lie nearer to 0 or 1" in item["message"] for item in metrics["warnings"])


def test_clopper_pearson_and_other_levels_on_request(cohort, tmp_path) -> None:
    table, _ = cohort
    wilson = evaluate(table, tmp_path / "a", *FULL)
    exact = evaluate(table, tmp_path / "b", *FULL, "--ci", "clopper-pearson", "--confidence", "0.99")
    one, other = (item["scores"]["model"]["operating_points"][0]["accuracy_ci"] for item in (wilson, exact))
    assert other[0] < one[0] < one[1] < other[1]
    assert exact["settings"]["proportion_interval"] == "clopper-pearson"


def test_many_numbers_as_a_group_ask_for_bands(cohort, tmp_path, capsys) -> None:
    table, _ = cohort
    assert main(["evaluate", "table", str(table), *FULL, "--group", "size", "-o", str(tmp_path / "out")]) == 2
    assert "--group size=8,15" in capsys.readouterr().err


def test_asah_through_the_command_line(vectors, roc_vectors, table_vectors, tmp_path) -> None:
    options = ["--truth", "outcome", "--positive", "Poor", "--score", "wfns", "--score", "s100b", "--score", "ndka"]
    options += ["--threshold", "wfns=4", "--threshold", "s100b=0.22", "--group", "gender"]
    metrics = evaluate(vectors / "asah.csv", tmp_path / "out", *options)
    expected = roc_vectors["asah_auc"]["expected"]
    for name, block in metrics["scores"].items():
        assert block["auc"] == pytest.approx(expected[name]["auc"], abs=1e-10)
        assert block["auc_se"] == pytest.approx(expected[name]["se_delong"], abs=1e-10)
        # The normal limits, a little wider for t.
        lower, upper = expected[name]["ci95_logit_transformed"]
        assert lower - 0.005 < block["auc_ci"][0] < lower < upper < block["auc_ci"][1] < upper + 0.005
    block = metrics["comparisons"][0]
    reference = roc_vectors["asah_paired_delong"]["expected"]["wfns_vs_s100b"]
    assert (block["z"], block["p_value"]) == pytest.approx((reference["z"], reference["p_two_sided"]), rel=1e-8)
    for kind, found in block["decisions"].items():
        entry = table_vectors["mcnemar"]["expected"][f"asah_wfns4_vs_s100b022_{kind}"]
        assert found["only_first_right"] == entry["b_only_first_right"]
        assert found["only_second_right"] == entry["c_only_second_right"]
        assert found["p_value"] == pytest.approx(entry["p"], rel=1e-8)
        assert found["ci"] == pytest.approx(entry["ci95_tango_score"], abs=1e-6)
        assert found["mcnemar"]["p_exact"] == pytest.approx(entry["p_exact"], rel=1e-9)
    unpaired = next(item for item in metrics["comparisons"] if item["kind"] == "unpaired" and item["score"] == "wfns")
    reference = roc_vectors["asah_unpaired_by_gender"]["expected"]["wfns"]
    assert unpaired["p_value"] == pytest.approx(reference["p_two_sided_t"], abs=1e-9)
    assert metrics["comparison_joint"]["df"] == 2


def test_reader_study_through_the_command_line(vectors, tmp_path, capsys) -> None:
    options = ["--modality-column", "treatment", "--cut", "3", "-o", str(tmp_path / "out")]
    assert main(["evaluate", "readers", str(vectors / "franken.csv"), *options]) == 0
    metrics = strict(tmp_path / "out" / "metrics.json")
    random = metrics["merits"]["auc"]["random readers and cases"]
    assert random["equality"]["statistic"] == pytest.approx(4.69405772495711, rel=1e-8)
    assert random["differences"][0]["p_value"] == pytest.approx(0.118837857481066, rel=1e-8)
    sensitivity = metrics["merits"]["sensitivity"]["random readers and cases"]
    assert sensitivity["equality"]["p_value"] == pytest.approx(0.716985981311268, rel=1e-7)
    assert "auc, 1 - 2: 0.011" in capsys.readouterr().out
