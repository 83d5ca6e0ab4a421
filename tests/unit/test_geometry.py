from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.dataloading.context_volumes import coarse_copy
from dsmt_nnunet.geometry import (
    ArrayGeometry,
    centred_start,
    component_at,
    crop,
    equivalent_diameter_mm,
    nodule_instances,
)
from tests.unit.small_plans import CONFIGURATION, DATASET_JSON, blob_image, centroid, small_plan, stock_plans

SIZE_XYZ, SPACING_XYZ, CENTRE_XYZ = (48, 40, 30), (0.8, 0.9, 1.5), (26.3, 17.6, 13.2)
ORIGIN = (-31.5, 112.25, -740.0)
COS, SIN = math.cos(0.4), math.sin(0.4)
DIRECTIONS = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    "flipped": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "oblique": (COS, -SIN, 0.0, SIN, COS, 0.0, 0.0, 0.0, 1.0),
    "sagittal": (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
}


def saved_blob(folder: Path, direction: str, border: int = 2) -> tuple[str, tuple[float, float, float]]:
    image, world = blob_image(
        SIZE_XYZ, SPACING_XYZ, CENTRE_XYZ, origin=ORIGIN, direction=DIRECTIONS[direction], border=border
    )
    path = folder / "blob_0000.nii.gz"
    sitk.WriteImage(image, str(path))
    return str(path), world


def preprocess(path: str, plans: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    manager = PlansManager(plans)
    data, _, properties = DefaultPreprocessor(verbose=False).run_case(
        [path], None, manager, manager.get_configuration(CONFIGURATION), DATASET_JSON
    )
    return data, properties


@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO", "NibabelIOWithReorient"])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_blob_lies_where_the_geometry_of_the_preprocessed_array_says(
    tmp_path: Path, direction: str, transpose: tuple[int, int, int], reader: str
) -> None:
    path, world = saved_blob(tmp_path, direction)
    # Much finer along one axis and coarser along the others, so that half a voxel of either size would show.
    target = (0.4, 2.0, 2.0)
    plans = stock_plans(spacing=target, transpose_forward=transpose)
    plans["image_reader_writer"] = reader
    data, properties = preprocess(path, plans)
    bbox = np.asarray(properties["bbox_used_for_cropping"])
    assert np.all(bbox[:, 0] > 0), "the test means to have nnU-Net crop"
    geometry = ArrayGeometry.from_properties(properties, transpose, target, data.shape[1:])
    assert geometry.to_voxel(world) == pytest.approx(centroid(data[0]), abs=0.3)


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_blob_in_the_coarse_copy_lies_at_the_same_world_position(
    tmp_path: Path, direction: str, transpose: tuple[int, int, int]
) -> None:
    path, world = saved_blob(tmp_path, direction, border=0)
    image, properties = SimpleITKIO().read_images([path])
    volume = coarse_copy(image, properties, transpose, small_plan().context)
    found = volume.geometry.to_world(centroid(volume.array[0]))
    assert found == pytest.approx(world, abs=0.3)
    assert volume.geometry.to_voxel(world) == pytest.approx(centroid(volume.array[0]), abs=0.15)


def test_voxel_to_world_undoes_world_to_voxel(tmp_path: Path) -> None:
    path, _ = saved_blob(tmp_path, "oblique")
    data, properties = preprocess(path, stock_plans(transpose_forward=(2, 0, 1)))
    geometry = ArrayGeometry.from_properties(properties, (2, 0, 1), (1, 1, 1), data.shape[1:])
    point = (-12.5, 120.0, -730.25)
    assert geometry.to_world(geometry.to_voxel(point)) == pytest.approx(point)


def test_geometry_survives_json(tmp_path: Path) -> None:
    path, world = saved_blob(tmp_path, "oblique")
    data, properties = preprocess(path, stock_plans())
    geometry = ArrayGeometry.from_properties(properties, (0, 1, 2), (1, 1, 1), data.shape[1:])
    read = ArrayGeometry.from_json(geometry.to_json())
    assert (read.spacing_mm, read.shape) == (geometry.spacing_mm, geometry.shape)
    assert read.to_voxel(world) == pytest.approx(geometry.to_voxel(world))


def test_an_array_of_other_plans_is_refused(tmp_path: Path) -> None:
    path, _ = saved_blob(tmp_path, "axial")
    data, properties = preprocess(path, stock_plans(spacing=(1.0, 1.0, 1.0)))
    with pytest.raises(ValueError, match=r"plans say \[1\.0, 1\.2, 1\.0\] mm"):
        ArrayGeometry.from_properties(properties, (0, 1, 2), (1.0, 1.2, 1.0), data.shape[1:])


@pytest.mark.parametrize("length", [5, 8, 33])
def test_rounding_of_the_voxel_count_is_no_error(length: int) -> None:
    for spacing in (0.7, 1.0, 1.31, 2.9):
        properties = {
            "sitk_stuff": {"spacing": (1, 1, 1), "origin": (0, 0, 0), "direction": DIRECTIONS["axial"]},
            "spacing": (1.0, 1.0, 1.0),
            "bbox_used_for_cropping": [[0, length]] * 3,
            "shape_after_cropping_and_before_resampling": (length,) * 3,
        }
        shape = (round(length / spacing),) * 3
        assert ArrayGeometry.from_properties(properties, (0, 1, 2), (spacing,) * 3, shape).shape == shape


def test_images_without_a_position_are_refused() -> None:
    with pytest.raises(ValueError, match="no position in the world"):
        ArrayGeometry.of_coarse_grid({"spacing": (1, 1, 1)}, (0, 1, 2), 2.0, (4, 4, 4))


@pytest.mark.parametrize("reader", [NibabelIO(), NibabelIOWithReorient()])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_nibabel_readers_place_a_blob_in_the_same_world(tmp_path: Path, direction: str, reader: Any) -> None:
    path, world = saved_blob(tmp_path, direction, border=0)
    image, properties = reader.read_images([path])
    assert "original_affine" in properties["nibabel_stuff"]
    geometry = ArrayGeometry.of_coarse_grid(properties, (0, 1, 2), 1.0, image.shape[1:])
    # On a grid of 1 mm that begins at the image's corner, a position in mm from the corner less half a voxel.
    spacing = np.asarray(properties["spacing"])
    expected = (centroid(image[0]) + 0.5) * spacing - 0.5
    assert geometry.to_voxel(world) == pytest.approx(expected, abs=0.05)


def test_contains_counts_whole_voxels_and_the_margin() -> None:
    geometry = ArrayGeometry((2.0, 1.0, 1.0), (4, 5, 6), np.eye(3, 4))
    assert geometry.contains((-0.5, 0, 5.5))
    assert not geometry.contains((-0.6, 0, 0))
    assert not geometry.contains((0, 4.6, 0))
    assert geometry.contains((-1.4, -1.4, 0), margin_mm=2.0)
    assert not geometry.contains((-1.6, 0, 0), margin_mm=2.0)


@pytest.mark.parametrize("start", [(0, 0, 0), (-2, 1, 3), (3, -1, 2), (2, 4, -5), (-3, -3, -3)])
@pytest.mark.parametrize("size", [(3, 4, 5), (8, 2, 12)])
def test_crop_equals_the_crop_of_a_padded_array(start: tuple[int, ...], size: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=(2, 5, 6, 7))
    wide = np.stack([np.pad(channel, 20, constant_values=fill) for channel, fill in zip(array, (-3, 4), strict=True)])
    expected = wide[(slice(None), *(slice(s + 20, s + 20 + n) for s, n in zip(start, size, strict=True)))]
    np.testing.assert_array_equal(crop(array, start, size, [-3, 4]), expected)


@pytest.mark.parametrize("start", [(-10, 0, 0), (0, 6, 0), (100, 100, -100)])
def test_crop_outside_the_array_is_filled(start: tuple[int, ...]) -> None:
    box = crop(np.ones((1, 5, 6, 7), dtype=np.float32), start, (3, 3, 3), [-7])
    assert box.dtype == np.float32
    np.testing.assert_array_equal(box, np.full((1, 3, 3, 3), -7))


@pytest.mark.parametrize("size", [1, 4, 5, 64, 65])
def test_a_centred_box_has_its_centre_nearest_to_the_position(size: int) -> None:
    for centre in np.linspace(-3, 12, 61):
        (start,) = centred_start([centre], [size])
        assert abs(start + (size - 1) / 2 - centre) <= 0.5 + 1e-9


def two_balls() -> np.ndarray:
    grid = np.indices((12, 24, 24))
    mask = np.zeros((12, 24, 24), dtype=np.int8)
    for centre, radius in (((3, 6, 6), 2), ((7, 16, 17), 4)):
        distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)))
        mask[distance <= radius] = 1
    return mask


def test_instances_come_largest_first_with_centroid_and_volume() -> None:
    mask = two_balls()
    large, small = nodule_instances(mask, (2.0, 0.5, 0.5))
    assert large.centroid == pytest.approx((7, 16, 17))
    assert small.centroid == pytest.approx((3, 6, 6))
    assert large.volume_mm3 + small.volume_mm3 == pytest.approx(mask.sum() * 0.5)
    assert large.diameter_mm == pytest.approx(equivalent_diameter_mm(large.volume_mm3))


def test_small_instances_are_left_out() -> None:
    (large,) = nodule_instances(two_balls(), (1, 1, 1), min_diameter_mm=5.0)
    assert large.centroid == pytest.approx((7, 16, 17))
    assert nodule_instances(np.zeros((4, 4, 4)), (1, 1, 1)) == []


def test_voxels_that_touch_at_a_corner_are_one_nodule() -> None:
    mask = np.zeros((4, 4, 4))
    mask[1, 1, 1] = mask[2, 2, 2] = 1
    assert len(nodule_instances(mask, (1, 1, 1))) == 1


def test_the_component_at_a_position_is_the_nearest_in_millimetres() -> None:
    mask = np.zeros((9, 9, 9))
    mask[4, 4, 7:9] = 1
    mask[6, 4, 4] = 1
    # Two slices of 3 mm away lies one voxel, three columns of 1 mm away lie two.
    assert np.argwhere(component_at(mask, (4, 4, 4), (3.0, 1.0, 1.0), radius_mm=10)).tolist() == [[4, 4, 7], [4, 4, 8]]
    assert np.argwhere(component_at(mask, (4, 4, 4), (1.0, 1.0, 1.0), radius_mm=10)).tolist() == [[6, 4, 4]]
    assert not component_at(mask, (4, 4, 4), (3.0, 1.0, 1.0), radius_mm=2.9).any()
    assert not component_at(np.zeros((3, 3, 3)), (1, 1, 1), (1, 1, 1), radius_mm=10).any()


def test_equivalent_diameter_of_a_ball_is_its_diameter() -> None:
    assert equivalent_diameter_mm(4 / 3 * math.pi * 5**3) == pytest.approx(10)
    assert math.isnan(equivalent_diameter_mm(0))
