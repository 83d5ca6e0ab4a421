"""nnUNetv2_train with DSMTTrainer."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.tasks import ClassificationSchema
from tests.e2e.conftest import DATASET_ID, TRAIN, Workspace

FOLD = "fold_0"


def test_training_leaves_nnunets_files_and_ours(trained: Workspace) -> None:
    model = trained.model("DSMTTrainerShort", "DSMTPlansXS")
    for name in ("checkpoint_final.pth", "checkpoint_joint.pth", "checkpoint_best.pth", "progress.png"):
        assert (model / FOLD / name).is_file(), name
    assert "dsmt" in json.loads((model / "plans.json").read_text())
    assert (model / FOLD / "validation" / "summary.json").is_file()


def test_every_validation_nodule_is_classified(trained: Workspace) -> None:
    model = trained.model("DSMTTrainerShort", "DSMTPlansXS")
    folds = json.loads((trained.preprocessed / "splits_final.json").read_text())
    schema = ClassificationSchema.from_dataset_json(json.loads((trained.raw / "dataset.json").read_text()))
    table = NoduleTable.read(trained.raw / "nodules.csv", schema)
    nodules = [nodule for nodule in table.nodules if nodule.case_id in folds[0]["val"]]
    rows = (model / FOLD / "validation" / "classification.csv").read_text().splitlines()[1:]
    written = {tuple(row.split(",")[:2]) for row in rows}
    assert written == {(nodule.case_id, nodule.nodule_id) for nodule in nodules}


def test_fine_tuning_changes_the_primary_head_alone(trained: Workspace) -> None:
    model = trained.model("DSMTTrainerShort", "DSMTPlansXS") / FOLD
    joint, final = (
        torch.load(model / f"checkpoint_{name}.pth", weights_only=False)["network_weights"]
        for name in ("joint", "final")
    )
    changed = {key for key in joint if not torch.equal(joint[key], final[key])}
    assert changed
    assert all(key.startswith("heads.0.") for key in changed)


def test_no_patient_or_case_is_named_in_what_is_exported(trained: Workspace) -> None:
    model = trained.model("DSMTTrainerShort", "DSMTPlansXS")
    for path in (model / "plans.json", model / "dataset.json", model / FOLD / "debug.json"):
        text = path.read_text()
        assert "phantom_0" not in text, path.name
        assert "P000" not in text, path.name


def test_training_killed_in_each_stage_continues_in_it(workspace: Workspace) -> None:
    fold = workspace.model("DSMTTrainerShort", "DSMTPlansXS") / "fold_2"
    command = TRAIN.replace("3d_fullres 0", "3d_fullres 2")
    workspace.run(command, -signal.SIGKILL, dsmt_validation="off", KILLED_IN_EPOCH="1")
    workspace.run(f"{command} --c", -signal.SIGKILL, dsmt_validation="off", KILLED_IN_EPOCH="3")
    workspace.run(f"{command} --c", dsmt_validation="off")
    logs = sorted(fold.glob("training_log_*.txt"), key=lambda path: path.stat().st_mtime_ns)
    epochs = [re.findall(r": Epoch (\d+)", log.read_text()) for log in logs]
    stages = [re.findall(r": Stage: (\S+)", log.read_text()) for log in logs]
    assert epochs == [["0", "1"], ["1", "2", "3"], ["3"]]
    assert stages == [["joint"] * 2, ["joint", "fine-tuning", "fine-tuning"], ["fine-tuning"]]
    logged = torch.load(fold / "checkpoint_final.pth", weights_only=False)["logging"]
    assert {len(values) for values in logged.values()} == {4}
    shutil.rmtree(fold)


def test_val_writes_the_validation_again(trained: Workspace) -> None:
    validation = trained.model("DSMTTrainerShort", "DSMTPlansXS") / FOLD / "validation"
    before = (validation / "classification.csv").read_text()
    (validation / "classification.csv").unlink()
    trained.run(f"{TRAIN} --val")
    assert (validation / "classification.csv").read_text() == before


def stock_weights(configuration: dict[str, Any], path: Path) -> Path:
    """Weights of the network that nnU-Net makes of a configuration, as its checkpoints hold them."""
    network = configuration["architecture"]
    backbone = get_network_from_plans(
        network["network_class_name"], network["arch_kwargs"], network["_kw_requires_import"], 1, 2, allow_init=True
    )
    torch.save({"network_weights": backbone.state_dict(), "trainer_name": "nnUNetTrainer"}, path)
    return path


def test_stock_plans_train_from_stock_weights_and_predict(workspace: Workspace) -> None:
    workspace.run(f"nnUNetv2_plan_and_preprocess -d {DATASET_ID} -c 3d_fullres -np 1 -npfp 1")
    plans_file = workspace.preprocessed / "nnUNetPlans.json"
    plans = json.loads(plans_file.read_text())
    # Only to be quick: a 32-feature network at full patch takes minutes a step on CI.
    configuration = plans["configurations"]["3d_fullres"]
    configuration["patch_size"] = [32, 32, 32]
    network = configuration["architecture"]["arch_kwargs"]
    network["features_per_stage"] = [min(4 * 2**i, 32) for i in range(network["n_stages"])]
    plans_file.write_text(json.dumps(plans))
    stock = stock_weights(configuration, workspace.base / "stock.pth")
    command = f"nnUNetv2_train {DATASET_ID} 3d_fullres 0 -tr DSMTTrainerShort -device cpu"
    printed = workspace.run(f"{command} -pretrained_weights {stock}", dsmt_validation="off")
    assert "Start from stock.pth of nnUNetTrainer" in printed
    model = workspace.model("DSMTTrainerShort", "nnUNetPlans")
    assert "dsmt" in json.loads((model / "plans.json").read_text())
    assert "dsmt" not in json.loads(plans_file.read_text())
    workspace.run(
        f"nnUNetv2_predict -i {workspace.raw / 'imagesTs'} -o {workspace.base / 'stock_out'} -d {DATASET_ID} "
        f"-c 3d_fullres -f 0 -tr DSMTTrainerShort -device cpu -step_size 1 -npp 0 -nps 0 --disable_tta"
    )
    assert len(list((workspace.base / "stock_out").glob("phantom*.json"))) == 3
