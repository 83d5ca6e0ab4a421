from __future__ import annotations

import numpy as np
import pytest
from skimage.draw import polygon2mask

from dsmt_nnunet.dicom.contours import fill_contours, fill_polygon
from dsmt_nnunet.dicom.series import CtVolume
from tests.unit.dicom.made_series import FIRST_MM, SPACING_MM


def square(low: float, high: float) -> list[tuple[float, float]]:
    return [(low, low), (high, low), (high, high), (low, high)]


def in_mm(corners: list[tuple[float, float]], height: float) -> np.ndarray:
    return np.array([(FIRST_MM[0] + x * SPACING_MM[1], FIRST_MM[1] + y * SPACING_MM[0], height) for x, y in corners])


@pytest.mark.parametrize("seed", range(20))
def test_as_scikit_image_fills(seed: int) -> None:
    """Random stars, partly outside; corners that are no voxel centres, on which conventions differ."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    corners = 10 + rng.uniform(2, 14, (9, 1)) * np.column_stack([np.cos(angles), np.sin(angles)])
    expected = polygon2mask((20, 24), corners[:, ::-1])
    np.testing.assert_array_equal(fill_polygon(corners, (20, 24)), expected)


def test_the_count_of_voxels_is_the_area_whatever_the_corners_lie_on() -> None:
    for low, high in ((1, 4), (1.5, 4.5), (0.25, 5.25)):
        assert fill_polygon(np.array(square(low, high)), (8, 8)).sum() == (high - low) ** 2


def test_neighbours_share_no_voxel() -> None:
    left, right = [(0, 0), (3, 0), (3, 3), (0, 3)], [(3, 0), (5, 0), (5, 3), (3, 3)]
    masks = [fill_polygon(np.array(corners, float), (6, 6)).astype(int) for corners in (left, right)]
    assert (masks[0] + masks[1]).max() == 1


def test_keyhole_and_hole_of_its_own_are_the_same(ct: CtVolume) -> None:
    outer, inner = square(0, 5), square(2, 4)
    keyhole = [*outer, outer[0], inner[0], *inner[::-1], outer[0]]
    as_hole = fill_contours([in_mm(outer, 3), in_mm(inner, 3)], ct.image, "a").mask
    as_keyhole = fill_contours([in_mm(keyhole, 3)], ct.image, "a").mask
    np.testing.assert_array_equal(as_hole, as_keyhole)
    assert as_hole.sum() == 25 - 4
    assert not as_hole[1, 2, 2]


def test_island_in_a_hole(ct: CtVolume) -> None:
    contours = [in_mm(square(0, 5), 0), in_mm(square(1, 4), 0), in_mm(square(2, 3), 0)]
    assert fill_contours(contours, ct.image, "a").mask.sum() == 25 - 9 + 1


@pytest.mark.parametrize(
    ("heights", "slices"),
    [
        ((3,), [1]),
        ((3, 6), [1, 2]),
        ((4, 7), [1, 2]),
        ((0, 6), [0, 1, 2]),
        ((3, 9), [0, 1, 2, 3]),
        ((4.5, 7.5), [1, 2]),
        ((3, 3.75, 4.5, 5.25, 6), [1, 2]),
        ((0, 3, 9, 12), [0, 1, 3, 4]),
    ],
)
def test_slices_take_the_nearest_plane(ct: CtVolume, heights: tuple[float, ...], slices: list[int]) -> None:
    found = fill_contours([in_mm(square(0, 3), height) for height in heights], ct.image, "a").mask
    assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == slices
    assert found.sum() == 9 * len(slices)


def test_oblique_contours_and_those_of_another_scan_are_refused(ct: CtVolume) -> None:
    oblique = in_mm(square(0, 3), 3)
    oblique[0, 2] = 6
    with pytest.raises(ValueError, match="structure 'a': a contour runs across 1 slices"):
        fill_contours([oblique], ct.image, "a")
    with pytest.raises(ValueError, match="outside of a CT of"):
        fill_contours([in_mm(square(0, 30), 3)], ct.image, "a")
