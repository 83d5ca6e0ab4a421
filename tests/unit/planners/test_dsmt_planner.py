from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet.nodules import EmptyCase, Nodule, NoduleTable
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.planners.dsmt_planner import DSMTPlanner, DSMTPlannerResEncM, DSMTPlannerXS
from dsmt_nnunet.planners.nodule_extents import nodule_extents_mm
from dsmt_nnunet.planners.nodule_planning import CONFIGURATION
from tests.unit.planners.conftest import NAME, NEGATIVE, POSITIVE, Plan
from tests.unit.small_plans import SCHEMA


def patch_mm(plans: dict[str, Any]) -> np.ndarray:
    configuration = plans["configurations"][CONFIGURATION]
    return np.asarray(configuration["patch_size"]) * np.asarray(configuration["spacing"])


@pytest.mark.parametrize(
    ("spacing", "extent"), [((1.25, 0.8, 0.8), 25.0), ((5.0, 0.7, 0.7), 25.0), ((0.625, 0.6, 0.6), 8.0)]
)
def test_the_local_patch_holds_the_99th_percentile_and_a_margin(
    plan: Plan, spacing: tuple[float, float, float], extent: float
) -> None:
    extents = np.full((1000, 3), 5.0)
    extents[:20, 1] = extent
    extents[0] = 90.0
    plans = plan(spacing=spacing, shape=[int(300 / value) for value in spacing], extents_mm=extents)
    wanted = extent + 2 * DSMTPlannerXS.margin_mm
    assert (patch_mm(plans) >= wanted - 1e-6).all()
    finest = np.asarray(plans["configurations"][CONFIGURATION]["spacing"])
    assert (patch_mm(plans) < wanted + 16 * finest + 1e-6).all()


def test_only_the_full_resolution_is_planned_and_the_file_holds_the_block(plan: Plan, tmp_path: Path) -> None:
    plans = plan()
    assert list(plans["configurations"]) == [CONFIGURATION]
    assert DSMTPlan.from_plans(plans).schema == SCHEMA
    assert (tmp_path / "preprocessed" / NAME / "DSMTPlansXS.json").is_file()
    assert plans["configurations"][CONFIGURATION]["median_image_size_in_voxels"] == [240, 256, 256]


@pytest.mark.parametrize("labels", [(NEGATIVE, NEGATIVE), (None, POSITIVE), (None, None)])
def test_a_primary_class_without_nodules_is_refused(plan: Plan, labels: Sequence[str | None]) -> None:
    with pytest.raises(ValueError, match="no training nodule of class"):
        plan(labels=labels)


@pytest.mark.parametrize(("nodules", "expected"), [(4, 8), (20, 8), (48, 12), (4000, 24)])
def test_the_batch_is_a_quarter_of_the_nodules_between_the_caps(
    plan: Plan, nodules: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DSMTPlannerXS, "max_batch_size", 24)
    size = plan(nodules=nodules, cases=5000)["configurations"][CONFIGURATION]["batch_size"]
    assert size == expected, "the memory is ample, so that the nodules decide"


def test_a_small_data_set_is_planned_for(plan: Plan) -> None:
    assert plan(cases=2, nodules=2)["configurations"][CONFIGURATION]["batch_size"] == 8


def test_five_millimetre_slices_keep_their_axis_apart(plan: Plan) -> None:
    configuration = plan(spacing=(5.0, 0.7, 0.7), shape=(60, 512, 512))["configurations"][CONFIGURATION]
    assert configuration["spacing"][0] == 5.0
    strides = configuration["architecture"]["arch_kwargs"]["strides"]
    assert strides[1][0] == 1
    assert list(strides[1][1:]) == [2, 2]


def test_scans_smaller_than_the_wanted_patch_limit_it(plan: Plan) -> None:
    plans = plan(spacing=(1.25, 1.25, 1.25), shape=(24, 40, 40), extents_mm=[[60.0] * 3] * 5)
    patch = plans["configurations"][CONFIGURATION]["patch_size"]
    assert patch[0] <= 32
    assert max(patch[1:]) <= 48
    assert DSMTPlan.from_plans(plans).context.field_of_view_mm <= 50 + 8 * 5


def test_slices_along_another_axis_are_transposed_to_the_front(plan: Plan) -> None:
    # The scan is 40 mm thick, which limits the patch across the slices and nowhere else.
    plans = plan(spacing=(0.8, 5.0, 0.8), shape=(400, 8, 400), extents_mm=[[40.0] * 3] * 4)
    assert plans["transpose_forward"] == [1, 0, 2]
    assert plans["configurations"][CONFIGURATION]["spacing"][0] == 5.0
    across, *within = patch_mm(plans)
    assert across == 40.0
    assert min(within) >= 40 + 2 * 12 - 1e-6


def test_thousands_of_cases_are_planned_for(plan: Plan) -> None:
    extents = np.random.default_rng(0).uniform(4, 30, size=(6000, 3))
    plans = plan(DSMTPlanner, cases=5000, nodules=6000, extents_mm=extents)
    assert 2 < plans["configurations"][CONFIGURATION]["batch_size"] <= DSMTPlanner.max_batch_size
    assert (patch_mm(plans) >= 29 + 32).all()


def test_whole_body_scans_have_the_context_of_a_chest(plan: Plan) -> None:
    plans = plan(DSMTPlanner, spacing=(2.0, 0.98, 0.98), shape=(900, 512, 512))
    assert DSMTPlan.from_plans(plans).context.field_of_view_mm == DSMTPlanner.context_field_of_view_mm
    assert (patch_mm(plans) < 20 + 2 * DSMTPlanner.margin_mm + 32).all()


def test_nodules_larger_than_the_scans_leave_a_patch_of_the_scans_size(plan: Plan) -> None:
    plans = plan(spacing=(1.25, 1.25, 1.25), shape=(16, 24, 24), extents_mm=[[90.0] * 3] * 5)
    assert list(plans["configurations"][CONFIGURATION]["patch_size"]) == [16, 24, 24]
    assert DSMTPlan.from_plans(plans).heads.central_region_mm == 100.0


def test_a_larger_context_leaves_room_for_fewer_patches(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DSMTPlannerXS, "max_batch_size", 10_000)
    options: dict[str, Any] = {"nodules": 2000, "gpu_memory_target_in_gb": 4}
    small = plan(**options)["configurations"][CONFIGURATION]["batch_size"]
    monkeypatch.setattr(DSMTPlannerXS, "context_spacing_mm", 1.25)
    large = plan(**options)["configurations"][CONFIGURATION]["batch_size"]
    assert large < 0.7 * small


def test_crops_have_no_patches_without_nodule_and_few_nodules_a_short_epoch(plan: Plan) -> None:
    crops = plan(DSMTPlanner, spacing=(1.25, 0.8, 0.8), shape=(20, 40, 40), nodules=12, cases=12)
    training = DSMTPlan.from_plans(crops).training
    assert training.background_share == 0.0
    batch = crops["configurations"][CONFIGURATION]["batch_size"]
    assert training.iterations_per_epoch * batch == pytest.approx(20 * 12, abs=batch)
    scans = DSMTPlan.from_plans(plan(DSMTPlanner, nodules=5000, cases=5000)).training
    assert (scans.background_share, scans.iterations_per_epoch) == (0.25, 250)


def test_every_decision_has_its_reason(plan: Plan) -> None:
    decisions = DSMTPlan.from_plans(plan(labels=(NEGATIVE, POSITIVE, POSITIVE), nodules=30)).decisions
    assert set(decisions) == {
        *("local patch", "batch size", "context patch", "context encoder", "central region"),
        *("class balance", "patches without nodule", "budget", "context", "spacing"),
    }
    assert f"invasiveness {NEGATIVE} 10, {POSITIVE} 20" in decisions["class balance"]


def test_the_central_region_holds_the_largest_nodules(plan: Plan) -> None:
    assert DSMTPlan.from_plans(plan(extents_mm=[[22.0, 10.0, 9.0]] * 5)).heads.central_region_mm == 32.0


def test_the_residual_preset_builds_on_the_residual_encoder(plan: Plan) -> None:
    plans = plan(DSMTPlannerResEncM, cases=500)
    architecture = plans["configurations"][CONFIGURATION]["architecture"]
    assert architecture["network_class_name"].endswith("ResidualEncoderUNet")
    assert (patch_mm(plans) >= 20 + 32).all()


def test_a_given_voxel_size_is_kept_and_the_smallest_preset_has_a_floor(plan: Plan) -> None:
    fine = {"spacing": (0.6, 0.5, 0.5), "shape": (300, 400, 400)}
    assert plan(**fine)["configurations"][CONFIGURATION]["spacing"] == [1.25] * 3
    given = plan(**fine, overwrite_target_spacing=[1.0, 0.9, 0.9])
    assert given["configurations"][CONFIGURATION]["spacing"] == [1.0, 0.9, 0.9]
    crops = plan(spacing=(0.6, 0.5, 0.5), shape=(30, 70, 70))
    assert crops["configurations"][CONFIGURATION]["spacing"] == [1.0] * 3
    assert "reads crops no finer than 1 mm" in DSMTPlan.from_plans(crops).decisions["spacing"]


def mask_file(folder: Path, boxes: Sequence[tuple[slice, ...]], name: str = "m.nii.gz") -> Path:
    array = np.zeros((10, 20, 30), dtype=np.uint8)
    for box in boxes:
        array[box] = 1
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 1.0, 2.0))
    sitk.WriteImage(image, str(folder / name))
    return folder / name


NODULE = (slice(1, 4), slice(2, 7), slice(3, 13))  # its middle is 3.5, 4, 4 mm (x, y, z)


def test_extents_are_those_of_each_nodule_in_millimetres(tmp_path: Path) -> None:
    boxes = [NODULE, (slice(8, 9), slice(15, 17), slice(20, 21))]
    masks = {"a": mask_file(tmp_path, boxes), "b": mask_file(tmp_path, [], "empty.nii.gz")}
    extents = nodule_extents_mm(masks, NoduleTable((), (EmptyCase("b", "p"),)))
    np.testing.assert_allclose(sorted(extents.tolist()), [[2.0, 2.0, 0.5], [6.0, 5.0, 5.0]])


def test_rows_that_name_no_case_are_refused_and_cases_without_a_row_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    masks = {"a": mask_file(tmp_path, [NODULE])}
    with pytest.raises(ValueError, match=r"names 1 cases that imagesTr does not hold \(A\)"):
        nodule_extents_mm(masks, NoduleTable((Nodule("A", "1", "p", (3.5, 4.0, 4.0)),)))
    nodule_extents_mm(masks, NoduleTable(()))
    assert "1 cases have no row in nodules.csv and teach the segmentation alone: a." in caplog.text


def test_masks_without_any_nodule_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No mask of labelsTr holds a nodule"):
        nodule_extents_mm({"a": mask_file(tmp_path, [])}, NoduleTable(()))


@pytest.mark.parametrize(
    ("table", "drawn", "reason"),
    [
        (NoduleTable((), (EmptyCase("a", "p"),)), True, "case 'a' holds no nodule .* but its mask shows 1"),
        (NoduleTable((Nodule("a", "1", "p", (3.5, 4.0, 4.0)),)), False, "case 'a' has 1 rows, but its mask is empty"),
        (NoduleTable((Nodule("a", "1", "p", (-26.5, 4.0, 4.0)),)), True, "nodule '1': its position .* lies 28 mm from"),
    ],
)
def test_masks_and_rows_that_contradict_each_other_are_refused(
    tmp_path: Path, table: NoduleTable, drawn: bool, reason: str
) -> None:
    masks = {"a": mask_file(tmp_path, [NODULE] if drawn else [])}
    with pytest.raises(ValueError, match=reason):
        nodule_extents_mm(masks, table)
    fitting = NoduleTable((Nodule("a", "1", "p", (3.5, 4.0, 4.0)),))
    assert len(nodule_extents_mm({"a": mask_file(tmp_path, [NODULE])}, fitting)) == 1


@pytest.mark.parametrize(
    ("planner", "name", "memory_gb", "features"),
    [
        (DSMTPlanner, "DSMTPlans", 8, (32, 320)),
        (DSMTPlannerXS, "DSMTPlansXS", 4, (8, 64)),
        (DSMTPlannerResEncM, "DSMTResEncUNetMPlans", 8, (32, 320)),
    ],
)
def test_a_preset_names_its_plans_and_its_memory_and_the_command_may_name_others(
    planner: type, name: str, memory_gb: float, features: tuple[int, int], plan: Plan
) -> None:
    plan()  # makes the raw data set
    own, told = planner(NAME), planner(NAME, 3.5, plans_name="Mine")
    assert (own.plans_identifier, own.UNet_vram_target_GB) == (name, memory_gb)
    assert (told.plans_identifier, told.UNet_vram_target_GB) == ("Mine", 3.5)
    assert (own.UNet_base_num_features, own.UNet_max_features_3d) == features
