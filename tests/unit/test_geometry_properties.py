"""What holds of any direction matrix, spacing and crop, not only of the examples in test_geometry."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dsmt_nnunet.geometry import ArrayGeometry, centred_start, crop, equivalent_diameter_mm, nodule_instances

coordinates = st.floats(-1000, 1000)
spacings = st.floats(0.3, 5)
transposes = st.sampled_from(list(permutations(range(3))))


def three(values: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float, float, float]]:
    return st.tuples(values, values, values)


@st.composite
def directions(draw: st.DrawFn) -> npt.NDArray[np.float64]:
    """Any rotation, and its mirror image."""
    turn = Rotation.from_rotvec(draw(three(st.floats(-3, 3)))).as_matrix()
    return turn @ np.diag([1.0, 1.0, draw(st.sampled_from([1.0, -1.0]))])


@st.composite
def images(draw: st.DrawFn) -> sitk.Image:
    image = sitk.Image([4, 5, 6], sitk.sitkInt16)
    image.SetSpacing(draw(three(spacings)))
    image.SetOrigin(draw(three(coordinates)))
    image.SetDirection(draw(directions()).ravel().tolist())
    return image


def properties_of(image: sitk.Image) -> dict[str, object]:
    """What nnU-Net's SimpleITK reader notes."""
    return {
        "sitk_stuff": {
            "spacing": image.GetSpacing(),
            "origin": image.GetOrigin(),
            "direction": image.GetDirection(),
        },
        "spacing": image.GetSpacing()[::-1],
    }


@given(image=images(), transpose=transposes, grid_mm=spacings, point=three(coordinates))
def test_the_way_to_voxels_and_back_ends_where_it_began(
    image: sitk.Image, transpose: tuple[int, ...], grid_mm: float, point: tuple[float, float, float]
) -> None:
    geometry = ArrayGeometry.of_coarse_grid(properties_of(image), transpose, grid_mm, (9, 9, 9))
    assert geometry.to_world(geometry.to_voxel(point)) == pytest.approx(point, abs=1e-6)


@given(image=images(), transpose=transposes, index=three(st.floats(-3, 9)))
def test_a_voxel_lies_where_simpleitk_says(
    image: sitk.Image, transpose: tuple[int, ...], index: tuple[float, float, float]
) -> None:
    image.SetSpacing((1.5, 1.5, 1.5))
    geometry = ArrayGeometry.of_coarse_grid(properties_of(image), transpose, 1.5, (9, 9, 9))
    world = image.TransformContinuousIndexToPhysicalPoint(index)
    expected = np.asarray(index)[::-1][list(transpose)]
    assert geometry.to_voxel(world) == pytest.approx(expected, abs=1e-5)


@given(image=images(), start=three(st.integers(-20, 20)), point=three(coordinates))
def test_a_box_moves_every_voxel_by_its_start(
    image: sitk.Image, start: tuple[int, int, int], point: tuple[float, float, float]
) -> None:
    geometry = ArrayGeometry.of_coarse_grid(properties_of(image), (0, 1, 2), 1.0, (9, 9, 9))
    moved = geometry.to_voxel(point) - geometry.box(start, (3, 3, 3)).to_voxel(point)
    assert moved == pytest.approx(np.asarray(start), abs=1e-6)


@given(
    shape=three(st.integers(1, 6)),
    start=three(st.integers(-8, 8)),
    size=three(st.integers(1, 8)),
)
def test_a_crop_holds_the_array_inside_and_its_filling_outside(
    shape: tuple[int, int, int], start: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    array = 1 + np.arange(2 * np.prod(shape)).reshape(2, *shape)
    box = crop(array, start, size, [-1, -2])
    assert box.shape == (2, *size)
    for place in np.ndindex(*size):
        source = tuple(s + p for s, p in zip(start, place, strict=True))
        inside = all(0 <= i < n for i, n in zip(source, shape, strict=True))
        expected = array[(slice(None), *source)] if inside else [-1, -2]
        assert box[(slice(None), *place)].tolist() == list(expected)


@given(centre=st.floats(-50, 50), size=st.integers(1, 70))
def test_a_centred_box_is_off_by_half_a_voxel_at_most(centre: float, size: int) -> None:
    (start,) = centred_start([centre], [size])
    assert abs(start + (size - 1) / 2 - centre) <= 0.5 + 1e-9


@given(diameter=st.floats(0.01, 500))
def test_the_diameter_of_a_balls_volume_is_its_own(diameter: float) -> None:
    assert equivalent_diameter_mm(np.pi / 6 * diameter**3) == pytest.approx(diameter)


@given(seed=st.integers(0, 10_000), share=st.floats(0, 0.5), spacing=three(spacings))
def test_components_share_out_the_whole_volume(seed: int, share: float, spacing: tuple[float, float, float]) -> None:
    mask = np.random.default_rng(seed).random((5, 6, 7)) < share
    volumes = [instance.volume_mm3 for instance in nodule_instances(mask, spacing)]
    assert sum(volumes) == pytest.approx(mask.sum() * np.prod(spacing))
    assert volumes == sorted(volumes, reverse=True)
