from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet.dataset_conversion.phantom.acquisition import PROTOCOLS
from dsmt_nnunet.dataset_conversion.phantom.cohort import CohortSettings, draw_case
from dsmt_nnunet.dataset_conversion.phantom.context import CONTEXT_FREE_MM
from dsmt_nnunet.dataset_conversion.phantom.grid import Grid
from dsmt_nnunet.dataset_conversion.phantom.nodule import StarShape
from dsmt_nnunet.dataset_conversion.phantom.render import render_case

SINGLE = CohortSettings(two_nodules=0)


@pytest.fixture(scope="module")
def case():
    return draw_case(1, 0, size=48, settings=SINGLE)


@pytest.fixture(scope="module")
def rendered(case):
    return render_case(case, bubble=True, retraction=True)


def offset_mm(case):
    """Per axis, distance (3, Z, Y, X) of every voxel from the nodule's centre."""
    axes = PROTOCOLS[case.protocol].grid(case.size).open_axes()
    centre = case.nodules[0].centre_xyz_mm(case.thorax)[::-1]
    return np.stack(np.broadcast_arrays(*(axis - value for axis, value in zip(axes, centre, strict=True))))


def test_rendering_is_reproducible(case, rendered):
    again = render_case(case, bubble=True, retraction=True)
    assert np.array_equal(again.intensity_hu, rendered.intensity_hu)
    assert not np.array_equal(render_case(replace(case, seed=case.seed + 1)).intensity_hu, rendered.intensity_hu)


def test_image_has_the_densities_of_a_chest(case):
    intensity_hu = render_case(replace(case, haze=0.0, scarring=0.0)).intensity_hu
    assert intensity_hu.dtype == np.int16
    lung = (intensity_hu > -950) & (intensity_hu < -750)
    soft = (intensity_hu > -50) & (intensity_hu < 120)
    bone = intensity_hu > 200
    assert lung.mean() > 0.15
    assert soft.mean() > 0.15
    assert 0.005 < bone.mean() < 0.2


def test_without_an_override_the_drawn_signs_are_painted(case, rendered):
    nodule = replace(case.nodules[0], bubble_lucency=True, pleural_retraction=True)
    drawn = render_case(replace(case, nodules=(nodule,))).intensity_hu
    assert np.array_equal(drawn, rendered.intensity_hu)


def test_bubbles_change_dark_pockets_inside_the_nodule_only(case, rendered):
    without = render_case(case, bubble=False, retraction=True)
    change = rendered.intensity_hu.astype(int) - without.intensity_hu
    distance = np.linalg.norm(offset_mm(case), axis=0)
    assert change.min() < -200
    assert np.abs(change[distance > case.nodules[0].diameter_mm / 2 + 8]).max() == 0
    assert np.array_equal(rendered.instances, without.instances)


def test_retraction_changes_only_what_lies_towards_the_pleura(case, rendered):
    without = render_case(case, bubble=True, retraction=False)
    change = rendered.intensity_hu.astype(int) - without.intensity_hu
    nodule = case.nodules[0]
    _, inward_xy = case.thorax.costal_point(nodule.angle, nodule.z_mm)
    offset = offset_mm(case)
    outward = -(offset[2] * inward_xy[0] + offset[1] * inward_xy[1])
    assert change.max() > 400
    assert np.abs(change[outward < -6]).max() == 0
    assert np.abs(change[np.linalg.norm(offset, axis=0) > nodule.pleura_distance_mm + 25]).max() == 0
    assert np.array_equal(rendered.instances, without.instances)


def test_context_leaves_no_trace_near_the_nodule(case):
    clear = render_case(replace(case, haze=0.0, scarring=0.0)).intensity_hu.astype(int)
    sick = render_case(replace(case, haze=1.0, scarring=1.0)).intensity_hu.astype(int)
    distance = np.abs(offset_mm(case)).max(axis=0)
    blur_mm = 6.0
    assert np.array_equal(clear[distance < CONTEXT_FREE_MM - blur_mm], sick[distance < CONTEXT_FREE_MM - blur_mm])
    far_lung = (distance > 56) & (clear > -950) & (clear < -750)
    assert (sick - clear)[far_lung].mean() > 150


@pytest.mark.parametrize("lobulation", [0.0, 1.0])
def test_mask_has_the_drawn_volume(lobulation):
    case = draw_case(1, 1, size=72, settings=SINGLE)
    nodule = replace(case.nodules[0], lobulation=lobulation, diameter_mm=18.0)
    rendered = render_case(replace(case, nodules=(nodule,)))
    assert rendered.diameter_mm(1) == pytest.approx(18.0, rel=0.03)


def test_solid_fraction_raises_the_density_of_the_nodule(case):
    means = []
    for solid_fraction in (0.0, 0.5, 1.0):
        nodule = replace(case.nodules[0], solid_fraction=solid_fraction)
        rendered = render_case(replace(case, nodules=(nodule,)), bubble=False)
        means.append(rendered.intensity_hu[rendered.instances == 1].mean())
    assert means[0] < means[1] - 100 < means[2] - 200


def test_lobulation_deepens_the_notches(case):
    directions = np.random.default_rng(0).standard_normal((3, 4000)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    spread = []
    for lobulation in (0.0, 0.5, 1.0):
        shape = StarShape.draw(replace(case.nodules[0], lobulation=lobulation, spiculation=0.0))
        radius = shape.radius(*directions)
        assert radius.max() <= shape.reach_mm
        spread.append(radius.std() / radius.mean())
    assert spread[0] < spread[1] < spread[2]


def test_positions_are_in_the_physical_space_of_the_image(rendered):
    image, mask = rendered.image(), rendered.mask()
    assert image.GetOrigin() == mask.GetOrigin() != (0.0, 0.0, 0.0)
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(mask)
    assert rendered.centre_mm(1) == pytest.approx(statistics.GetCentroid(1), abs=1e-3)
    assert rendered.diameter_mm(1) == pytest.approx(2 * statistics.GetEquivalentSphericalRadius(1), rel=1e-6)


def test_two_nodules_have_a_number_each():
    case = draw_case(1, 0, size=48, settings=CohortSettings(two_nodules=1))
    rendered = render_case(case)
    assert set(np.unique(rendered.instances)) == {0, 1, 2}
    assert rendered.centre_mm(1) != rendered.centre_mm(2)


def test_size_keeps_the_field_of_view():
    for protocol in PROTOCOLS.values():
        extents = [
            np.multiply(protocol.spacing_mm(size), (size, size, protocol.slice_count(size))) for size in (56, 112)
        ]
        assert extents[0] == pytest.approx(extents[1], rel=1e-3)


def test_smooth_field_is_the_same_on_any_grid_and_part():
    fine = Grid.centred((41, 41, 41), (1.0, 1.0, 1.0))
    coarse = Grid.centred((21, 21, 21), (2.0, 2.0, 2.0))
    slices, part = fine.cube((3.0, -4.0, 5.0), 6.0)
    fields = [grid.smooth_field(np.random.default_rng(0), 8.0) for grid in (fine, coarse, part)]
    assert fields[0][::2, ::2, ::2] == pytest.approx(fields[1], abs=1e-5)
    assert fields[0][slices] == pytest.approx(fields[2], abs=1e-5)
    wide = Grid.centred((60, 60, 60), (3.0, 3.0, 3.0)).smooth_field(np.random.default_rng(1), 8.0)
    assert wide.std() == pytest.approx(1.0, abs=0.1)
