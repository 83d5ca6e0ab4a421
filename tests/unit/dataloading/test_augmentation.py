from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from dsmt_nnunet.dataloading.augmentation import (
    ContextIntensityTransform,
    DualScaleMirrorTransform,
    DualScaleSpatialTransform,
    centre_crop,
    dual_scale,
    sample_affine,
)
from tests.unit.small_plans import centroid

SPACING = np.array([2.5, 0.8, 0.8])
LOCAL, INITIAL = (20, 56, 56), (26, 72, 72)
CONTEXT_SPACING, GRID, READ = 2.0, 28, 40
OFFSET_MM = np.array([6.0, -9.0, 11.0])
LOCAL_AIR, CONTEXT_AIR = -2.0, -1.0


def bell(shape: tuple[int, ...], spacing: np.ndarray, offset_mm: np.ndarray, air: float) -> torch.Tensor:
    """(1, *shape): air, with a bell of 4 mm at an offset from the middle."""
    axes = [(np.arange(n) - (n - 1) / 2) * step - c for n, step, c in zip(shape, spacing, offset_mm, strict=True)]
    squared = sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij"))
    return torch.from_numpy(air + np.exp(-0.5 * squared / 4.0**2)).float()[None]


def sample(offset_mm: np.ndarray = OFFSET_MM, initial: tuple[int, ...] = INITIAL) -> dict[str, Any]:
    image = bell(initial, SPACING, offset_mm, LOCAL_AIR)
    return {
        "image": image,
        "segmentation": (image > LOCAL_AIR + 0.5).to(torch.int16),
        "context": bell((READ,) * 3, np.full(3, CONTEXT_SPACING), offset_mm, CONTEXT_AIR),
        "image_fill": [LOCAL_AIR],
        "context_fill": [CONTEXT_AIR],
    }


def spatial(patch: tuple[int, ...] = LOCAL, rotation: float = 0.5, **overrides: Any) -> SpatialTransform:
    settings = {"p_rotation": 1.0, "rotation": (-rotation, rotation), "p_scaling": 1.0, "scaling": (0.7, 1.4)}
    return SpatialTransform(
        patch, 0, random_crop=False, p_synchronize_scaling_across_axes=1, border_mode_seg="constant",
        padding_value_seg=-1, **{**settings, **overrides},
    )  # fmt: skip


def offsets_mm(result: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Where the bell is, in mm from the middle, in the local and in the context patch."""
    local, context = result["image"][0].numpy(), result["context"][0].numpy()
    found = []
    for patch, spacing, air in ((local, SPACING, LOCAL_AIR), (context, np.full(3, CONTEXT_SPACING), CONTEXT_AIR)):
        found.append((centroid(patch, air) - (np.array(patch.shape) - 1) / 2) * spacing)
    return found[0], found[1]


def visible(local_mm: np.ndarray) -> bool:
    """Whether the bell lies well inside the local patch, so that its centroid is not that of a part of it."""
    return bool(np.all(np.abs(local_mm) < np.array(LOCAL) * SPACING / 2 - 8))


@pytest.mark.parametrize("synchronised", [0.0, 1.0])
def test_rotation_and_zoom_leave_the_nodule_at_the_same_place_in_both_scales(synchronised: float) -> None:
    # Rotation in the space of anisotropic voxels is a shear in mm; the context has to follow it all the same.
    transform = DualScaleSpatialTransform(spatial(p_rot_per_axis=1.0), SPACING, GRID)
    transform.spatial.p_synchronize_scaling_across_axes = synchronised
    compared, moved = 0, 0.0
    for _ in range(30):
        local_mm, context_mm = offsets_mm(transform(**sample()))
        if visible(local_mm):
            compared += 1
            moved = max(moved, float(np.abs(local_mm - OFFSET_MM).max()))
            assert context_mm == pytest.approx(local_mm, abs=1.0)
    assert compared >= 10
    assert moved > 4, "the transform did not move the nodule, so nothing was compared"


def test_pseudo_2d_rotation_leaves_the_nodule_at_the_same_place_in_both_scales() -> None:
    initial = (LOCAL[0], *INITIAL[1:])
    transform = ComposeTransforms(
        [
            Convert3DTo2DTransform(),
            DualScaleSpatialTransform(spatial(LOCAL[1:], rotation=3.1), SPACING, GRID),
            Convert2DTo3DTransform(),
        ]
    )
    compared, moved = 0, 0.0
    for _ in range(30):
        result = transform(**sample(initial=initial))
        local_mm, context_mm = offsets_mm(result)
        if visible(local_mm):
            compared += 1
            moved = max(moved, float(np.abs(local_mm - OFFSET_MM).max()))
            assert context_mm == pytest.approx(local_mm, abs=1.0)
            assert local_mm[0] == pytest.approx(OFFSET_MM[0], abs=0.5)
    assert compared >= 10
    assert moved > 4


def test_mirroring_flips_both_scales_alike() -> None:
    transform = DualScaleMirrorTransform((0, 1, 2))
    crop = DualScaleSpatialTransform(spatial(p_rotation=0, p_scaling=0), SPACING, GRID)
    seen = set()
    for _ in range(40):
        local_mm, context_mm = offsets_mm(transform(**crop(**sample())))
        assert context_mm == pytest.approx(local_mm, abs=1.3)
        assert np.abs(local_mm) == pytest.approx(np.abs(OFFSET_MM), abs=0.6)
        seen.add(tuple(np.sign(local_mm)))
    assert len(seen) == 8


def test_all_of_nnunets_training_transforms_take_the_context_along() -> None:
    stock = nnUNetTrainer.get_training_transforms(
        LOCAL, (-0.5, 0.5), [[1, 1, 1], [1, 0.5, 0.5]], (0, 1, 2), False, [False], foreground_labels=[1]
    )
    transforms = dual_scale(stock, SPACING, GRID)
    kinds = [type(transform) for transform in transforms.transforms]
    assert DualScaleSpatialTransform in kinds
    assert DualScaleMirrorTransform in kinds
    assert SpatialTransform not in kinds
    assert MirrorTransform not in kinds
    result = transforms(**sample())
    assert result["image"].shape == (1, *LOCAL)
    assert result["context"].shape == (1, GRID, GRID, GRID)
    assert [tuple(scale.shape) for scale in result["segmentation"]] == [(1, *LOCAL), (1, 20, 28, 28)]
    assert result["segmentation"][0].min() == 0


def test_transforms_without_a_spatial_one_are_refused() -> None:
    with pytest.raises(ValueError, match="no SpatialTransform"):
        dual_scale(ComposeTransforms([MirrorTransform((0,))]), SPACING, GRID)


@pytest.mark.parametrize("in_plane", [False, True])
@pytest.mark.parametrize("corner", [None, (0, 0, 0), (9, 20, 30), (20, 50, 60)])
def test_around_the_nodule_the_mask_is_the_one_that_nnunet_samples(
    corner: tuple[int, int, int] | None, in_plane: bool
) -> None:
    given = sample(initial=(LOCAL[0], *INITIAL[1:]) if in_plane else INITIAL)
    mask = torch.zeros_like(given["segmentation"])
    if corner is not None:
        mask[(0, *(slice(low, low + 5) for low in corner))] = 1
    stock = spatial(LOCAL[1:] if in_plane else LOCAL, rotation=1.0, p_rot_per_axis=1.0)
    around, everywhere = (DualScaleSpatialTransform(stock, SPACING, GRID, background) for background in (True, False))
    seen = 0
    for _ in range(8):
        image, labels = (mask[0], mask[0]) if in_plane else (given["image"], mask)
        move = around.get_parameters(image=image)
        data = {**given, "image": image.float(), "segmentation": labels, "move": move}
        # Outside is -1, which later becomes background.
        found, expected = (transform(**data)["segmentation"].clamp(min=0) for transform in (around, everywhere))
        assert torch.equal(found, expected)
        seen += int(found.sum())
    assert seen if corner == (9, 20, 30) else corner is not None or not seen


def test_outside_the_scan_both_scales_are_air() -> None:
    flat = sample()
    flat["image"] = torch.zeros_like(flat["image"])
    flat["context"] = torch.zeros_like(flat["context"])
    zoom_out = DualScaleSpatialTransform(spatial(p_rotation=0, scaling=(2.5, 2.5)), SPACING, GRID)
    result = zoom_out(**flat)
    for name, air in (("image", LOCAL_AIR), ("context", CONTEXT_AIR)):
        patch = result[name][0]
        assert patch[0, 0, 0] == pytest.approx(air, abs=1e-5)
        middle = tuple(length // 2 for length in patch.shape)
        assert patch[middle] == pytest.approx(0, abs=1e-5)
        assert patch.min() >= air - 1e-5


def test_without_a_transform_the_middle_is_cropped() -> None:
    given = sample()
    result = DualScaleSpatialTransform(spatial(p_rotation=0, p_scaling=0), SPACING, GRID)(**given)
    torch.testing.assert_close(result["context"], given["context"][:, 6:34, 6:34, 6:34])
    torch.testing.assert_close(result["image"], given["image"][:, 3:23, 8:64, 8:64])


@pytest.mark.parametrize(("length", "size"), [(12, 8), (13, 8), (12, 7), (13, 7), (8, 8)])
def test_sampling_with_the_identity_equals_cropping(length: int, size: int) -> None:
    patch = torch.randn(2, length, length, length)
    sampled = sample_affine(patch, np.eye(3), size, torch.tensor([-1.0, -2.0]))
    torch.testing.assert_close(sampled, centre_crop(patch, size), rtol=1e-4, atol=1e-5)


def test_sampling_reads_the_result_at_the_affine_of_its_offset() -> None:
    patch = torch.zeros(1, 9, 9, 9)
    patch[0, 4, 5, 7] = 1.0
    affine = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    sampled = sample_affine(patch, affine, 9, torch.zeros(1))
    # Offset o = affine^-1 @ (0, 1, 3) = (1, 3, 0) from the middle.
    assert sampled[0, 5, 7, 4] == pytest.approx(1.0, abs=1e-5)


def test_each_channel_has_its_own_air_in_the_context() -> None:
    patch = torch.zeros(2, 6, 6, 6)
    sampled = sample_affine(patch, np.eye(3) * 4, 6, torch.tensor([-1.0, -3.0]))
    assert sampled[0].min() == pytest.approx(-1.0, abs=1e-5)
    assert sampled[1].min() == pytest.approx(-3.0, abs=1e-5)


def test_intensities_of_the_context_change_and_those_of_the_image_do_not() -> None:
    transform = ContextIntensityTransform()
    changed = 0
    for _ in range(40):
        image, context = torch.randn(1, 4, 4, 4), torch.randn(1, 6, 6, 6)
        result = transform(image=image.clone(), context=context.clone())
        torch.testing.assert_close(result["image"], image)
        changed += not torch.equal(result["context"], context)
    assert 5 < changed < 35


@pytest.mark.parametrize("in_plane", [False, True])
def test_outside_the_scan_each_channel_has_its_own_value(in_plane: bool) -> None:
    """Turned by 90 degrees about z, a patch shows corners that lie outside; there is its channel's fill."""
    fills = [-2.0, 3.0, 7.5]
    data = sample()
    shape = (4, 20, 40)
    data["image"] = torch.stack([torch.full(shape, fill) for fill in fills])
    data["segmentation"] = torch.zeros((1, *shape), dtype=torch.int16)
    data["image_fill"] = fills
    transform: Any = dual_scale(
        ComposeTransforms(
            [
                *([Convert3DTo2DTransform()] if in_plane else []),
                spatial(shape[1:] if in_plane else shape, rotation=np.pi / 2, p_scaling=0.0),
                *([Convert2DTo3DTransform()] if in_plane else []),
            ]
        ),
        SPACING,
        GRID,
    )
    image = transform(**data)["image"]
    for channel, fill in zip(image, fills, strict=True):
        np.testing.assert_allclose(channel.numpy(), fill, atol=1e-5)
