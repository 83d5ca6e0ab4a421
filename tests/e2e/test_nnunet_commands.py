"""nnU-Net's other commands on our models and folders."""

from __future__ import annotations

import getpass
import re
import shutil
import socket
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.training.checkpoints import TRAINING_CASES
from tests.e2e.conftest import DATASET, DATASET_ID, TRAIN, Workspace


def test_cross_validation_results_are_accumulated(trained: Workspace) -> None:
    model = trained.model("DSMTTrainerShort", "DSMTPlansXS")
    # Whose weights answer does not matter to what is accumulated: those of fold 0 do for the cases of fold 1.
    (model / "fold_1").mkdir()
    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    del checkpoint["init_args"][TRAINING_CASES]  # else its validation on cases that it learnt from is refused
    torch.save(checkpoint, model / "fold_1" / "checkpoint_final.pth")
    trained.run(f"{TRAIN.replace('3d_fullres 0', '3d_fullres 1')} --val --npz")
    trained.run(
        f"nnUNetv2_accumulate_crossval_results {DATASET_ID} -c 3d_fullres -tr DSMTTrainerShort -p DSMTPlansXS -f 0 1 "
        f"-o {trained.base / 'accumulated'}"
    )
    assert (trained.base / "accumulated" / "summary.json").is_file()
    trained.run(
        f"nnUNetv2_find_best_configuration {DATASET_ID} -c 3d_fullres -tr DSMTTrainerShort -p DSMTPlansXS -f 0 1 -np 1 "
        f"--disable_ensembling --no_overwrite"
    )


def test_predictions_are_ensembled(trained: Workspace, found: Path) -> None:
    other = shutil.copytree(found, trained.base / "found_again")
    trained.run(f"nnUNetv2_ensemble -i {found} {other} -o {trained.base / 'ensembled'} -np 1")
    assert len(list((trained.base / "ensembled").glob("*.nii.gz"))) == 3


def places(workspace: Workspace) -> set[str]:
    """What says where a model was made: folders, the host, the user."""
    return {
        str(workspace.base),
        str(Path.home()),
        tempfile.gettempdir(),
        socket.gethostname(),
        getpass.getuser(),
    }


def told(archive: Path, workspace: Workspace) -> dict[str, set[str]]:
    """Member of a zip -> which places, cases and patients it names; short names are looked for in text alone."""
    nodules = NoduleTable.read(workspace.raw / "nodules.csv").nodules
    words = places(workspace) | {nodule.case_id for nodule in nodules} | {nodule.patient_id for nodule in nodules}
    found = {}
    with zipfile.ZipFile(archive) as content:
        for name in content.namelist():
            data = content.read(name)
            searched = {word for word in words if len(word) > 5 or "/" in word or name.endswith(".json")}
            found[name] = {word for word in searched if re.search(rb"(?<!\w)%s(?!\w)" % re.escape(word.encode()), data)}
    return {name: words for name, words in found.items() if words}


def test_an_exported_model_is_installed_and_predicts_the_same(
    trained: Workspace, predict: Callable[..., Path], scans_with_positions: Path, given: Path
) -> None:
    archive = trained.base / "model.zip"
    trained.run(
        f"nnUNetv2_export_model_to_zip -d {DATASET_ID} -o {archive} -c 3d_fullres -tr DSMTTrainerShort "
        "-p DSMTPlansXS -f 0"
    )
    leaks = told(archive, trained)
    assert {name for name in leaks if not name.endswith("validation/summary.json")} == set()
    assert places(trained).isdisjoint(set().union(*leaks.values())), (
        "nnU-Net's summary tells Dice by case, and no place"
    )
    ours = trained.base / "ours.zip"
    trained.run(f"dsmt model export -d {DATASET_ID} -tr DSMTTrainerShort -p DSMTPlansXS -o {ours}")
    assert told(ours, trained) == {}
    model = trained.model("DSMTTrainerShort", "DSMTPlansXS")
    aside = model.with_name("aside")
    model.rename(aside)
    try:
        trained.run(f"nnUNetv2_install_pretrained_model_from_zip {archive}")
        predict("after_install", source=scans_with_positions)
    finally:
        shutil.rmtree(model, ignore_errors=True)
        aside.rename(model)
    tables = [(folder / "classification.csv").read_text() for folder in (given, trained.base / "after_install")]
    assert tables[0] == tables[1]
    assert DATASET in str(model)
