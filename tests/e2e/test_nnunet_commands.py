"""nnU-Net's other commands on our models and folders."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.e2e.conftest import DATASET, DATASET_ID, TRAIN, Workspace


def test_cross_validation_results_are_accumulated(trained: Workspace) -> None:
    model = trained.model("DSMTTrainerShort", "DSMTPlansXS")
    if not (model / "fold_1" / "checkpoint_final.pth").is_file():
        trained.run(f"{TRAIN.replace('3d_fullres 0', '3d_fullres 1')} --npz")
    trained.run(
        f"nnUNetv2_accumulate_crossval_results {DATASET_ID} -c 3d_fullres -tr DSMTTrainerShort -p DSMTPlansXS -f 0 1 "
        f"-o {trained.base / 'accumulated'}"
    )
    assert (trained.base / "accumulated" / "summary.json").is_file()
    trained.run(
        f"nnUNetv2_find_best_configuration {DATASET_ID} -c 3d_fullres -tr DSMTTrainerShort -p DSMTPlansXS -f 0 1 -np 1"
    )


def test_predictions_are_ensembled(trained: Workspace, found: Path) -> None:
    other = shutil.copytree(found, trained.base / "found_again")
    trained.run(f"nnUNetv2_ensemble -i {found} {other} -o {trained.base / 'ensembled'} -np 1")
    assert len(list((trained.base / "ensembled").glob("*.nii.gz"))) == 3


def test_an_exported_model_is_installed_and_predicts_the_same(
    trained: Workspace, predict: Callable[..., Path], scans_with_positions: Path, given: Path
) -> None:
    archive = trained.base / "model.zip"
    trained.run(
        f"nnUNetv2_export_model_to_zip -d {DATASET_ID} -o {archive} -c 3d_fullres -tr DSMTTrainerShort "
        "-p DSMTPlansXS -f 0"
    )
    with zipfile.ZipFile(archive) as content:
        assert not [name for name in content.namelist() if "nodules.csv" in name or name.endswith("phantom_0001.json")]
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
