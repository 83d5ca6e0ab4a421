from __future__ import annotations

import multiprocessing
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batchgenerators.utilities.file_and_folder_operations import load_pickle, write_pickle
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetNumpy
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.dataloading.context_volumes import (
    ContextStore,
    ContextVolume,
    averaging_matrix,
    coarse_copy,
    make_context_volumes,
    source_files,
)
from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.nnunet_folders import RawCases
from dsmt_nnunet.plan import ContextPlan
from tests.unit.dataloading.conftest import SPACING, SmallData
from tests.unit.small_plans import centroid

PLAN = ContextPlan(spacing_mm=2.5, grid=8, features=(4,), windows=((-1000.0, 1000.0),))
GRIDS = [(20, 1.0, 2.5), (20, 0.7, 2.5), (7, 5.0, 2.5), (9, 2.5, 2.5), (3, 0.5, 4.0), (11, 3.3, 2.0)]


def properties(spacing_zyx: tuple[float, float, float]) -> dict[str, Any]:
    stuff = {
        "spacing": spacing_zyx[::-1],
        "origin": (0.0, 0.0, 0.0),
        "direction": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    }
    return {"sitk_stuff": stuff, "spacing": list(spacing_zyx)}


@pytest.mark.parametrize(("length", "fine", "coarse"), GRIDS)
def test_each_coarse_voxel_is_the_mean_of_the_signal_over_its_box(length: int, fine: float, coarse: float) -> None:
    signal = np.random.default_rng(0).normal(size=length)
    averaged = averaging_matrix(length, fine, coarse) @ signal
    width = max(fine, coarse)
    for index, value in enumerate(averaged):
        centre = (index + 0.5) * coarse
        positions = np.linspace(centre - width / 2, centre + width / 2, 20_001)
        positions = positions[(positions >= 0) & (positions < length * fine)]
        assert value == pytest.approx(signal[(positions / fine).astype(int)].mean(), abs=2e-3)


@pytest.mark.parametrize(("length", "fine", "coarse"), GRIDS)
def test_a_constant_stays_and_the_whole_extent_is_covered(length: int, fine: float, coarse: float) -> None:
    matrix = averaging_matrix(length, fine, coarse)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-6)
    assert (matrix.sum(axis=0) > 0).all()
    assert 0 <= len(matrix) * coarse - length * fine < coarse


def test_fine_detail_is_averaged_out_not_aliased() -> None:
    stripes = np.tile([1.0, -1.0], 30)
    averaged = averaging_matrix(60, 0.5, 2.5) @ stripes
    assert np.abs(averaged).max() <= 0.2 + 1e-6
    assert np.abs(stripes[2::5]).min() == 1.0


def test_the_copy_of_an_aligned_crop_is_the_crop_of_the_copy() -> None:
    image = np.random.default_rng(0).uniform(-1000, 1000, size=(1, 20, 25, 30))
    whole = coarse_copy(image, properties((1.25, 0.5, 1.0)), (0, 1, 2), PLAN)
    part = coarse_copy(image[:, 4:, 10:20, 5:], properties((1.25, 0.5, 1.0)), (0, 1, 2), PLAN)
    np.testing.assert_allclose(part.array, whole.array[:, 2:, 2:4, 2:], atol=2e-3)


def test_the_axes_are_transposed_as_those_of_the_preprocessed_array() -> None:
    image = np.random.default_rng(0).uniform(-1000, 1000, size=(1, 5, 10, 20))
    plain = coarse_copy(image, properties((2.5, 1.0, 0.5)), (0, 1, 2), PLAN)
    transposed = coarse_copy(image, properties((2.5, 1.0, 0.5)), (2, 0, 1), PLAN)
    np.testing.assert_allclose(transposed.array, plain.array.transpose(0, 3, 1, 2), atol=2e-3)
    assert transposed.geometry.to_voxel((3.0, 2.0, 1.0)) == pytest.approx(
        plain.geometry.to_voxel((3.0, 2.0, 1.0))[[2, 0, 1]]
    )


def test_intensities_are_windowed_and_other_modalities_standardised() -> None:
    image = np.stack([np.full((4, 4, 4), 3000.0), np.random.default_rng(0).normal(50, 9, size=(4, 4, 4))])
    plan = replace(PLAN, spacing_mm=1.0, windows=((-1000.0, 1000.0), None))
    copy = coarse_copy(image, properties((1.0, 1.0, 1.0)), (0, 1, 2), plan).array.astype(float)
    assert (copy[0] == 1.0).all()
    assert copy[1].mean() == pytest.approx(0, abs=1e-2)
    assert copy[1].std() == pytest.approx(1, abs=1e-2)


def test_a_patch_outside_the_scan_is_air() -> None:
    array = np.random.default_rng(0).uniform(-0.5, 1, size=(1, 6, 6, 6)).astype(np.float16)
    volume = ContextVolume(array, ArrayGeometry((2.5,) * 3, (6, 6, 6), np.eye(3, 4)), fill=(-1.0,))
    patch = volume.patch((0.0, 0.0, 0.0), 5)
    assert patch.dtype == np.float16
    assert (patch[0, :2] == -1).all()
    np.testing.assert_array_equal(patch[0, 2:, 2:, 2:], array[0, :3, :3, :3])
    assert (volume.patch((500.0, 0.0, 0.0), 5) == -1).all()


def test_a_nodule_lies_in_the_middle_of_its_context_patch(small_data: SmallData) -> None:
    for nodule in small_data.table.nodules:
        patch = small_data.store.load(nodule.case_id).patch(nodule.centre_mm, 15)
        assert centroid(patch[0], air=-1.0) == pytest.approx([7, 7, 7], abs=0.7)


@pytest.fixture
def data(small_data: SmallData, tmp_path: Path) -> SmallData:
    """A copy whose files a test may change; without coarse copies."""
    folder = tmp_path / "nnUNetPlans_3d_fullres"
    shutil.copytree(small_data.dataset.source_folder, folder)
    store = ContextStore.beside(folder, small_data.plan.context)
    return replace(small_data, dataset=nnUNetDatasetNumpy(str(folder)), store=store)


def make(data: SmallData, images: dict[str, list[str]] | None = None) -> int:
    chosen = data.images if images is None else images
    return make_context_volumes(data.dataset, data.store, RawCases(chosen), PlansManager(data.plans), SPACING)


def test_copies_are_made_once(data: SmallData) -> None:
    assert make(data) == 2
    assert make(data) == 0
    assert sorted(p.name for p in data.store.folder.iterdir()) == [
        f"case{i}.{e}" for i in (0, 1) for e in ("json", "npy")
    ]


@pytest.mark.parametrize("change", [{"spacing_mm": 3.0}, {"windows": ((-1024.0, 100.0),)}])
def test_copies_made_otherwise_are_made_again(data: SmallData, change: dict[str, Any]) -> None:
    make(data)
    other = replace(data, store=replace(data.store, plan=replace(data.store.plan, **change)))
    assert make(other) == 2
    assert make(other) == 0


def test_a_copy_of_a_case_that_was_preprocessed_again_is_made_again(data: SmallData) -> None:
    make(data)
    properties = Path(data.dataset.source_folder) / "case1.pkl"
    os.utime(properties, (1, 1))
    assert make(data) == 0, "a copied folder has other times"
    write_pickle({**load_pickle(str(properties)), "again": True}, str(properties))
    assert make(data) == 1


def test_a_copy_of_a_case_whose_intensities_alone_changed_is_made_again(data: SmallData) -> None:
    make(data)
    array = Path(data.dataset.source_folder) / "case1.npy"
    np.save(array, np.load(array) + 0.1)
    assert make(data) == 1
    assert make(data) == 0


@pytest.mark.parametrize("keep", [0, 100, -8])
def test_a_cut_copy_is_named_when_read_and_made_again(data: SmallData, keep: int) -> None:
    make(data)
    array = data.store.folder / "case0.npy"
    array.write_bytes(array.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"case0\.npy is cut off"):
        data.store.load("case0")
    assert make(data) == 1
    assert data.store.load("case0").array.shape[0] == 1


def test_a_copy_of_other_bytes_is_made_again(data: SmallData) -> None:
    make(data)
    array = data.store.folder / "case0.npy"
    content = bytearray(array.read_bytes())
    content[-7] ^= 1
    array.write_bytes(content)
    assert make(data) == 1


def test_what_a_case_is_not_is_named(data: SmallData) -> None:
    points = {nodule.case_id: [nodule.centre_mm] for nodule in data.table.nodules}
    in_air = {**points, "case1": [(-29.0, 8.0, 101.0)]}
    arguments = (data.dataset, data.store, RawCases(data.images), PlansManager(data.plans), SPACING)
    with pytest.raises(ValueError, match=r"Case 'case1': position .* only air"):
        make_context_volumes(*arguments, points_of=in_air)
    image = Path(data.images["case1"][0])
    whole = image.read_bytes()
    try:
        image.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=r"Case 'case1': .*cannot be read"):
            make_context_volumes(*arguments, points_of=points)
    finally:
        image.write_bytes(whole)
    assert make_context_volumes(*arguments, points_of=points) == 1


@pytest.mark.parametrize("damage", ["half a header", "no array"])
def test_a_damaged_copy_is_made_again(data: SmallData, damage: str) -> None:
    make(data)
    if damage == "no array":
        (data.store.folder / "case0.npy").unlink()
    else:
        header = data.store.folder / "case0.json"
        header.write_text(header.read_text()[:20])
    assert make(data) == 1


def test_without_images_the_missing_cases_are_named(data: SmallData) -> None:
    with pytest.raises(FileNotFoundError, match=r"2 cases \(case0, case1"):
        make(data, {})
    make(data)
    assert make(data, {}) == 0


@pytest.mark.parametrize("there", [False, True])
def test_a_case_whose_array_has_another_voxel_size_is_named(data: SmallData, there: bool) -> None:
    if there:
        make(data)
    with pytest.raises(ValueError, match="Case 'case0': The preprocessed array has a voxel size"):
        make_context_volumes(data.dataset, data.store, RawCases(data.images), PlansManager(data.plans), (2.0, 0.9, 1.1))


def test_an_interrupted_write_leaves_no_copy(data: SmallData, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_disk)
        with pytest.raises(OSError, match="No space"):
            make(data)
    assert not data.store.has("case0", source_files(Path(data.dataset.source_folder), "case0"), SPACING)
    assert make(data) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_at_once_leave_whole_copies(data: SmallData) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=make, args=(data,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert make(data) == 0
    assert not [path.name for path in data.store.folder.iterdir() if path.name.startswith(".")]
    for case_id in data.dataset.identifiers:
        volume = data.store.load(case_id)
        assert volume.array.shape[1:] == volume.geometry.shape
