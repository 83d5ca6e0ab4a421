from __future__ import annotations

import numpy as np
import pytest

from dsmt_nnunet.dataloading.context_volumes import ContextVolume
from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.inference.lung_region import lung_region, on_grid, tiles_that_touch

WINDOW = (-1024.0, 300.0)
SPACING = 5.0


def volume(hu: np.ndarray) -> ContextVolume:
    array = np.clip((hu - WINDOW[0]) * 2 / (WINDOW[1] - WINDOW[0]) - 1, -1, 1)[None].astype(np.float16)
    affine = np.hstack([np.eye(3)[::-1] / SPACING, np.zeros((3, 1))])
    return ContextVolume(array, ArrayGeometry((SPACING,) * 3, array.shape[1:], affine), (-1.0,))


def ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> np.ndarray:
    return np.linalg.norm(np.moveaxis(np.indices(shape), 0, -1) - np.array(centre), axis=-1) <= radius


@pytest.fixture
def chest() -> np.ndarray:
    """A body of soft tissue in air, its skin blurred, with two lungs that leave through the last slice."""
    shape = (40, 70, 90)
    rows, columns = np.indices(shape)[1:]
    distance = np.hypot((rows - 35) / 27, (columns - 45) / 40)
    hu = np.where(distance < 1, 40.0, -1000.0)
    hu[(distance >= 1) & (distance < 1.04)] = -600.0
    for column in (27, 63):
        lung = np.hypot((rows - 35) / 16, (columns - column) / 13) < 1
        lung[:6] = False
        hu[lung] = -850.0
    return hu


def test_the_region_is_the_lungs_and_what_is_near(chest: np.ndarray) -> None:
    region = lung_region(volume(chest), WINDOW)
    assert region is not None
    assert region[chest == -850].all()
    assert region[20, 35, 41], "10 mm beside a lung"
    assert not region[20, 35, 45], "25 mm from both lungs"
    assert not region[chest == -1000].any() or region[chest == -1000].mean() < 0.02
    assert not region[20, 35, 1]
    assert not region[0, 35, 45]
    assert region.mean() < 0.6


def test_a_pleural_mass_is_near_its_lung(chest: np.ndarray) -> None:
    mass = ball(chest.shape, (20, 35, 14), 4)
    chest[mass] = 30.0
    region = lung_region(volume(chest), WINDOW)
    assert region is not None
    assert region[mass].mean() > 0.8


def test_emphysema_is_lung(chest: np.ndarray) -> None:
    chest[chest == -850] = -955.0
    region = lung_region(volume(chest), WINDOW)
    assert region is not None
    assert region[chest == -955].all()


@pytest.mark.parametrize("padding", [-2000.0, -1024.0])
def test_lungs_open_to_the_air_are_still_lungs(chest: np.ndarray, padding: float) -> None:
    chest[chest == -1000] = padding
    lungs = chest == -850
    chest[20, 35, :30] = padding
    region = lung_region(volume(chest), WINDOW)
    assert region is not None
    assert region[lungs].all(), "a tube into one lung"
    chest[15:25, 30:40, :70] = padding
    region = lung_region(volume(chest), WINDOW)
    assert region is not None
    assert region[lungs & (chest == -850)].all(), "a wide airway into both"


def test_foam_around_the_patient_is_not_searched(chest: np.ndarray) -> None:
    chest[:, 64:, 5:40] = -880.0
    region = lung_region(volume(chest), WINDOW)
    assert region is not None
    assert region[chest == -850].all()
    assert not region[20, 69, 6]


def test_crops_and_other_modalities_are_searched_whole(chest: np.ndarray) -> None:
    assert lung_region(volume(chest), None) is None
    assert lung_region(volume(chest[10:14, 30:40, 20:30]), WINDOW) is None
    assert lung_region(volume(np.full((20, 20, 20), 30.0)), WINDOW) is None
    assert lung_region(volume(np.full((50, 50, 50), -1000.0)), WINDOW) is None


def test_a_coarse_mask_is_found_again_on_the_fine_grid() -> None:
    coarse = np.zeros((6, 8, 10), dtype=bool)
    coarse[2, 3, 4] = True
    affine = np.hstack([np.eye(3)[::-1] / 4.0, np.array([[1.0], [0.0], [-2.0]])])
    own = ArrayGeometry((4.0,) * 3, coarse.shape, affine)
    fine_affine = np.hstack([np.eye(3)[::-1] / np.array([[2.0], [1.0], [0.8]]), np.array([[-1.0], [2.0], [0.0]])])
    target = ArrayGeometry((2.0, 1.0, 0.8), (11, 40, 60), fine_affine)
    fine = on_grid(coarse, own, target)
    assert fine.shape == target.shape
    expected = np.zeros(target.shape, dtype=bool)
    for voxel in np.ndindex(target.shape):
        nearest = np.floor(own.to_voxel(target.to_world(voxel)) + 0.5).astype(int)
        if (nearest >= 0).all() and (nearest < coarse.shape).all():
            expected[voxel] = coarse[tuple(nearest)]
    np.testing.assert_array_equal(fine, expected)
    assert fine.any()


@pytest.mark.parametrize("rim", [0.0, 1 / 4])
def test_every_tile_with_a_voxel_of_the_region_is_kept(rim: float) -> None:
    region = np.zeros((20, 20, 20), dtype=bool)
    region[4, 8, 19] = True
    tiles = [
        (slice(None), slice(z, z + 5), slice(y, y + 8), slice(x, x + 10))
        for z in (0, 3, 4, 5, 15)
        for y in (0, 3, 10, 11)
        for x in (0, 9, 10)
    ]

    def holds(tile: tuple[slice, ...]) -> bool:
        """Of the slices near the middle, but at the end of the array all, there is the voxel."""
        return all(
            (part.start + int(rim * size) * (part.start > 0)) <= voxel < part.stop - int(rim * size) * (part.stop < 20)
            for part, size, voxel in zip(tile[1:], (5, 8, 10), (4, 8, 19), strict=True)
        )

    kept = tiles_that_touch(tiles, region, rim)
    assert kept == [tile for tile in tiles if holds(tile)]
    touching = [tile for tile in tiles if region[tile[1:]].any()]
    assert 0 < len(kept) < len(touching) if rim else kept == touching
