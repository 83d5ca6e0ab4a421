"""Options of nnU-Net's commands that the other tests do not use: they work as in stock, or are refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import TRAIN, Workspace, predict_command

CASE = "phantom_test_0001"


@pytest.fixture(scope="module")
def one_scan(trained: Workspace, scans_with_positions: Path) -> Path:
    """One test case and the position of its nodules."""
    folder = trained.base / "in_one"
    folder.mkdir(exist_ok=True)
    shutil.copy(scans_with_positions / f"{CASE}_0000.nii.gz", folder)
    lines = (scans_with_positions / "nodules.csv").read_text().splitlines()
    chosen = [lines[0], *(line for line in lines if line.startswith(f"{CASE},"))]
    (folder / "nodules.csv").write_text("\n".join(chosen))
    return folder


def answer(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / f"{CASE}.json").read_text())
    return content


def test_chk_and_disable_tta_are_told_in_the_case_file(trained: Workspace, one_scan: Path, given: Path) -> None:
    more = "-chk checkpoint_joint.pth --disable_tta --verbose --disable_progress_bar"
    trained.run(predict_command(trained, "joint", more, source=one_scan))
    final, joint = answer(given), answer(trained.base / "joint")
    assert joint["model"]["weights"] != final["model"]["weights"]
    assert (final["model"]["mirroring"], joint["model"]["mirroring"]) == (True, False)
    refused = trained.run(
        predict_command(trained, "joint", "-chk checkpoint_joint.pth --continue_prediction", source=one_scan), status=1
    )
    assert "mirroring differ" in refused


def test_a_model_folder_answers_as_the_data_set_does(trained: Workspace, one_scan: Path, given: Path) -> None:
    model, out = trained.model("DSMTTrainerShort", "DSMTPlansXS"), trained.base / "from_folder"
    trained.run(
        f"nnUNetv2_predict_from_modelfolder -i {one_scan} -o {out} -m {model} -f 0 -device cpu -step_size 1 "
        f"-npp 0 -nps 0"
    )
    assert answer(out)["nodules"] == answer(given)["nodules"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [("-prev_stage_predictions somewhere", "no second stage of a cascade"), ("-f 0 0", "A fold counts once")],
)
def test_what_a_model_cannot_do_is_refused(trained: Workspace, one_scan: Path, more: str, reason: str) -> None:
    command = predict_command(trained, "refused", source=one_scan)
    if more.startswith("-f"):
        command = command.replace("-f 0", more)
        more = ""
    assert reason in trained.run(f"{command} {more}", status=1)
    assert not (trained.base / "refused" / f"{CASE}.json").exists()


def test_other_configurations_and_folds_are_refused_by_name(trained: Workspace) -> None:
    assert "'2d' is missing" in trained.run(TRAIN.replace("3d_fullres", "2d"), status=1)
    assert "There is no fold 7" in trained.run(TRAIN.replace("3d_fullres 0", "3d_fullres 7"), status=1)
    shutil.rmtree(trained.model("DSMTTrainerShort", "DSMTPlansXS") / "fold_7", ignore_errors=True)


def test_masks_are_evaluated_beside_our_files(trained: Workspace, given: Path) -> None:
    model = trained.model("DSMTTrainerShort", "DSMTPlansXS")
    summary = trained.base / "evaluated.json"
    trained.run(
        f"nnUNetv2_evaluate_folder {trained.raw / 'labelsTs'} {given} -djfile {model / 'dataset.json'} "
        f"-pfile {model / 'plans.json'} -o {summary} -np 1"
    )
    assert len(json.loads(summary.read_text())["metric_per_case"]) == 3
