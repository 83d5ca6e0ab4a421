"""A data set of two cases with one bright nodule each, preprocessed by nnU-Net, with its coarse copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import SimpleITK as sitk
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.dataloading.context_volumes import ContextStore, make_context_volumes
from dsmt_nnunet.nnunet_folders import RawCases
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.plan import DSMTPlan
from tests.unit.small_plans import blob_image, preprocessed_dataset, small_plan, stock_plans

SPACING = (2.0, 0.9, 0.9)
TRANSPOSE = (0, 1, 2)


@dataclass(frozen=True)
class SmallData:
    """Everything a loader needs."""

    dataset: Any
    store: ContextStore
    plan: DSMTPlan
    plans: dict[str, Any]
    table: NoduleTable
    images: dict[str, list[str]]


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> SmallData:
    folder = tmp_path_factory.mktemp("small")
    plans = stock_plans(spacing=SPACING, patch_size=(8, 16, 16), transpose_forward=TRANSPOSE)
    plan = small_plan(plans)
    images: dict[str, list[str]] = {}
    nodules = []
    for number, centre in enumerate(((20.0, 15.0, 12.0), (33.0, 30.0, 9.0))):
        image, world = blob_image((44, 40, 24), (1.0, 1.1, 2.0), centre, origin=(-30.0, 7.5, 100.0))
        path = folder / f"case{number}_0000.nii.gz"
        sitk.WriteImage(image, str(path))
        images[f"case{number}"] = [str(path)]
        labels = {"texture": "solid", "invasiveness": ("non-invasive", "invasive")[number]}
        nodules.append(Nodule(f"case{number}", "1", f"patient{number}", world, labels=labels))
    dataset = preprocessed_dataset(folder / "nnUNetPlans_3d_fullres", images, plans)
    store = ContextStore.beside(dataset.source_folder, plan.context)
    make_context_volumes(dataset, store, RawCases(images), PlansManager(plans), SPACING)
    return SmallData(dataset, store, plan, plans, NoduleTable(tuple(nodules)), images)
