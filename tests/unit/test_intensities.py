from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from dsmt_nnunet.intensities import FORCE_VARIABLE, check_hu, check_nodule, check_position, check_spacing

RANDOM = np.random.default_rng(3)


def chest() -> np.ndarray:
    """(24, 32, 32) HU: air around a body with two lungs, noise, blurred as a scanner does."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 32, 32)), indexing="ij")
    array = np.where(x**2 + y**2 < 0.8, 40.0, -1000.0)
    array[(np.abs(x) - 0.4) ** 2 + y**2 + 0.2 * z**2 < 0.1] = -850.0
    return array + RANDOM.normal(0, 20, array.shape)


def padded(array: np.ndarray) -> np.ndarray:
    array[:, :4] = -2000
    return array


WRONG: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "without intercept": lambda a: a + 1024,
    "without intercept, padded": lambda a: padded(a + 1024),
    "intercept twice": lambda a: a - 1024,
    "uint8": lambda a: np.clip((a + 1000) / 8, 0, 255).astype(np.uint8),
    "0..1": lambda a: np.clip((a + 1000) / 1400, 0, 1),
    "z-scores": lambda a: (a - a.mean()) / a.std(),
    "HU / 1000": lambda a: a / 1000,
    "zero": np.zeros_like,
    "constant": lambda a: np.full_like(a, -700),
    "uniform noise": lambda a: RANDOM.uniform(-1000, 1000, a.shape),
    "normal noise": lambda a: RANDOM.normal(-400, 400, a.shape),
    "mask": lambda a: (a > -200).astype(np.uint8),
    "one slice": lambda a: a[:1],
    "NaN": lambda a: np.where(a > 60, np.nan, a),
    "infinite": lambda a: np.where(a > 60, np.inf, a),
    "padding alone": lambda a: np.where(a > -200, -3024, -2000),
    "lung alone": lambda a: np.clip(a, -1000, -600),
    "padded with 0": lambda a: np.pad(a, ((0, 0), (0, 16), (0, 0))),
    "HU / 2": lambda a: a / 2,
    "HU + 500": lambda a: a + 500,
    "HU + 500, padded": lambda a: padded(a + 500),
    "three values": lambda a: np.where(a > -200, 40, np.where(a > -930, -850, -1000)),
    "a blank slice": lambda a: np.where(np.arange(len(a))[:, None, None] == 7, -1024, a),
    "a grey slice": lambda a: np.where(np.arange(len(a))[:, None, None] == 7, -500, a),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_ct_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        check_hu(WRONG[name](chest()))


@pytest.mark.parametrize("array", [chest(), padded(chest()), chest().astype(np.int16), chest()[8:16, 8:24, 2:14]])
def test_cts_and_crops_pass(array: np.ndarray) -> None:
    check_hu(array)


def test_who_knows_can_say_so_but_nan_stays_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCE_VARIABLE, "1")
    check_hu(chest() + 1024)
    with pytest.raises(ValueError, match="NaN"):
        check_hu(WRONG["NaN"](chest()))


def test_real_crops_pass(shared_data: Path) -> None:
    for file in sorted((shared_data / "lidc-crops" / "images").iterdir())[::10]:
        check_hu(sitk.GetArrayFromImage(sitk.ReadImage(str(file))))


MM = (1.0, 1.0, 1.0)


def test_nodules_without_tissue_or_surroundings_are_refused() -> None:
    array = chest()
    nodule = np.argwhere(np.abs(array - 40) < 5)
    for wrong, match in (((array < -950), "no tissue"), (np.ones(array.shape, bool), "fills 100%")):
        with pytest.raises(ValueError, match=match):
            check_nodule(array, np.argwhere(wrong), MM)
    with pytest.raises(ValueError, match="single voxel"):
        check_nodule(array, np.array([[12, 16, 16]]), MM)
    assert check_nodule(array, nodule, MM) == []
    assert "bone" in check_nodule(np.where(np.abs(array - 40) < 5, 900, array), nodule, MM)[0]


def body_with_lung_beside_it() -> np.ndarray:
    """30 mm of air, 60 mm of soft tissue with a denser place in its middle, 30 mm of lung."""
    array = np.full((30, 30, 120), 40.0)
    array[..., :30], array[..., 90:], array[14:17, 14:17, 58:62] = -1000, -850, 120
    return array + np.random.default_rng(1).normal(0, 5, array.shape)


def test_a_nodule_far_from_lung_is_refused() -> None:
    array = body_with_lung_beside_it()
    with pytest.raises(ValueError, match="no lung within 20 mm"):
        check_nodule(array, np.argwhere(array > 100), MM)
    assert check_nodule(array, np.argwhere(array > 100), (1.0, 1.0, 0.5)) == []


def test_a_position_in_air_or_far_from_lung_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    array = body_with_lung_beside_it()
    with pytest.raises(ValueError, match="only air"):
        check_position(array, (15.0, 15.0, 5.0), MM)
    with pytest.raises(ValueError, match="no lung within 20 mm"):
        check_position(array, (15.0, 15.0, 60.0), MM)
    check_position(array, (15.0, 15.0, 85.0), MM)
    monkeypatch.setenv(FORCE_VARIABLE, "1")
    check_position(array, (15.0, 15.0, 5.0), MM)


def textured(seed: int = 0) -> np.ndarray:
    """(40, 48, 48) HU: vessels and walls in lung, as blurred noise that changes from slice to slice."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(40, 48, 48)), 2.0)
    return np.clip(-850 + 12000 * np.maximum(noise - 0.02, 0) + 2000 * noise, -1000, 300)


def test_slices_out_of_order_are_refused() -> None:
    array = textured()
    assert check_hu(array - np.arange(48) / 100) == []
    with pytest.raises(ValueError, match="not in their order"):
        check_hu(np.random.default_rng(1).permutation(array))
    for step in (2, 3):
        check_hu(array[::step])  # thick slices


def fine(seed: int = 0) -> np.ndarray:
    """(120, 48, 48) HU: slices so thin that neighbours hardly differ."""
    return gaussian_filter(np.repeat(textured(seed), 3, axis=0), (3, 0, 0))


@pytest.mark.parametrize(
    "joined",
    [lambda a: np.concatenate([a[60:], a[:60]]), lambda a: np.concatenate([a[:60], fine(1)[60:]])],
)
def test_two_parts_put_together_are_refused(joined: Callable[[np.ndarray], np.ndarray]) -> None:
    assert check_hu(fine()) == []
    with pytest.raises(ValueError, match=r"between slices \d+ and \d+ .* times as much as around them"):
        check_hu(joined(fine()))
    assert len(check_hu(joined(fine())[:, :30, :30])) == 1  # of a crop


def test_slices_that_are_missing_or_doubled_are_told() -> None:
    array = fine()
    (told,) = check_hu(np.concatenate([array[:50], array[54:]]))
    assert told.startswith("between slices 49 and 50")
    (told,) = check_hu(np.concatenate([array[:75], np.full_like(array[75:], -1000)]))  # or the scan was padded
    assert told.startswith("between slices 74 and 75")
    (told,) = check_hu(np.concatenate([array[:50], array[49:]]))
    assert told.startswith("1 slices are the same as the next one, voxel by voxel (such as 49")


def test_voxels_and_drawings_of_doubtful_size_are_told() -> None:
    array = np.full((40, 40, 40), -850.0) + np.random.default_rng(2).normal(0, 10, (40, 40, 40))
    z, y, x = np.indices(array.shape)
    ball = (z - 20) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= 16
    array[ball] = 0
    assert check_nodule(array, np.argwhere(ball), MM) == []
    for spacing, said in (((10.0,) * 3, "a sphere of 78.9 mm"), ((0.2,) * 3, "a sphere of 1.6 mm")):
        assert said in check_nodule(array, np.argwhere(ball), spacing)[0]
    assert "on a single slice, 9 mm wide" in check_nodule(array, np.argwhere(ball & (z == 20)), MM)[0]
    assert check_nodule(array, np.argwhere(ball & (z == 20)), (5.0, 1.0, 1.0)) == []
    assert check_spacing((1.0, 0.7, 0.7)) == []
    assert "coarse for CT" in check_spacing((4.0, 4.0, 4.0))[0]


def test_a_whole_scan_holds_air(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.where(chest() < -600, chest() * 0.8, chest())
    assert check_hu(array) == []
    monkeypatch.setattr("dsmt_nnunet.intensities.WHOLE_SCAN_VOXELS", array.size - 1)
    assert "dense for lung" in check_hu(array)[0]


def test_what_is_possible_but_odd_is_told() -> None:
    array = chest()
    (told,) = check_hu(np.clip(array, None, 45))
    assert "cut off at 45 HU" in told
    (told,) = check_hu(np.where(array < -600, array * 0.6 - 40, array))
    assert "dense for lung" in told
    assert check_hu(array) == []


def test_a_mask_in_lung_and_a_position_beside_the_nodule_are_told() -> None:
    array = np.full((40, 40, 40), -760.0) + RANDOM.normal(0, 10, (40, 40, 40))
    z, y, x = np.indices(array.shape)
    nodule = (z - 20) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= 16
    array[nodule] = 0
    assert check_nodule(array, np.argwhere(nodule), MM) == []
    assert "hardly denser" in check_nodule(array, np.argwhere(nodule) + 9, MM)[0]
    assert check_position(array, (20, 20, 20), MM) == []
    (told,) = check_position(array, (20, 20, 28), MM)
    assert "beside the nodule" in told
