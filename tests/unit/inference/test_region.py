from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.geometry import ArrayGeometry, centred_start, crop
from dsmt_nnunet.inference.region import Region, Scan, regions_around
from tests.unit.small_plans import CONFIGURATION, DATASET_JSON, blob_image, stock_plans

PATCH = (12, 16, 16)
ORIENTED = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def read(spacing_xyz: Sequence[float], border: int = 0, seed: int = 0) -> tuple[np.ndarray, dict[str, Any]]:
    """A noisy image of 90 x 80 x 150 voxels, as nnU-Net's reader gives it."""
    image, _ = blob_image(
        (90, 80, 150), spacing_xyz, (40, 30, 30), origin=(-20.0, 9.0, 3.0), direction=ORIENTED, border=border
    )
    array = sitk.GetArrayFromImage(image)
    array[array != 0] += np.random.default_rng(seed).normal(0, 30, size=np.count_nonzero(array))
    stuff = {"spacing": image.GetSpacing(), "origin": image.GetOrigin(), "direction": image.GetDirection()}
    return array[None].astype(np.float32), {"sitk_stuff": stuff, "spacing": [float(s) for s in spacing_xyz[::-1]]}


def managers(spacing: Sequence[float], transpose: Sequence[int] = (0, 1, 2), **changes: Any) -> tuple[Any, Any]:
    plans = deepcopy(stock_plans(spacing=spacing, transpose_forward=transpose))
    configuration = plans["configurations"][CONFIGURATION]
    for name in ("data", "seg", "probabilities"):
        configuration[f"resampling_fn_{name}_kwargs"]["order"] = 3 if name == "data" else 1
    configuration.update(changes)
    manager = PlansManager(plans)
    return manager, manager.get_configuration(CONFIGURATION)


CASES = [
    pytest.param((0.7, 0.7, 1.25), (1.0, 1.0, 1.0), (0, 1, 2), 0, id="isotropic target"),
    pytest.param((0.83, 0.83, 1.0), (1.0, 0.9, 0.9), (2, 0, 1), 0, id="other axes"),
    pytest.param((0.7, 0.7, 5.0), (5.0, 0.8, 0.8), (0, 1, 2), 0, id="thick slices"),
    pytest.param((0.7, 0.7, 1.25), (1.0, 1.0, 1.0), (1, 0, 2), 6, id="empty border"),
    pytest.param((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (0, 1, 2), 0, id="not resampled"),
]


@pytest.mark.parametrize(("spacing", "target", "transpose", "border"), CASES)
@pytest.mark.parametrize("index", [(45, 40, 75), (12, 16, 12), (80, 70, 138)])
def test_a_region_is_preprocessed_as_it_would_be_in_the_whole_scan(
    spacing: Any, target: Any, transpose: Any, border: int, index: tuple[int, int, int]
) -> None:
    image, properties = read(spacing, border)
    manager, configuration = managers(target, transpose)
    whole, _, noted = DefaultPreprocessor(verbose=False).run_case_npy(
        image, None, dict(properties), manager, configuration, DATASET_JSON
    )
    geometry = ArrayGeometry.from_properties(noted, transpose, target, whole.shape[1:])
    stuff = properties["sitk_stuff"]
    reference = sitk.Image(90, 80, 150, sitk.sitkUInt8)
    reference.SetSpacing(stuff["spacing"])
    reference.SetOrigin(stuff["origin"])
    reference.SetDirection(stuff["direction"])
    point = reference.TransformIndexToPhysicalPoint(index)
    scan = Scan.of(image, properties, manager, configuration)
    assert scan.geometry.shape == whole.shape[1:]
    (part,) = regions_around(scan, [point], PATCH)
    data, _, own = scan.preprocessed(part.region)
    voxel, own_voxel = geometry.to_voxel(point), own.to_voxel(point)
    assert own_voxel + part.region.start == pytest.approx(voxel)
    assert np.prod(part.region.shape) < np.prod(whole.shape[1:])
    expected = crop(whole, centred_start(voxel, PATCH), PATCH, [-2.0])
    patch = crop(data, centred_start(own_voxel, PATCH), PATCH, [-2.0])
    # Noise of 30 HU has a standard deviation of 0.1 here, and the grids are at most a few hundredths of a voxel apart.
    assert np.abs(patch - expected).max() < 0.02


@pytest.mark.parametrize(("spacing", "target", "transpose", "border"), CASES)
def test_the_mask_of_a_region_lies_where_that_of_the_whole_scan_would(
    spacing: Any, target: Any, transpose: Any, border: int
) -> None:
    image, properties = read(spacing, border)
    manager, configuration = managers(target, transpose)
    scan = Scan.of(image, properties, manager, configuration)
    region = scan.region([length // 3 for length in scan.geometry.shape], (10, 10, 10))
    positions = np.moveaxis(np.indices(scan.geometry.shape), 0, -1)
    centre = np.array(scan.geometry.shape) // 3 + 5
    distance = np.linalg.norm((positions - centre) * scan.geometry.spacing_mm, axis=-1).astype(np.float32)
    whole = np.stack([distance - 4, 4 - distance])
    box = tuple(slice(s, s + n) for s, n in zip(region.start, region.shape, strict=True))

    def mask(logits: np.ndarray, noted: Any) -> Any:
        return convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, manager, configuration, manager.get_label_manager(DATASET_JSON), noted
        )

    _, noted, _ = scan.preprocessed(region)
    expected, own = mask(whole, scan.properties), mask(whole[(slice(None), *box)], noted)
    assert own.shape == expected.shape == (150, 80, 90)
    assert expected.sum() > 30
    assert np.count_nonzero(own != expected) <= 0.02 * expected.sum()


def test_statistics_of_the_whole_scan_need_the_whole_scan() -> None:
    image, properties = read((0.7, 0.7, 1.25))
    manager, configuration = managers((1.0, 1.0, 1.0), normalization_schemes=["ZScoreNormalization"])
    scan = Scan.of(image, properties, manager, configuration)
    region = scan.region((20, 20, 20), PATCH)
    assert region == scan.whole()
    assert region.shape == scan.geometry.shape
    expected, _, _ = DefaultPreprocessor(verbose=False).run_case_npy(
        image, None, dict(properties), manager, configuration, DATASET_JSON
    )
    np.testing.assert_allclose(scan.preprocessed(region)[0], expected, atol=1e-5)


def test_normalisation_within_the_scans_outline_is_that_of_nnunet() -> None:
    image, properties = read((0.7, 0.7, 1.25))
    image = image + 1200  # an image of another modality, 0 where it shows nothing
    image[:, :9], image[:, :, :12], image[:, 30:34, 25:40] = 0, 0, 0
    image[:, 10, 13:60:3] = 0
    manager, configuration = managers(
        (1.0, 1.0, 1.0), normalization_schemes=["ZScoreNormalization"], use_mask_for_norm=[True]
    )
    scan = Scan.of(image, properties, manager, configuration)
    expected, _, _ = DefaultPreprocessor(verbose=False).run_case_npy(
        image, None, dict(properties), manager, configuration, DATASET_JSON
    )
    np.testing.assert_allclose(scan.preprocessed(scan.whole())[0], expected, atol=1e-5)
    assert np.abs(expected - (expected - expected.mean()) / expected.std()).max() > 0.1


def test_regions_that_overlap_become_one() -> None:
    image = np.full((1, 300, 60, 60), -500.0, dtype=np.float32)
    stuff = {"spacing": (1.0, 1.0, 1.0), "origin": (0.0, 0.0, 0.0), "direction": tuple(np.eye(3).ravel())}
    manager, configuration = managers((1.0, 1.0, 1.0))
    scan = Scan.of(image, {"sitk_stuff": stuff, "spacing": [1.0] * 3}, manager, configuration)
    points = [(30.0, 30.0, z) for z in (20.0, 200.0, 60.0, 290.0, 40.0)]
    regions = regions_around(scan, points, PATCH)
    assert sorted(tuple(sorted(part.points)) for part in regions) == [(0, 2, 4), (1,), (3,)]
    for number, part in enumerate(regions):
        assert not any(part.region.overlaps(other.region) for other in regions[number + 1 :])
        for point in part.points:
            start = centred_start(scan.geometry.to_voxel(points[point]), PATCH)
            assert part.region.start[0] <= start[0]
            assert start[0] + PATCH[0] <= part.region.start[0] + part.region.shape[0] or points[point][2] == 290.0
    (together,) = regions_around(scan, points, PATCH, together=True)
    assert sorted(together.points) == [0, 1, 2, 3, 4]
    assert together.region.slices[0].start <= 14
    assert together.region.slices[0].stop >= 296


def test_an_empty_scan_keeps_its_extent() -> None:
    image, properties = read((1.0, 1.0, 1.0))
    manager, configuration = managers((1.0, 1.0, 1.0))
    scan = Scan.of(np.zeros_like(image), properties, manager, configuration)
    assert scan.image.shape == image.shape
    assert isinstance(scan.whole(), Region)
