from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from sklearn.metrics import cohen_kappa_score

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.nodules import EmptyCase, NoduleTable
from dsmt_nnunet.statistics.roc.delong import auc_score
from tests.unit.evaluation.cohort import SCHEMA, found, make_truth, nodule, rows_of, write_prediction


def run(folder: Path, truth: Path, out: Path, *options: str) -> dict:
    arguments = ["evaluate", "predictions", str(folder), "--truth", str(truth), "-o", str(out)]
    assert main([*arguments, "--bootstrap", "200", *options]) == 0
    return json.loads((out / "metrics.json").read_text(), parse_constant=lambda name: pytest.fail(name))


@pytest.fixture
def small(tmp_path) -> tuple[Path, Path]:
    """Case a: two nodules, one missed, one extra. Case b: one nodule. Case c: a scan without a nodule. d: no file."""
    invasive, benign = ({"invasiveness": name, "texture": None} for name in ("invasive", "non-invasive"))
    truth = [nodule("a", 1, invasive), nodule("a", 2, invasive), nodule("b", 1, benign), nodule("d", 1, benign)]
    NoduleTable(tuple(truth)).write(tmp_path / "nodules.csv", SCHEMA)
    folder = tmp_path / "out"
    write_prediction(folder, "a", [found(nodule("a", 9, {}), 0.9), found(truth[0], 0.8, shift_mm=4.0)])
    write_prediction(folder, "b", [found(truth[2], 0.3)])
    write_prediction(folder, "c", [])
    (folder / "dataset.json").write_text("{}")
    return folder, tmp_path / "nodules.csv"


def test_missed_and_extra_nodules(small, tmp_path) -> None:
    metrics = run(*small, tmp_path / "metrics", "--only-predicted")
    detection = metrics["detection"]
    assert {key: detection[f"n_{key}"] for key in ("scans", "truth", "predicted", "matched", "missed", "extra")} == {
        "scans": 3,
        "truth": 3,
        "predicted": 3,
        "matched": 2,
        "missed": 1,
        "extra": 1,
    }
    assert detection["note"] is None
    assert detection["sensitivity"] == pytest.approx(2 / 3)
    assert (detection["missed_per_scan"], detection["extra_per_scan"]) == pytest.approx((1 / 3, 1 / 3))
    rows = rows_of(tmp_path / "metrics" / "joined.csv")
    assert [(row["case_id"], row["status"], row["distance_mm"]) for row in rows] == [
        ("a", "matched", "4.0"),
        ("a", "missed", ""),
        ("a", "extra", ""),
        ("b", "matched", "0.0"),
    ]
    assert (rows[0]["invasiveness_truth"], rows[0]["invasiveness_prob"], rows[0]["invasiveness_decision"]) == (
        "invasive",
        "0.8",
        "invasive",
    )
    cases = {row["case_id"]: row for row in rows_of(tmp_path / "metrics" / "cases.csv")}
    assert (cases["a"]["n_missed"], cases["a"]["n_extra"], cases["b"]["n_matched"]) == ("1", "1", "1")
    messages = " ".join(item["message"] for item in metrics["warnings"])
    assert "1 cases of the truth have no prediction and are left out, as --only-predicted asks: d." in messages
    assert "count as scans without a nodule: c." in messages


def test_cases_that_are_said_to_hold_no_nodule_are_counted(small, tmp_path) -> None:
    folder, path = small
    truth = NoduleTable.read(path, SCHEMA)
    NoduleTable(truth.nodules, (EmptyCase("c", "p3"), EmptyCase("e", "p4"))).write(path, SCHEMA)
    write_prediction(folder, "c", [found(truth.nodules[0], 0.8)])
    metrics = run(folder, path, tmp_path / "o")
    messages = " ".join(item["message"] for item in metrics["warnings"])
    assert "no row in the truth" not in messages
    assert "2 cases of the truth have no prediction" in messages
    assert (metrics["detection"]["n_scans"], metrics["detection"]["n_scans_crashed"]) == (5, 2)
    assert metrics["detection"]["n_extra"] == 2


def test_missed_nodules_and_cases_without_prediction_are_to_be_diagnosed_too(small, tmp_path) -> None:
    metrics = run(*small, tmp_path / "metrics")
    task, detection = metrics["tasks"]["invasiveness"], metrics["detection"]
    assert (task["n"], task["n_positive"], task["auc"], task["sensitivity"]) == (2, 1, 1.0, 1.0)
    lost = task["intention_to_diagnose"]
    assert (lost["n"], lost["n_missed"], lost["n_missed_positive"], lost["n_crashed"]) == (4, 1, 1, 1)
    assert (lost["sensitivity"], lost["specificity"]) == (0.5, 0.5), "the crashed benign nodule counts as wrong"
    # Positive 0.8 and last, negative 0.3 and first: one of four pairs in order.
    assert lost["auc"] == 0.25
    assert (detection["n_scans"], detection["n_scans_crashed"], detection["n_crashed"]) == (4, 1, 1)
    assert detection["sensitivity"] == pytest.approx(2 / 4)
    rows = {row["case_id"]: row["status"] for row in rows_of(tmp_path / "metrics" / "joined.csv")}
    assert rows["d"] == "crashed"
    assert any("count as not diagnosed (--only-predicted" in item["message"] for item in metrics["warnings"])


def test_a_sensitivity_of_the_found_alone_flatters(tmp_path, capsys) -> None:
    """Of 120 invasive nodules 90 are found, 81 called; 10 are missed and 20 lie in scans that crashed: 0.9 is 0.675."""
    truth = [nodule(f"p{k}", 1, {"invasiveness": "invasive", "texture": None}) for k in range(120)]
    benign = [nodule(f"b{k}", 1, {"invasiveness": "non-invasive", "texture": None}) for k in range(20)]
    NoduleTable((*truth, *benign)).write(tmp_path / "nodules.csv", SCHEMA)
    for k, item in enumerate(truth[:100]):
        write_prediction(tmp_path / "out", item.case_id, [found(item, 0.9 if k < 81 else 0.1)] if k < 90 else [])
    for item in benign:
        write_prediction(tmp_path / "out", item.case_id, [found(item, 0.2)])
    task = run(tmp_path / "out", tmp_path / "nodules.csv", tmp_path / "m")["tasks"]["invasiveness"]
    lost = task["intention_to_diagnose"]
    assert (task["sensitivity"], lost["sensitivity"], lost["specificity"]) == pytest.approx((0.9, 81 / 120, 1.0))
    assert lost["auc"] == pytest.approx(81 / 120)
    assert "all that were to be diagnosed (30 without an answer)" in capsys.readouterr().out


def test_readers_are_compared_on_all_nodules(cohort, tmp_path) -> None:
    folder, table, truth, _ = cohort
    lost = truth.nodules[:6]
    for item in lost[:3]:
        (folder / f"{item.case_id}.json").unlink()
    for item in lost[3:]:
        write_prediction(folder, item.case_id, [])
    options = ["--reader", "reader_1", "--reader", "reader_2", "--reader", "reader_3"]
    task = run(folder, table, tmp_path / "m", *options)["tasks"]["invasiveness"]
    assert (task["n"], task["intention_to_diagnose"]["n"]) == (54, 60)
    assert task["readers"]["reader_2"]["n"] == 60
    against = task["readers"]["reader_2"]["against"]["invasiveness"]["auc"]
    assert against["aucs"][0] == pytest.approx(task["intention_to_diagnose"]["auc"])
    assert task["readers"]["reader_1"]["against"]["invasiveness"]["decisions"]["accuracy"]["n"] == 60
    assert task["multi_reader"]["n"] == 60


def test_a_task_without_any_known_label_is_empty_not_an_error(small, tmp_path) -> None:
    texture = run(*small, tmp_path / "metrics")["tasks"]["texture"]
    assert (texture["type"], texture["n"], texture["auc_macro"], texture["accuracy"]) == ("multiclass", 0, None, None)


def test_distance_limit(small, tmp_path) -> None:
    assert run(*small, tmp_path / "m", "--max-distance", "3")["detection"]["n_matched"] == 1


def write_mask(path: Path, voxels: slice, spacing: float = 1.0) -> None:
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[voxels, :4, :4] = 1
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing((spacing,) * 3)
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(path))


def test_dice_per_case(small, tmp_path) -> None:
    folder, truth = small
    for case, voxels in (("a", slice(0, 4)), ("b", slice(2, 4)), ("c", slice(0, 0))):
        write_mask(folder / f"{case}.nii.gz", voxels)
    for case, voxels in (("a", slice(0, 4)), ("b", slice(0, 4)), ("c", slice(0, 0))):
        write_mask(tmp_path / "labels" / f"{case}.nii.gz", voxels)
    metrics = run(folder, truth, tmp_path / "m", "--labels", str(tmp_path / "labels"))
    assert (metrics["dice"]["n"], metrics["dice"]["n_undefined"]) == (2, 1)
    assert metrics["dice"]["mean"] == pytest.approx((1 + 2 / 3) / 2)
    cases = {row["case_id"]: row["dice"] for row in rows_of(tmp_path / "m" / "cases.csv")}
    assert cases == {"a": "1.0", "b": "0.666667", "c": "", "d": ""}
    assert "EmptyMaskWarning" in {item["name"] for item in metrics["warnings"]}


def test_masks_on_different_grids_are_refused(small, tmp_path, capsys) -> None:
    folder, truth = small
    write_mask(folder / "a.nii.gz", slice(0, 4))
    write_mask(tmp_path / "labels" / "a.nii.gz", slice(0, 4), spacing=2.0)
    arguments = ["evaluate", "predictions", str(folder), "--truth", str(truth), "-o", str(tmp_path / "m")]
    assert main([*arguments, "--labels", str(tmp_path / "labels")]) == 2
    assert "a.nii.gz: reference and prediction must lie on the same grid" in capsys.readouterr().err


@pytest.fixture
def cohort(tmp_path) -> tuple[Path, Path, NoduleTable, np.ndarray]:
    truth, log_odds = make_truth(60)
    truth.write(tmp_path / "nodules.csv", SCHEMA)
    rng = np.random.default_rng(1)
    probs = np.round(1 / (1 + np.exp(-(log_odds + rng.normal(size=60)))), 4)
    for item, prob in zip(truth.nodules, probs, strict=True):
        texture = rng.dirichlet((1, 1, 1)) * 0.75
        texture[SCHEMA["texture"].index(item.labels["texture"])] += 0.25
        write_prediction(tmp_path / "pred", item.case_id, [found(item, float(prob), texture=texture.tolist())])
    return tmp_path / "pred", tmp_path / "nodules.csv", truth, probs


def test_binary_and_multiclass_tasks(cohort, tmp_path) -> None:
    folder, table, truth, probs = cohort
    metrics = run(folder, table, tmp_path / "m")
    y_true = np.array([item.labels["invasiveness"] == "invasive" for item in truth.nodules])
    task = metrics["tasks"]["invasiveness"]
    assert task["auc"] == pytest.approx(auc_score(y_true, probs))
    assert task["accuracy"] == pytest.approx(((probs >= 0.5) == y_true).mean())
    assert task["threshold"] == 0.5
    assert "positions were given" in metrics["detection"]["note"]
    assert task["operating_points"][0]["threshold_source"].startswith("the prediction files")
    texture = metrics["tasks"]["texture"]
    assert np.array(texture["confusion_matrix"]).sum() == 60
    assert np.trace(texture["confusion_matrix"]) / 60 == pytest.approx(texture["accuracy"])
    assert set(texture["auc_one_vs_rest"]) == set(SCHEMA["texture"].classes)
    aucs = [item["auc"] for item in texture["auc_one_vs_rest"].values()]
    assert texture["auc_macro"] == pytest.approx(np.mean(aucs))
    assert texture["auc_macro_ci"][0] < texture["auc_macro"] < texture["auc_macro_ci"][1]
    rows = rows_of(tmp_path / "m" / "joined.csv")
    decided = cohen_kappa_score([row["texture_truth"] for row in rows], [row["texture_decision"] for row in rows])
    assert texture["kappa"] == pytest.approx(decided)
    assert texture["kappa_ci"][0] < decided < texture["kappa_ci"][1]
    names = SCHEMA["texture"].classes
    wrong = [sum((float(row[f"texture_prob_{k}"]) - (row["texture_truth"] == k)) ** 2 for k in names) for row in rows]
    assert texture["brier"] == pytest.approx(np.mean(wrong))
    curves = json.loads((tmp_path / "m" / "curves.json").read_text())["tasks"]
    assert len(curves["invasiveness"]["roc"]["tpr"]) == len(np.unique(probs)) + 1
    assert curves["invasiveness"]["roc"]["thresholds"][0] is None
    assert sum(item["n"] for item in curves["invasiveness"]["calibration"]) == 60
    assert set(curves["texture"]["roc_one_vs_rest"]) == set(SCHEMA["texture"].classes)


def test_groups_patients_and_readers_of_the_truth_table(cohort, tmp_path) -> None:
    folder, table, _, _ = cohort
    options = ["--group", "protocol", "--group", "diameter_mm=10,15", "--group", "texture", "--cluster", "patient_id"]
    options += ["--reader", "reader_1", "--reader", "invasiveness:reader_2", "--reader", "reader_3"]
    metrics = run(folder, table, tmp_path / "m", *options, "--threshold", "invasiveness=0.3")
    task = metrics["tasks"]["invasiveness"]
    assert set(task["subgroups"]) == {"protocol", "diameter_mm", "texture"}
    assert task["subgroups"]["protocol"]["A"]["n"] == 30
    assert (task["clustered"], task["n_clusters"]) == (True, 30)
    assert set(task["readers"]) == {"reader_1", "reader_2", "reader_3"}
    assert set(task["multi_reader"]["readers"]) == {"reader_2", "reader_3"}
    assert [point["threshold"] for point in task["operating_points"]] == [0.5, 0.3]
    assert run(folder, table, tmp_path / "n")["tasks"]["invasiveness"]["n_clusters"] == 30, "by default too"
    without = run(folder, table, tmp_path / "o", "--cluster", "none")
    assert any("60 cases of 30 patients" in item["message"] for item in without["warnings"])
    assert (without["inputs"]["cluster"], without["tasks"]["invasiveness"]["n_clusters"]) == (None, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--group", "site"], "no column ['site']"),
        (["--reader", "texture:reader_1"], "hold other words than its classes"),
        (["--reader", "shape:reader_1"], "No task ['shape']"),
        (["--reader", "protocol"], "'A' is neither a class"),
        (["--max-distance", "-1"], "positive number of mm"),
        (["--labels", "nowhere"], "not a folder"),
    ],
)
def test_bad_options_end_in_one_clear_message(cohort, tmp_path, capsys, options, message) -> None:
    folder, table, _, _ = cohort
    arguments = ["evaluate", "predictions", str(folder), "--truth", str(table), "-o", str(tmp_path / "m")]
    assert main([*arguments, *options]) == 2
    assert message in capsys.readouterr().err


def test_no_case_in_common_is_said_with_examples(cohort, tmp_path, capsys) -> None:
    folder = cohort[0]
    NoduleTable((nodule("other_1", 1, {"invasiveness": "invasive"}),)).write(tmp_path / "other.csv", SCHEMA)
    arguments = ["evaluate", "predictions", str(folder), "--truth", str(tmp_path / "other.csv")]
    assert main([*arguments, "-o", str(tmp_path / "m")]) == 2
    error = capsys.readouterr().err
    assert "case_000" in error
    assert "other_1" in error


def test_a_folder_without_predictions(tmp_path, capsys) -> None:
    (tmp_path / "nodules.csv").write_text("case_id,x_mm,y_mm,z_mm\na,1,2,3\n")
    arguments = ["evaluate", "predictions", str(tmp_path), "--truth", str(tmp_path / "nodules.csv")]
    assert main([*arguments, "-o", str(tmp_path / "m")]) == 2
    assert "holds no DSMT prediction" in capsys.readouterr().err


def test_a_nodule_of_the_truth_counts_once(small, tmp_path, capsys) -> None:
    folder, truth = small
    lines = truth.read_text().splitlines()
    cells = lines[3].split(",")
    cells[1] = "7"
    truth.write_text("\n".join([*lines, ",".join(cells)]))
    assert main(["evaluate", "predictions", str(folder), "--truth", str(truth), "-o", str(tmp_path / "m")]) == 2
    assert "case 'b': nodules '1' and '7' are at one place" in capsys.readouterr().err


def test_a_truth_in_other_coordinates_is_told(small, tmp_path) -> None:
    folder, truth = small
    table = NoduleTable.read(truth, SCHEMA)
    moved = [replace(item, centre_mm=(-item.centre_mm[0] - 90, *item.centre_mm[1:])) for item in table.nodules]
    NoduleTable(tuple(moved)).write(truth, SCHEMA)
    messages = [item["message"] for item in run(folder, truth, tmp_path / "m")["warnings"]]
    assert any("change the sign of x and y" in message for message in messages)


def test_a_reader_of_classes_stands_beside_the_model(tmp_path) -> None:
    names = SCHEMA["texture"].classes
    truth = []
    for k in range(24):
        labels = {"invasiveness": ("non-invasive", "invasive")[k % 2], "texture": names[k % 3]}
        truth.append(nodule(f"c{k}", 1, labels, extra={"r": names[k % 3 if k % 4 else 0]}))
        probs = np.full(3, 0.2) + 0.4 * np.eye(3)[(k + (k % 5 == 0)) % 3]
        write_prediction(tmp_path / "out", f"c{k}", [found(truth[-1], 0.3 + 0.4 * (k % 2), texture=probs)])
    NoduleTable(tuple(truth)).write(tmp_path / "nodules.csv", SCHEMA)
    metrics = run(
        tmp_path / "out",
        tmp_path / "nodules.csv",
        tmp_path / "m",
        "--reader",
        "texture:r",
        "--group",
        "diameter_mm=8,15",
    )
    reader = metrics["tasks"]["texture"]["readers"]["r"]
    accuracy, kappa = reader["model_minus_reader"]
    assert accuracy["values"][0] == metrics["tasks"]["texture"]["accuracy"]
    assert accuracy["values"][1] == np.mean([k % 4 != 0 or k % 3 == 0 for k in range(24)])
    assert (kappa["measure"], kappa["values"][0]) == (
        "Cohen's kappa",
        pytest.approx(metrics["tasks"]["texture"]["kappa"]),
    )
    assert [item["n_tests"] for item in metrics["multiplicity"] if item["name"] == "readers of grades and classes"] == [
        2
    ]


@pytest.mark.parametrize(("spelt", "alike"), [("A", "['A', 'a']"), ("a ", None), ("0a", None)])
def test_a_case_in_two_spellings_is_not_taken_for_a_crash(small, tmp_path, capsys, spelt, alike) -> None:
    folder, path = small
    path.write_text("\n".join(line.replace("a,", f"{spelt},", 1) for line in path.read_text().splitlines()))
    if alike is None:
        run(folder, path, tmp_path / "o")
        return
    assert main(["evaluate", "predictions", str(folder), "--truth", str(path), "-o", str(tmp_path / "o")]) == 2
    assert alike in capsys.readouterr().err


@pytest.mark.parametrize(("threshold", "message"), [(0.2, "at a threshold of"), (None, "lacks its threshold")])
def test_a_threshold_that_was_edited_in_one_case_is_refused(small, tmp_path, capsys, threshold, message) -> None:
    folder, path = small
    content = json.loads((folder / "b.json").read_text())
    answer = content["nodules"][0]["tasks"]["invasiveness"]
    answer |= {"threshold": threshold, "decision": "invasive"}
    (folder / "b.json").write_text(json.dumps(content))
    assert main(["evaluate", "predictions", str(folder), "--truth", str(path), "-o", str(tmp_path / "o")]) == 2
    assert message in capsys.readouterr().err
