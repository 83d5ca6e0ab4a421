from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.diameter_range import DiameterRange
from dsmt_nnunet.environment import FOLDERS
from dsmt_nnunet.nodules import EmptyCase, NoduleTable
from dsmt_nnunet.predictions.operating_point import OperatingPoint
from dsmt_nnunet.statistics.calibration.scaling import apply_temperature
from dsmt_nnunet.statistics.roc.delong import auc_score
from tests.unit.evaluation.cohort import SCHEMA, found, make_truth, rows_of, write_prediction

DATASET, MODEL = "Dataset501_Nodules", "DSMTTrainer__nnUNetPlans__3d_fullres"
TEMPERATURE = 2.0
"""How overconfident the made-up model is."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nnU-Net's folders with a model of three folds whose log-odds are twice too large."""
    base = tmp_path_factory.mktemp("trained")
    for name in FOLDERS:
        (base / name / DATASET).mkdir(parents=True)
    truth, log_odds = make_truth(150)
    truth.write(base / "nnUNet_raw" / DATASET / "nodules.csv", SCHEMA)
    folder = base / "nnUNet_results" / DATASET / MODEL
    write_folds(folder, truth.nodules, 1 / (1 + np.exp(-TEMPERATURE * log_odds)), {})
    return base


def copied(trained: Path, folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """The model's folder in a copy of all, which the environment names."""
    for name in FOLDERS:
        shutil.copytree(trained / name, folder / name)
        patch.setenv(name, str(folder / name))
    return folder / "nnUNet_results" / DATASET / MODEL


@pytest.fixture
def model(trained, tmp_path, monkeypatch) -> Path:
    """The model's folder, to be changed."""
    return copied(trained, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def reported(trained, tmp_path_factory) -> tuple[Path, Path, dict]:
    """The model's folder after a cross-validation, what that wrote, and its metrics; to be read only."""
    base = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        own = copied(trained, base, patch)
        return own, base / "out", crossval(base / "out")


def write_folds(folder: Path, nodules, probs, model: dict) -> None:
    for number, (item, prob) in enumerate(zip(nodules, probs, strict=True)):
        validation = folder / f"fold_{number % 3}" / "validation"
        write_prediction(validation, item.case_id, [found(item, float(prob))], model)
        (validation / "summary.json").write_text("{}")


def crossval(out: Path, *options: str) -> dict:
    arguments = ["evaluate", "crossval", "-d", "501", "-c", "3d_fullres", "-tr", "DSMTTrainer", "-o", str(out)]
    assert main([*arguments, "--bootstrap", "200", *options]) == 0
    return json.loads((out / "metrics.json").read_text(), parse_constant=lambda name: pytest.fail(name))


def arrays(out: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = rows_of(out / "joined.csv")
    return (
        np.array([row["invasiveness_truth"] == "invasive" for row in rows]),
        np.array([float(row["invasiveness_prob"]) for row in rows]),
        np.array([int(row["fold"]) for row in rows]),
    )


def test_the_mean_over_folds_is_quoted_in_one_sentence(reported) -> None:
    _, out, metrics = reported
    task = metrics["tasks"]["invasiveness"]
    y_true, probs, folds = arrays(out)
    each = [auc_score(y_true[folds == fold], probs[folds == fold]) for fold in range(3)]
    assert [item["auc"] for item in task["folds"]] == pytest.approx(each)
    assert task["auc"] == pytest.approx(np.mean(each))
    assert task["auc_pooled"] == pytest.approx(auc_score(y_true, probs))
    assert task["auc_ci"][0] < task["auc"] < task["auc_ci"][1]
    assert task["auc_ci_these_models"][0] < task["auc"] < task["auc_ci_these_models"][1]
    limits = [f"{limit:.3f}" for limit in (task["auc"], *task["auc_ci"])]
    assert f"Mean AUC over 3 folds {limits[0]} (95% interval {limits[1]} to {limits[2]})" in task["auc_sentence"]
    assert "pooled AUC is not to be quoted" in task["auc_sentence"]


def test_operating_point_is_written_without_patients(reported) -> None:
    model, out, metrics = reported
    text = (model / "operating_point.json").read_text()
    assert "case_" not in text
    assert "P1" not in text
    point = OperatingPoint.read(model)
    assert point.temperature("invasiveness") == pytest.approx(TEMPERATURE, abs=0.5)
    y_true, probs, _ = arrays(out)
    calibrated = point.calibrate("invasiveness", np.stack([1 - probs, probs], axis=1))[:, 1]
    gains = [(calibrated[y_true] >= cut).mean() + (calibrated[~y_true] < cut).mean() for cut in np.unique(calibrated)]
    called = calibrated >= point.threshold("invasiveness")
    assert called[y_true].mean() + (~called[~y_true]).mean() == pytest.approx(max(gains))
    assert point.chosen_on == {"folds": [0, 1, 2], "n": 150, "n_positive": int(y_true.sum())}
    assert point.tasks["texture"].threshold is None
    assert metrics["tasks"]["invasiveness"]["chosen_operating_point"]["method"] == "youden"


def test_metrics_are_of_thresholds_chosen_on_other_folds(reported) -> None:
    _, out, metrics = reported
    task = metrics["tasks"]["invasiveness"]
    y_true, probs, folds = arrays(out)
    called = np.zeros(150, bool)
    for item in task["folds"]:
        inside = folds == item["fold"]
        calibrated = apply_temperature(
            np.stack([1 - probs[inside], probs[inside]], axis=1), item["temperature_from_other_folds"]
        )
        called[inside] = calibrated[:, 1] >= item["threshold_from_other_folds"]
    point = task["operating_points"][0]
    assert point["threshold"] is None
    assert point["threshold_source"] == "temperature and threshold of each fold chosen on the other folds"
    assert point["tp"] == int((called & y_true).sum())
    assert point["fp"] == int((called & ~y_true).sum())
    assert point["threshold_chosen_on_reported_data"] is False


def test_calibration_improves_and_is_nested(reported) -> None:
    _, _, metrics = reported
    task = metrics["tasks"]["invasiveness"]
    assert task["uncalibrated"]["calibration_slope"] == pytest.approx(0.5, abs=0.15)
    assert task["calibration_slope"] == pytest.approx(1.0, abs=0.3)
    assert task["brier"] < task["uncalibrated"]["brier"]


def test_a_temperature_already_applied_is_taken_back(model, tmp_path, reported) -> None:
    before = OperatingPoint.read(reported[0])
    truth, log_odds = make_truth(150)
    probs = 1 / (1 + np.exp(-TEMPERATURE * log_odds))
    calibrated = apply_temperature(np.stack([1 - probs, probs], axis=1), 3.0)[:, 1]
    shutil.rmtree(model)
    write_folds(model, truth.nodules, calibrated, {"temperatures": {"invasiveness": 3.0}})
    crossval(tmp_path / "out")
    after = OperatingPoint.read(model)
    assert after.temperature("invasiveness") == pytest.approx(before.temperature("invasiveness"), rel=1e-4)
    assert after.threshold("invasiveness") == pytest.approx(before.threshold("invasiveness"), rel=1e-4)


def test_target_sensitivity(model, tmp_path) -> None:
    metrics = crossval(tmp_path / "out", "--target-sensitivity", "0.95")
    point = OperatingPoint.read(model)
    y_true, probs, _ = arrays(tmp_path / "out")
    calibrated = point.calibrate("invasiveness", np.stack([1 - probs, probs], axis=1))[:, 1]
    reached = (calibrated[y_true] >= point.threshold("invasiveness")).mean()
    assert 0.95 <= reached < 0.95 + 1.5 / y_true.sum()
    chosen = metrics["tasks"]["invasiveness"]["chosen_operating_point"]
    lower, upper = chosen["sensitivity_to_expect_ci"]
    assert lower < chosen["sensitivity_to_expect"] < min(reached, upper)
    assert point.tasks["invasiveness"].details["sensitivity_to_expect"] == chosen["sensitivity_to_expect"]


def test_one_fold_reports_the_default_threshold(model, tmp_path) -> None:
    metrics = crossval(tmp_path / "out", "-f", "1")
    task = metrics["tasks"]["invasiveness"]
    assert task["threshold"] == 0.5
    assert "one fold only" in task["operating_points"][0]["threshold_source"]
    assert "ThresholdWarning" in {item["name"] for item in metrics["warnings"]}
    assert OperatingPoint.read(model).chosen_on["folds"] == [1]


def test_without_raw_data_the_preprocessed_truth_is_used_and_the_default_folder_is_the_models(
    model, tmp_path, capsys
) -> None:
    raw = tmp_path / "nnUNet_raw" / DATASET / "nodules.csv"
    shutil.move(raw, tmp_path / "nnUNet_preprocessed" / DATASET / "nodules.csv")
    assert main(["evaluate", "crossval", "-d", DATASET, "--bootstrap", "0"]) == 0
    assert (model / "dsmt_crossval" / "metrics.json").is_file()
    assert "Mean AUC over 3 folds" in capsys.readouterr().out


def test_errors_name_what_is_there(model, tmp_path, capsys, monkeypatch) -> None:
    def error(*options: str) -> str:
        assert main(["evaluate", "crossval", "-d", "501", *options]) == 2
        return capsys.readouterr().err

    assert "DSMTTrainer__nnUNetPlans__3d_fullres" in error("-p", "OtherPlans")
    assert "--target-sensitivity" in error("--target-sensitivity", "90")
    assert "has no fold 7 (-f); validated are the folds [0, 1, 2]" in error("-f", "0", "7")
    for distance in ("-1", "0", "nan"):
        assert "--max-distance must be a positive number" in error("--max-distance", distance)
    case = next((model / "fold_0" / "validation").glob("case_*.json"))
    shutil.copy(case, model / "fold_1" / "validation")
    assert f"'{case.stem}' was validated in fold 0 and in fold 1" in error()
    monkeypatch.delenv("nnUNet_results")
    assert 'eval "$(dsmt env)"' in error()


def test_the_operating_point_is_tied_to_the_networks_that_made_the_predictions(model, tmp_path) -> None:
    for number, path in enumerate(sorted(model.glob("fold_*/validation"))):
        for case in path.glob("case_*.json"):
            content = json.loads(case.read_text())
            content["model"]["weights"] = [f"digest{number}"]
            case.write_text(json.dumps(content))
    crossval(tmp_path / "out")
    point = OperatingPoint.read(model)
    assert point is not None
    assert point.weights == ("digest0", "digest1", "digest2")
    assert point.classes == {task.name: task.classes for task in SCHEMA.tasks}
    first = min(model.glob("fold_1/validation/case_*.json"))
    content = json.loads(first.read_text())
    content["model"]["weights"] = ["earlier"]
    first.write_text(json.dumps(content))
    arguments = ["evaluate", "crossval", "-d", "501", "-c", "3d_fullres", "-tr", "DSMTTrainer"]
    assert main([*arguments, "-o", str(tmp_path / "again")]) == 2


def test_an_operating_point_of_unknown_networks_fits_none(reported) -> None:
    model, _, metrics = reported
    assert any("do not tell which networks" in str(warning) for warning in metrics["warnings"])
    point = OperatingPoint.read(model)
    assert point is not None
    assert point.misfit(("digest0",), SCHEMA) is not None


def test_classes_are_judged_within_folds_and_by_the_temperature_of_the_others(model, tmp_path) -> None:
    rng = np.random.default_rng(3)
    truth, _ = make_truth(150)
    textures = SCHEMA["texture"].classes
    shutil.rmtree(model)
    kept = []
    for number, item in enumerate(truth.nodules):
        own = np.eye(3)[textures.index(item.labels["texture"])]
        logits = 4.0 * (0.4 * own + rng.normal(scale=0.5, size=3))
        probs = np.exp(logits) / np.exp(logits).sum()
        kept.append(probs)
        validation = model / f"fold_{number // 5 % 3}" / "validation"
        write_prediction(validation, item.case_id, [found(item, 0.5, texture=probs.tolist())], {})
    task = crossval(tmp_path / "out")["tasks"]["texture"]
    labels = np.array([textures.index(item.labels["texture"]) for item in truth.nodules])
    folds, probs = np.arange(150) // 5 % 3, np.array(kept)
    each = [[auc_score(labels[folds == f] == k, probs[folds == f, k]) for k in range(3)] for f in range(3)]
    assert task["auc_macro"] == pytest.approx(np.mean(each))
    assert task["auc_one_vs_rest"][textures[1]]["auc"] == pytest.approx(np.mean(each, axis=0)[1])
    uncalibrated = -np.log(probs[np.arange(150), labels]).mean()
    assert task["log_loss"] < uncalibrated - 0.05


def test_cases_that_no_fold_validated_are_named(model, tmp_path) -> None:
    shutil.rmtree(model / "fold_2")
    metrics = crossval(tmp_path / "out")
    (message,) = [item["message"] for item in metrics["warnings"] if item["where"] == "cases"]
    assert message.startswith("50 of 150 cases of the truth were not validated in the folds [0, 1]")


def test_nodules_that_are_only_learnt_from_do_not_count(model, tmp_path, capsys) -> None:
    raw = tmp_path / "nnUNet_raw" / DATASET / "nodules.csv"
    truth = NoduleTable.read(raw, SCHEMA)
    of_sizes = [replace(item, diameter_mm=6.0 if number % 4 else 14.0) for number, item in enumerate(truth.nodules)]
    NoduleTable(tuple(of_sizes)).write(raw, SCHEMA)
    rng = np.random.default_rng(0)
    asked = replace(SCHEMA, asked=DiameterRange(10, 20))
    for number, item in enumerate(of_sizes):
        folder = model / f"fold_{number % 3}" / "validation"
        write_prediction(folder, item.case_id, [found(item, float(rng.random()))], {}, asked)
    metrics = crossval(tmp_path / "out")
    large = [item for item in of_sizes if item.diameter_mm == 14]
    assert len(rows_of(tmp_path / "out" / "joined.csv")) == len(large) < len(of_sizes)
    known = [item for item in large if item.labels["invasiveness"] is not None]
    assert metrics["tasks"]["invasiveness"]["n"] == len(known)
    assert "are outside of 10 to 20 mm" in capsys.readouterr().err


def test_a_truth_that_fits_no_nodule_replaces_no_operating_point(model, tmp_path, capsys) -> None:
    crossval(tmp_path / "out")
    good = (model / "operating_point.json").read_bytes()
    raw = tmp_path / "nnUNet_raw" / DATASET / "nodules.csv"
    moved = [
        replace(item, centre_mm=tuple(place + 60.0 for place in item.centre_mm))
        for item in NoduleTable.read(raw, SCHEMA).nodules
    ]
    NoduleTable(tuple(moved)).write(raw, SCHEMA)
    assert main(["evaluate", "crossval", "-d", "501", "-o", str(tmp_path / "other")]) == 2
    assert "nodules.csv has no row with a known label at any of their positions" in capsys.readouterr().err
    assert (model / "operating_point.json").read_bytes() == good
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("failing", ["joined.csv", "curves.json", "metrics.json", "operating_point.json"])
def test_a_full_disk_leaves_nothing_half_written(reported, tmp_path, capsys, monkeypatch, failing: str) -> None:
    _, out, _ = reported
    model = copied(out.parent, tmp_path, monkeypatch)
    shutil.copytree(out, tmp_path / "earlier")
    before = {path.name: path.read_bytes() for path in (tmp_path / "earlier").iterdir()}
    point = (model / "operating_point.json").read_bytes()
    write = Path.write_bytes

    def full_disk(path: Path, content: bytes) -> int:
        if path.name == failing:
            write(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    for name in ("earlier", "new"):
        arguments = ["evaluate", "crossval", "-d", "501", "-o", str(tmp_path / name), "--target-sensitivity", "0.9"]
        assert main([*arguments, "--bootstrap", "0"]) == 2
        said = capsys.readouterr().err
        assert f"No space left on device: '{(model if 'point' in failing else tmp_path / name) / failing}'" in said
    assert {path.name: path.read_bytes() for path in (tmp_path / "earlier").iterdir()} == before
    assert (model / "operating_point.json").read_bytes() == point
    assert not (tmp_path / "new").exists()


def test_scans_without_a_nodule_change_no_answer(model, tmp_path, reported) -> None:
    folder = tmp_path / "nnUNet_raw" / DATASET
    truth = NoduleTable.read(folder / "nodules.csv", SCHEMA)
    empty = tuple(EmptyCase(f"empty{fold}", f"E{fold}") for fold in range(3))
    NoduleTable(truth.nodules, empty).write(folder / "nodules.csv", SCHEMA)
    for fold, case in enumerate(empty[:2]):
        write_prediction(model / f"fold_{fold}" / "validation", case.case_id, [], {})
    found = crossval(tmp_path / "with")
    assert found["tasks"] == reported[2]["tasks"]
    said = [item["message"] for item in found["warnings"] if item["where"] == "cases"]
    assert len(said) == 1
    assert "1 of 153 cases" in said[0]
    assert "empty2" in said[0]
