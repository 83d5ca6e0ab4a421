from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from dsmt_nnunet.architecture.context_encoder import ContextEncoder, Densitometry
from dsmt_nnunet.architecture.pooling import MaskGuidedPooling

SPACING = (2.0, 1.0, 1.0)
SHAPE = (24, 48, 48)


def pooling(central_region_mm: float = 12.0) -> MaskGuidedPooling:
    return MaskGuidedPooling(1, (3, 5), 4, SPACING, central_region_mm)


def distance_mm(centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> torch.Tensor:
    """From a point given relative to the middle of the patch."""
    axes = [
        (torch.arange(n) - (n - 1) / 2) * spacing - c for n, spacing, c in zip(SHAPE, SPACING, centre_mm, strict=True)
    ]
    return sum(axis**2 for axis in torch.meshgrid(*axes, indexing="ij")).sqrt()


def feature_maps(image: torch.Tensor) -> list[torch.Tensor]:
    """Two maps that depend on the image at the same place alone, unlike those of a network."""
    fine = torch.cat([image, image**2, 1 - image], dim=1)
    return [fine, functional.avg_pool3d(torch.cat([fine, fine[:, :2]], dim=1), (1, 2, 2))]


def pooled(image: torch.Tensor, prob: torch.Tensor, module: MaskGuidedPooling) -> torch.Tensor:
    return module(image, feature_maps(image), prob)


def test_the_width_is_as_announced() -> None:
    module = pooling()
    image = torch.randn(2, 1, *SHAPE)
    assert pooled(image, torch.rand(2, 1, *SHAPE), module).shape == (2, module.out_features)
    assert module.out_features == 5 * (2 * 4 + 1) + 1


def test_a_second_nodule_outside_the_central_region_changes_nothing() -> None:
    module = pooling()
    nodule = (distance_mm() < 4).float()[None, None]
    second = (distance_mm((0.0, 18.0, -16.0)) < 4).float()[None, None]
    alone = pooled(nodule, nodule, module)
    with_second = pooled(nodule + 3 * second, nodule + second, module)
    torch.testing.assert_close(with_second, alone, rtol=1e-3, atol=1e-3)
    shifted = (distance_mm((0.0, 3.0, 0.0)) < 4).float()[None, None]
    assert not torch.allclose(pooled(nodule + shifted, nodule, module), alone, atol=1e-2)


def test_a_second_nodule_in_the_corner_of_the_box_around_the_central_region_does_not_count() -> None:
    module = pooling(central_region_mm=24.0)
    nodule = (distance_mm() < 4).float()[None, None]
    second = (distance_mm((0.0, 13.5, 13.5)) < 2).float()[None, None]
    alone = pooled(nodule, nodule, module)[0]
    with_second = pooled(nodule + 2 * second, nodule + second, module)[0]
    mean, maximum_around, log_volume = 0, 4, 5
    for feature in (mean, maximum_around, log_volume):
        torch.testing.assert_close(with_second[feature], alone[feature], rtol=0, atol=0.02)


def test_the_nodule_and_its_surroundings_are_described_apart() -> None:
    module = pooling(central_region_mm=24.0)
    nodule = (distance_mm() < 4).float()[None, None]
    retraction = (distance_mm((0.0, 9.5, 0.0)) < 1.4).float()[None, None]
    mean, deviation, maximum, mean_around, maximum_around = pooled(5 * nodule, nodule, module)[0, :5]
    assert mean > 0
    assert maximum == 5
    assert (mean_around, maximum_around) == (0, 0)
    with_sign = pooled(5 * nodule + 2 * retraction, nodule, module)[0, :5]
    torch.testing.assert_close(with_sign[:3], torch.stack([mean, deviation, maximum]), rtol=0.01, atol=0)
    assert with_sign[3] > 0
    assert with_sign[4] == 2


def test_a_bubble_that_the_mask_leaves_out_counts_as_nodule() -> None:
    module = pooling(central_region_mm=24.0)
    bubble = (distance_mm((0.0, 2.0, 0.0)) < 1.5).float()[None, None]
    mask = (distance_mm() < 6).float()[None, None] * (1 - bubble)
    deviation, mean_around = 1, 3
    without = pooled(torch.zeros(1, 1, *SHAPE), mask, module)[0]
    with_bubble = pooled(-3 * bubble, mask, module)[0]
    assert with_bubble[deviation] > without[deviation] + 0.1
    assert with_bubble[mean_around] == without[mean_around]


def test_mean_and_deviation_are_those_of_the_voxels_under_the_mask_whatever_the_precision() -> None:
    module = pooling(central_region_mm=40.0)
    mask = distance_mm() < 6
    nodule = mask.float()[None, None]
    # 2.5 mm are one voxel of 2 mm and two of 1 mm (2.5 rounds to 2).
    grown = functional.max_pool3d(nodule, (3, 5, 5), stride=1, padding=(1, 2, 2))[0, 0] > 0
    image = (2.0 + 0.05 * torch.randn(SHAPE))[None, None]
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            mean, deviation = pooled(image, nodule, module)[0, :2]
        assert mean.item() == pytest.approx(image[0, 0][grown].mean().item(), abs=2e-3)
        assert deviation.item() == pytest.approx(image[0, 0][grown].std().item(), abs=2e-3)


def test_a_mask_that_fills_the_patch_gives_finite_values() -> None:
    image = torch.randn(2, 1, *SHAPE)
    assert torch.isfinite(pooled(image, torch.ones(2, 1, *SHAPE), pooling())).all()


def test_the_logarithm_of_the_volume_in_mm3_is_among_the_features() -> None:
    module = pooling(central_region_mm=30.0)
    nodule = (distance_mm() < 5).float()[None, None]
    size = pooled(nodule, nodule, module)[0, 5]
    assert size.item() == pytest.approx(math.log1p(nodule.sum().item() * 2.0) - 7.3, abs=0.02)
    empty = pooled(nodule, torch.zeros_like(nodule), module)[0, 5]
    assert empty.item() == pytest.approx(4.2 - 7.3), "no mask is a very small nodule, not an outlier"


def test_an_empty_mask_gives_finite_values_and_gradients() -> None:
    module = pooling()
    image = torch.zeros(2, 1, *SHAPE, requires_grad=True)
    features = pooled(image, torch.zeros(2, 1, *SHAPE), module)
    features.sum().backward()
    assert torch.isfinite(features).all()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


def test_with_an_empty_mask_the_middle_is_described() -> None:
    module = pooling()
    inner = (distance_mm() < 2).float()[None, None]
    outer = (distance_mm((0.0, 5.0, 0.0)) < 1.5).float()[None, None]
    empty = torch.zeros(1, 1, *SHAPE)
    nothing = pooled(empty, empty, module)[0, 0]
    assert pooled(inner, empty, module)[0, 0] > nothing + 0.3
    assert pooled(outer, empty, module)[0, 0] < nothing + 0.05


def test_the_mask_gets_no_say_beyond_the_patch() -> None:
    module = MaskGuidedPooling(1, (3,), 4, (1.0, 1.0, 1.0), central_region_mm=200.0)
    image = torch.randn(1, 1, 8, 8, 8)
    assert torch.isfinite(module(image, [torch.randn(1, 3, 1, 1, 1)], torch.rand(1, 1, 8, 8, 8))).all()


def test_the_context_encoder_sees_how_dense_the_lung_is_as_a_whole() -> None:
    encoder = ContextEncoder((4, 8), 1, [(-1.0, 1.0)], density_bins=0)
    context = torch.randn(4, 1, 16, 16, 16)
    scales = torch.tensor([0.5, 0.5, 1.5, 1.5]).reshape(4, 1, 1, 1, 1)
    for mode in (True, False):
        plain = encoder.train(mode)(context)
        changed = encoder(context * scales + scales)
        assert (changed - plain).abs().mean() > 0.05


def test_the_context_encoder_knows_the_middle_from_the_margin() -> None:
    encoder = ContextEncoder((4, 8), 1, [(-1.0, 1.0)], density_bins=0).eval()
    context = torch.zeros(2, 1, 16, 16, 16)
    context[0, :, 6:10, 6:10, 6:10] = 5
    context[1, :, :4, :4, :4] = 5
    middle, margin = encoder(context)[:, 16:24]
    assert not torch.allclose(middle, margin, atol=1e-3)


def test_densitometry_tells_how_much_is_how_dense() -> None:
    measured = Densitometry([(-1.0, 1.0)], bins=3)
    context = torch.full((1, 1, 4, 4, 4), -1.0)
    context[:, :, :2] = 0.5
    context[:, :, 3] = -7.0
    shares = torch.exp(measured(context) - 4.0).reshape(3, 2) - 1e-3
    # Half of the voxels lie half-way between the middle and the upper bin, and what is darker than air is air.
    torch.testing.assert_close(shares[:, 0], torch.tensor([0.5, 0.25, 0.25]))
    torch.testing.assert_close(shares[:, 1], torch.tensor([0.5, 0.25, 0.25]))
    assert measured.out_features == 6


def test_densitometry_weighs_the_centre() -> None:
    measured = Densitometry([(-3.0, 3.0), (-1.0, 1.0)], bins=2)
    context = torch.full((1, 2, 8, 8, 8), -3.0)
    context[:, 0, 2:6, 2:6, 2:6] = 3.0
    shares = torch.exp(measured(context) - 4.0).reshape(2, 2, 2) - 1e-3
    first, second = shares
    assert first[1, 0] == pytest.approx(1 / 8, abs=1e-4)
    assert 1.5 / 8 < first[1, 1] < 1.0, "the middle counts for more"
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 2), atol=1e-4, rtol=0)
    assert second[1, 0] == pytest.approx(0.0, abs=1e-4)


def test_densitometry_of_a_box_changes_gradually_and_has_a_gradient() -> None:
    measured = Densitometry([(-1.0, 1.0)], bins=16)
    context = torch.linspace(-1, 1, 64).reshape(1, 1, 4, 4, 4).requires_grad_(True)
    moved = (measured(context + 1e-4) - measured(context)).abs().max()
    assert 0 < moved < 0.01
    measured(context)[:, 3].sum().backward()
    assert context.grad is not None
    assert context.grad.abs().sum() > 0
