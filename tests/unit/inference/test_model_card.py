from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dsmt_nnunet.api.examples import example_model
from dsmt_nnunet.cli.main import main
from dsmt_nnunet.evaluation.files import read_metrics
from dsmt_nnunet.evaluation.records.metrics import CrossvalMetrics
from dsmt_nnunet.evaluation.records.score import Score
from dsmt_nnunet.evaluation.records.tasks import BinaryTask
from dsmt_nnunet.inference.model_card import model_card
from dsmt_nnunet.inference.weights import weights_digest
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.plan import PLAN_KEY
from dsmt_nnunet.predictions.operating_point import OperatingPoint, TaskOperatingPoint
from dsmt_nnunet.shipped_models import CARD_NAME
from dsmt_nnunet.tasks import ClassificationSchema
from tests.unit.evaluation.cohort import SCHEMA, found, make_truth, write_prediction

MODEL = "DSMTTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return example_model(tmp_path / "nnUNet_results" / "Dataset501_A" / MODEL)


def table() -> NoduleTable:
    """Twelve patients of one centre and two of another; every third nodule is invasive."""
    nodules = [
        Nodule(
            f"secret{number}",
            "1",
            f"patient{number}",
            (0.0, 0.0, 0.0),
            8.0 + number,
            {"texture": "solid", "invasiveness": "invasive" if number % 3 == 0 else "non-invasive"},
            {"centre": "north" if number < 12 else "tiny"},
        )
        for number in range(14)
    ]
    return NoduleTable((*nodules, replace(nodules[0], nodule_id="2", labels={})))


def test_it_counts_and_names_nobody(model: Path, tmp_path: Path) -> None:
    card = model_card(model, table(), None, ["centre"])
    assert "15 nodules in 14 scans of 14 patients; each fold left its own out." in card
    assert "| invasiveness | invasive | 5 |" in card
    assert "| invasiveness | not known | 1 |" in card
    assert "| north | 13 | 12 |" in card
    assert "| 1 of fewer than 5 patients | 2 | |" in card
    assert "8 to 21 mm wide" in card
    assert "may be told age (number, years)" in card
    for secret in ("tiny", "secret", "patient1", str(tmp_path)):
        assert secret not in card


def test_it_tells_which_weights_and_thresholds(model: Path) -> None:
    weights = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)["network_weights"]
    assert f"weights of fold_0: SHA-256 {weights_digest(weights)}" in model_card(model, None, None)
    assert "None: thresholds are 0.5" in model_card(model, None, None)
    point = OperatingPoint({"invasiveness": TaskOperatingPoint(1.5, 0.25, "youden")}, {}, (weights_digest(weights),))
    point.write(model)
    assert "- invasiveness: temperature 1.5, threshold 0.25" in model_card(model, None, None)
    replace(point, weights=("of another network",)).write(model)
    assert "None: thresholds are 0.5" in (card := model_card(model, None, None))
    assert "That of the folder is not used: it was chosen on networks with other weights" in card


def test_a_model_that_saw_nothing_but_nodules_says_that_it_does_not_search(model: Path) -> None:
    sentence = "a search of a whole chest takes vessels for nodules"
    assert sentence not in model_card(model, None, None)
    plans = json.loads((model / "plans.json").read_text())
    plans[PLAN_KEY]["training"]["background_share"] = 0.0
    (model / "plans.json").write_text(json.dumps(plans))
    assert sentence in model_card(model, None, None)


def test_what_is_missing_is_said(model: Path) -> None:
    card = model_card(model, None, None)
    assert "licence: not stated" in card
    assert "The table of training nodules was not at hand." in card
    assert "Not measured" in card
    content = json.loads((model / "dataset.json").read_text())
    (model / "dataset.json").write_text(json.dumps({**content, "licence": "CC BY 4.0"}))
    assert "- licence: CC BY 4.0" in model_card(model, None, None)
    with pytest.raises(ValueError, match="no column 'scanner'; it has"):
        model_card(model, table(), None, ["scanner"])


def test_the_command_writes_it_and_the_zip_holds_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr("nnunetv2.utilities.file_path_utilities.get_output_folder", lambda *_: str(model))
    schema = ClassificationSchema.from_dataset_json(json.loads((model / "dataset.json").read_text()))
    raw = tmp_path / "nnUNet_raw" / "Dataset501_A"
    raw.mkdir(parents=True)
    (tmp_path / "nnUNet_preprocessed" / "Dataset501_A").mkdir(parents=True)
    table().write(raw / "nodules.csv", schema)
    assert main(["model", "card", "-d", "501", "--group", "centre"]) == 0
    card = (model / CARD_NAME).read_bytes()
    assert b"| north | 13 | 12 |" in card
    assert main(["model", "export", "-d", "501", "-o", str(tmp_path / "model.zip")]) == 0
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert archive.read(f"Dataset501_A/{MODEL}/{CARD_NAME}") == card
    (model / CARD_NAME).write_bytes(card.replace(b"SHA-256 ", b"SHA-256 0"))
    assert main(["model", "export", "-d", "501", "-o", str(tmp_path / "other.zip")]) == 2
    assert f"{CARD_NAME} is of other weights than are to be exported" in capsys.readouterr().err
    assert not (tmp_path / "other.zip").exists()


def test_it_quotes_the_cross_validation(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / "own" / name))
    truth, log_odds = make_truth(60)
    centre = ["north", "south"] * 28 + ["tiny"] * 4
    truth = NoduleTable(
        tuple(
            replace(item, extra={"centre": name}, diameter_mm=12.0 + number % 3, patient_id=f"P{number}")
            for number, (item, name) in enumerate(zip(truth.nodules, centre, strict=True))
        )
    )
    raw = tmp_path / "own" / "nnUNet_raw" / "Dataset502_B"
    raw.mkdir(parents=True)
    truth.write(raw / "nodules.csv", SCHEMA)
    folder = tmp_path / "own" / "nnUNet_results" / "Dataset502_B" / MODEL
    for number, (item, prob) in enumerate(zip(truth.nodules, 1 / (1 + np.exp(-log_odds)), strict=True)):
        made_by = {"weights": [f"network {number % 3}"]}
        validation = folder / f"fold_{number % 3}" / "validation"
        write_prediction(validation, item.case_id, [found(item, float(prob))], made_by)
        (validation / "summary.json").write_text("{}")
    monkeypatch.setattr("nnunetv2.utilities.file_path_utilities.get_output_folder", lambda *_: str(folder))
    out = str(tmp_path / "metrics")
    words = ["evaluate", "crossval", "-d", "502", "-c", "3d_fullres", "-tr", "DSMTTrainer", "-o", out]
    assert main([*words, "--bootstrap", "100", "--group", "centre", "--group", "diameter_mm=13,20"]) == 0
    metrics = read_metrics(out)
    assert isinstance(metrics, CrossvalMetrics)
    task = metrics.tasks["invasiveness"]
    assert isinstance(task, Score)
    assert task.point is not None
    assert metrics.inputs.weights == ("network 0", "network 1", "network 2")
    with pytest.raises(ValueError, match=r"not of the networks that .* holds \(3 of 3 are not among them\)"):
        model_card(model, None, metrics)
    metrics = replace(metrics, inputs=replace(metrics.inputs, weights=None))
    with pytest.raises(ValueError, match="the metrics name none"):
        model_card(model, None, metrics)
    weights = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)["network_weights"]
    metrics = replace(metrics, inputs=replace(metrics.inputs, weights=(weights_digest(weights),)))
    card = model_card(model, None, metrics)
    assert f"- invasiveness: {task.auc_sentence}" in card
    assert f"sensitivity {task.point.sensitivity:.2f} ({task.point.sensitivity_ci[0]:.2f}" in card
    assert f"slope {task.calibration_slope:.2f}" in card
    assert metrics.warnings
    for warning in metrics.warnings:
        assert card.count(f"{warning.name} ({warning.where.split(',')[0]})") == 1
        assert warning.message not in card
    assert isinstance(task, BinaryTask)
    north = task.subgroups["centre"]["north"]
    score = north.scores["invasiveness"]
    row = f"| north | 28 | {north.n_positive} | {score.auc:.2f} ({score.auc_ci[0]:.2f} to {score.auc_ci[1]:.2f}) | "
    assert score.point is not None
    assert f"{row}{score.point.sensitivity:.2f} (" in card
    assert "| < 13 | 20 |" in card
    assert "tiny" not in card
    assert "| 1 of fewer than 5 patients or nodules | 4 |" in card
    one_patient = NoduleTable(tuple(replace(item, patient_id="P1") for item in truth.nodules))
    assert "| north |" not in model_card(model, one_patient, metrics)
    unasked = replace(metrics, tasks={"invasiveness": replace(task, subgroups={})})
    assert "Not measured: evaluate with the columns" in model_card(model, None, unasked)
