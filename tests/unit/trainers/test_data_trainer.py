"""What a trainer asks of its preprocessed cases before it learns from them."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.plan import PLAN_KEY
from dsmt_nnunet.planners.preprocessing import Recipe
from dsmt_nnunet.trainers.data_trainer import DataTrainer
from tests.unit.small_plans import CONFIGURATION, DATASET_JSON, SCHEMA, blob_image, small_plan, stock_plans, write_json

CENTRES = ((8.0, 8.0, 9.0), (40.0, 38.0, 36.0))


@pytest.fixture
def trainer(trainer_folders: Path, monkeypatch: pytest.MonkeyPatch) -> DataTrainer:
    """Of two scans of one size, preprocessed by nnU-Net, each with its nodule and a mask of it."""
    monkeypatch.setattr("dsmt_nnunet.trainers.data_trainer.default_num_processes", 1)
    plans = stock_plans()
    plans[PLAN_KEY] = small_plan(plans).to_block()
    manager = PlansManager(plans)
    raw, preprocessed = (trainer_folders / kind / "Dataset901_Tiny" for kind in ("raw", "preprocessed"))
    write_json(raw / "dataset.json", DATASET_JSON)
    nodules = []
    for number, centre in enumerate(CENTRES):
        case_id = f"case{number}"
        image, world = blob_image((48, 48, 48), (1.0, 1.0, 1.0), centre)
        mask = sitk.Cast(image > -500, sitk.sitkUInt8)
        scan, drawn = raw / "imagesTr" / f"{case_id}_0000.nii.gz", raw / "labelsTr" / f"{case_id}.nii.gz"
        for path, content in ((scan, image), (drawn, mask)):
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(content, path)
        data, segmentation, properties = DefaultPreprocessor(verbose=False).run_case(
            [str(scan)], str(drawn), manager, manager.get_configuration(CONFIGURATION), DATASET_JSON
        )
        stem = preprocessed / "nnUNetPlans_3d_fullres" / case_id
        nnUNetDatasetBlosc2.save_case(np.asarray(data), np.asarray(segmentation), properties, str(stem))
        nodules.append(Nodule(case_id, "1", f"patient{number}", world, labels={"invasiveness": "invasive"}))
    NoduleTable(tuple(nodules)).write(raw / "nodules.csv", SCHEMA)
    own = DataTrainer(plans, CONFIGURATION, 0, deepcopy(DATASET_JSON), torch.device("cpu"))
    own.dataset_class = nnUNetDatasetBlosc2
    return own


@pytest.mark.parametrize(
    ("endings", "told"),
    [
        (["_seg.b2nd"], r"'case0': its preprocessed mask is not the one that its properties"),
        (["_seg.b2nd", ".pkl"], r"contradict each other[^\0]*'case0', nodule '1'[^\0]*'case1', nodule '1'"),
    ],
)
def test_two_cases_whose_masks_were_swapped_are_not_learnt_from(
    trainer: DataTrainer, endings: list[str], told: str
) -> None:
    trainer._make_context_volumes()
    for ending in endings:
        first, second = (Path(trainer.preprocessed_dataset_folder) / f"case{number}{ending}" for number in (0, 1))
        first.rename(aside := first.with_suffix(".aside"))
        second.rename(first)
        aside.rename(second)
    with pytest.raises(ValueError, match=told):
        trainer.get_dataloaders()


def test_cases_that_were_preprocessed_with_other_plans_are_not_learnt_from(trainer: DataTrainer) -> None:
    folder = Path(trainer.preprocessed_dataset_folder)
    Recipe({"transpose_forward": [2, 1, 0]}, {}).write(folder.with_name(f"{folder.name}_recipe.json"))
    with pytest.raises(ValueError, match=r"preprocessed with other plans: they differ in .*transpose_forward"):
        trainer.get_dataloaders()


def test_a_mask_that_lies_in_another_order_of_voxels_is_not_learnt_from(trainer: DataTrainer) -> None:
    (path,) = (Path(trainer.preprocessed_dataset_folder).parents[2] / "raw").glob("*/labelsTr/case0.nii.gz")
    sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(path), "RPI"), path)
    with pytest.raises(ValueError, match=r"Case 'case0': its mask case0\.nii\.gz does not lie on its image"):
        trainer.get_dataloaders()


def test_a_scan_of_two_patients_is_not_learnt_from(trainer: DataTrainer) -> None:
    trainer._make_context_volumes()
    for header in trainer._context_store().folder.glob("*.json"):
        write_json(header, {**json.loads(header.read_text()), "scan": "the same"})
    with pytest.raises(ValueError, match=r"'case0' \(patient 'patient0'\) and 'case1' .* hold the same voxels"):
        trainer.get_dataloaders()


def test_a_copy_tells_which_scan_it_is_of(trainer: DataTrainer) -> None:
    trainer._make_context_volumes()
    store = trainer._context_store()
    assert len({store.scan_of(case_id) for case_id in ("case0", "case1")} - {None}) == 2
