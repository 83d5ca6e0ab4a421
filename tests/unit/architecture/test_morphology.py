"""Descriptors of bodies whose size, shape and density are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from dsmt_nnunet.architecture.morphology import NoduleDescriptors
from dsmt_nnunet.descriptors import DESCRIPTORS

Body = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Positions (3, Z, Y, X) in mm from the centre -> signed distance in mm (inside positive) and HU inside."""


def sphere(radius_mm: float, hu: float = 30.0) -> Body:
    return lambda at: (radius_mm - at.square().sum(0).sqrt(), torch.full(at.shape[1:], hu))


def ellipsoid(*half_axes_mm: float) -> Body:
    def body(at: Tensor) -> tuple[Tensor, Tensor]:
        scaled = at / torch.tensor(half_axes_mm).reshape(3, 1, 1, 1)
        # To first order the distance from the surface.
        length = scaled.square().sum(0).sqrt()
        gradient = (scaled / torch.tensor(half_axes_mm).reshape(3, 1, 1, 1)).square().sum(0).sqrt().clamp(min=1e-6)
        return (1 - length) * length / gradient, torch.zeros(at.shape[1:])

    return body


def shell(radius_mm: float) -> Body:
    """Ground glass around a solid core of half the radius."""

    def body(at: Tensor) -> tuple[Tensor, Tensor]:
        distance = at.square().sum(0).sqrt()
        return radius_mm - distance, torch.where(distance < radius_mm / 2, 50.0, -600.0)

    return body


def spiculated(radius_mm: float, spikes: int = 6) -> Body:
    def body(at: Tensor) -> tuple[Tensor, Tensor]:
        distance = at.square().sum(0).sqrt()
        direction = at / distance.clamp(min=1e-3)
        axes = torch.eye(3)
        along = torch.stack([(direction * axis.reshape(3, 1, 1, 1)).sum(0).abs() for axis in axes]).amax(0)
        reach = radius_mm + 5 * ((along - 0.93) / 0.07).clamp(min=0)
        return reach - distance, torch.full(at.shape[1:], 30.0)

    return body


def patch(body: Body, spacing: Sequence[float], extent_mm: float = 40.0) -> tuple[Tensor, Tensor]:
    """Image in HU and soft mask (1, Z, Y, X), each voxel the mean over what it covers."""
    fine = 4 if max(spacing) >= 1 else 2
    shape = [max(4, 2 * round(extent_mm / size / 2)) for size in spacing]
    axes = [(torch.arange(n * fine) - (n * fine - 1) / 2) * size / fine for n, size in zip(shape, spacing, strict=True)]
    distance, hu = body(torch.stack(torch.meshgrid(*axes, indexing="ij")))
    inside = (distance > 0).float()
    image = torch.where(inside > 0, hu, torch.tensor(-850.0))
    pool = torch.nn.functional.avg_pool3d
    return pool(image[None], fine), pool(inside[None], fine)


@cache
def measured(body: Body, spacing: tuple[float, ...] = (1.0, 1.0, 1.0), extent_mm: float = 40.0) -> dict[str, float]:
    image, mask = patch(body, spacing, extent_mm)
    row = NoduleDescriptors(DESCRIPTORS, spacing)(image, mask)[0]
    return dict(zip(DESCRIPTORS, row.tolist(), strict=True))


def test_a_sphere() -> None:
    found = measured(sphere(8.0))
    assert found["diameter_mm"] == pytest.approx(16.0, rel=0.01)
    assert found["log_volume"] == pytest.approx(math.log(4 / 3 * math.pi * 8**3), rel=0.01)
    assert found["sphericity"] == pytest.approx(1.0, abs=0.03)
    assert found["surface_to_volume"] == pytest.approx(3 / 8, rel=0.04)
    assert found["elongation"] == pytest.approx(1.0, abs=0.01)
    assert found["solidity"] == pytest.approx(1.0, abs=0.03)
    assert found["feret_mm"] == pytest.approx(16.0, rel=0.06)
    assert found["radius_variation"] < 0.03
    assert found["hu_p50"] == pytest.approx(30.0, abs=12.0)
    assert found["share_solid"] > 0.9
    assert found["around_3_6_hu"] == pytest.approx(-850.0, abs=5.0)
    assert found["empty"] == 0


def test_an_ellipsoid() -> None:
    found = measured(ellipsoid(10.0, 7.0, 5.0))
    axes = (found["axis_long_mm"], found["axis_middle_mm"], found["axis_short_mm"])
    assert axes == pytest.approx((20.0, 14.0, 10.0), rel=0.03)
    assert found["elongation"] == pytest.approx(0.7, abs=0.02)
    assert found["flatness"] == pytest.approx(0.5, abs=0.02)
    assert found["diameter_mm"] == pytest.approx(2 * (10 * 7 * 5) ** (1 / 3), rel=0.02)
    assert found["radius_variation"] > 0.15


def test_a_core_in_ground_glass() -> None:
    found = measured(shell(10.0))
    assert found["hu_core"] == pytest.approx(50.0, abs=60.0)
    assert found["rim_minus_core"] < -500
    # An eighth of the volume lies within half the radius.
    assert found["share_solid"] == pytest.approx(1 / 8, abs=0.04)
    assert found["hu_p50"] == pytest.approx(-600.0, abs=15.0)


def test_spicules_stand_out() -> None:
    smooth, spiky = measured(sphere(7.0)), measured(spiculated(7.0))
    for name in ("radius_variation", "spicule_sd", "spicule_peaks", "edge_drop_sd"):
        assert spiky[name] > smooth[name] + 0.02 * abs(smooth[name]), name
    assert spiky["sphericity"] < smooth["sphericity"] - 0.05
    assert spiky["solidity"] < smooth["solidity"] - 0.05


@pytest.mark.parametrize("spacing", [(0.6, 0.6, 0.6), (1.25, 1.25, 1.25), (2.0, 0.7, 0.7)])
@pytest.mark.parametrize("body", [sphere(8.0), ellipsoid(10.0, 7.0, 6.0)])
def test_the_voxel_size_does_not_matter(body: Body, spacing: tuple[float, float, float]) -> None:
    expected, found = measured(body, (1.0, 1.0, 1.0)), measured(body, spacing)
    for name in ("diameter_mm", "log_volume", "axis_long_mm", "axis_short_mm", "elongation", "flatness", "solidity"):
        # Slices of 2 mm blur a short axis of 12 mm by a little more.
        tolerance = 0.04 if name in ("flatness", "axis_short_mm") and max(spacing) > 1.5 else 0.03
        assert found[name] == pytest.approx(expected[name], rel=tolerance), name


def test_axes_mirrors_and_patch_do_not_matter() -> None:
    torch.manual_seed(0)
    image, mask = patch(ellipsoid(9.0, 6.0, 4.0), (1.0, 1.0, 1.0))
    image = image + 20 * torch.randn_like(image)
    expected = NoduleDescriptors(DESCRIPTORS, (1.0,) * 3)(image, mask)[0]
    turned = [part.permute(0, 3, 1, 2).flip(1) for part in (image, mask)]
    found = NoduleDescriptors(DESCRIPTORS, (1.0,) * 3)(*turned)[0]
    # Rays look elsewhere when the body is turned, so that what they see through noise differs a little.
    np.testing.assert_allclose(found, expected, rtol=0.1, atol=12.0)
    size = DESCRIPTORS.index("axis_short_mm") + 2
    np.testing.assert_allclose(found[:size], expected[:size], rtol=0.03)
    wide = [torch.nn.functional.pad(part, (6, 6) * 3, value=value) for part, value in ((image, -850.0), (mask, 0.0))]
    inner = NoduleDescriptors(DESCRIPTORS, (1.0,) * 3)(*wide)[0]
    np.testing.assert_allclose(inner, expected, rtol=0.02, atol=2.0)


def test_the_nodule_is_the_component_in_the_middle() -> None:
    image, mask = patch(sphere(5.0), (1.0, 1.0, 1.0))
    second = mask.roll(14, dims=2)
    alone, both = (NoduleDescriptors(("diameter_mm",), (1.0,) * 3)(image, own)[0, 0] for own in (mask, mask + second))
    torch.testing.assert_close(both, alone)


def test_what_lies_outside_the_scan_is_neither_tissue_nor_air() -> None:
    image, mask = patch(sphere(6.0), (1.0, 1.0, 1.0))
    names = ("around_3_6_hu", "around_3_6_tissue", "diameter_mm")
    expected = NoduleDescriptors(names, (1.0,) * 3)(image, mask)[0]
    valid = torch.ones_like(mask, dtype=torch.bool)
    valid[:, :12] = False
    broken = torch.where(valid, image, torch.tensor(3000.0))
    found = NoduleDescriptors(names, (1.0,) * 3)(broken, mask, valid)[0]
    np.testing.assert_allclose(found, expected, rtol=0.03, atol=2.0)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3])
def test_nothing_and_everything_have_finite_descriptors(value: float) -> None:
    image = torch.full((2, 12, 12, 12), -700.0)
    found = NoduleDescriptors(DESCRIPTORS, (1.0,) * 3)(image, torch.full_like(image, value))
    assert torch.isfinite(found).all()
    assert (found[:, -1] == float(value <= 0.5)).all()
    if value <= 0.5:
        assert found[0, 0].item() == pytest.approx(4.0, abs=0.4)


def test_intensities_are_turned_into_hu() -> None:
    image, mask = patch(sphere(8.0), (1.0, 1.0, 1.0))
    expected = NoduleDescriptors(DESCRIPTORS, (1.0,) * 3)(image, mask)
    found = NoduleDescriptors(DESCRIPTORS, (1.0,) * 3, 250.0, -300.0)((image + 300) / 250, mask)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0.05)


def test_an_unknown_descriptor_is_named() -> None:
    with pytest.raises(ValueError, match="colour"):
        NoduleDescriptors(("colour",), (1.0,) * 3)
