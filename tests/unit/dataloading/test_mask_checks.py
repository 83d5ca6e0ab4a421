"""Preprocessed cases whose files, masks and rows do not belong together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from batchgenerators.utilities.file_and_folder_operations import load_pickle, save_pickle
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.dataloading.context_volumes import ContextStore, make_context_volumes
from dsmt_nnunet.dataloading.mask_checks import check_preprocessed_masks
from dsmt_nnunet.nnunet_folders import RawCases
from dsmt_nnunet.nodules import EmptyCase, NoduleTable
from tests.unit.dataloading.conftest import SPACING, SmallData


@pytest.fixture
def data(small_data: SmallData, tmp_path: Path) -> SmallData:
    """The two cases as nnU-Net keeps them, each with a mask of 27 voxels at its nodule; with coarse copies."""
    folder = tmp_path / "nnUNetPlans_3d_fullres"
    folder.mkdir()
    for nodule in small_data.table.nodules:
        image, _, _, properties = small_data.dataset.load_case(nodule.case_id)
        voxel = small_data.store.local_geometry(nodule.case_id).to_voxel(nodule.centre_mm)
        z, y, x = np.rint(voxel).astype(int)
        mask = np.zeros(image.shape, dtype=np.int8)
        mask[0, z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = 1
        properties = {**properties, "class_locations": {1: np.argwhere(mask)}}
        nnUNetDatasetBlosc2.save_case(np.array(image), mask, properties, str(folder / nodule.case_id))
    own = replace(
        small_data,
        dataset=nnUNetDatasetBlosc2(str(folder)),
        store=ContextStore.beside(folder, small_data.plan.context),
    )
    assert make(own) == 2
    return own


def make(data: SmallData) -> int:
    return make_context_volumes(data.dataset, data.store, RawCases(data.images), PlansManager(data.plans), SPACING)


def file_of(data: SmallData, name: str) -> Path:
    return Path(data.dataset.source_folder) / name


@pytest.mark.parametrize("endings", [["_seg.b2nd"], [".pkl"], ["_seg.b2nd", ".b2nd"]])
def test_files_of_two_cases_that_were_swapped_are_told(data: SmallData, endings: list[str]) -> None:
    for ending in endings:
        first, second = (file_of(data, f"case{number}{ending}") for number in (0, 1))
        first.rename(aside := first.with_suffix(".aside"))
        second.rename(first)
        aside.rename(second)
    with pytest.raises(ValueError, match=r"Case 'case0': its preprocessed mask is not the one .*again"):
        make(data)


def test_cases_that_were_swapped_whole_contradict_their_rows(data: SmallData) -> None:
    first, second = data.table.nodules
    swapped = (
        replace(first, centre_mm=second.centre_mm),
        replace(second, centre_mm=first.centre_mm),
    )
    check_preprocessed_masks(data.table, data.dataset, data.store.local_geometry)
    with pytest.raises(ValueError, match=r"'case0', nodule '1'.* mm from all that is drawn[^\0]*'case1', nodule '1'"):
        check_preprocessed_masks(NoduleTable(swapped), data.dataset, data.store.local_geometry)


@pytest.mark.parametrize("ending", [".b2nd", "_seg.b2nd", ".pkl"])
@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "lost"])
def test_damaged_files_of_a_case_are_named(data: SmallData, ending: str, damage: str) -> None:
    path = file_of(data, f"case1{ending}")
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        middle = len(content) // 3
        content[middle : middle + 40] = bytes(255 - value for value in content[middle : middle + 40])
    path.write_bytes(content if damage == "flipped" else b"" if damage == "empty" else content[: len(content) // 2])
    if damage == "lost":
        path.unlink()
    with pytest.raises(ValueError, match=r"Case 'case1': its preprocessed .* Remove the files .*case1\* .*'dsmt plan'"):
        make(data)


def test_rows_and_masks_that_contradict_each_other_are_told(data: SmallData) -> None:
    first, second = data.table.nodules
    path = file_of(data, "case1.pkl")
    save_pickle({**load_pickle(str(path)), "class_locations": {1: []}}, str(path))
    tables = {
        r"'case1' has 1 rows, but its mask is empty": data.table,
        r"'case0' holds no nodule .* shows 27 voxels": NoduleTable((), empty=(EmptyCase("case0", "P"),)),
        r"names 1 cases .*\(elsewhere\)": NoduleTable((first, replace(second, case_id="elsewhere"))),
    }
    for said, table in tables.items():
        with pytest.raises(ValueError, match=said):
            check_preprocessed_masks(table, data.dataset, data.store.local_geometry)
    none_there = NoduleTable((first,), empty=(EmptyCase("case1", "P"),))
    check_preprocessed_masks(none_there, data.dataset, data.store.local_geometry)
