"""Augmentation of both scales: nnU-Net's transforms, with the context patch taken along.

The local and the context patch go through one geometric transform. Intensities are augmented independently, since the
two scales are two views with their own noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from torch import Tensor
from torch.nn.functional import grid_sample

Affine = npt.NDArray[np.float64]
DataDict = dict[str, Any]
"""What batchgenerators hands from transform to transform: tensors, and what else a transform wants to know."""

MOVE = "move"
"""Entry of a sample: rotation and zoom, where they were drawn before it was read."""
CONTEXT_MARGIN = 1.4
"""The context patch is read larger by this factor in training, so that rotation and zoom show scan, not padding."""


class DualScaleSpatialTransform(BasicTransform):
    """nnU-Net's spatial transform, and the same rotation and zoom, in mm, of the context patch."""

    def __init__(
        self,
        spatial: SpatialTransform,
        spacing_mm: Sequence[float],
        context_grid: int,
        outside_is_background: bool = False,
    ) -> None:
        """
        Args:
            spatial: nnU-Net's transform, 3-D or (after its pseudo 2-D conversion) in plane.
            spacing_mm: voxel size of the local patch, along its axes.
            context_grid: voxels a side of the context patch that is returned.
            outside_is_background: whether nothing that follows tells the label of what lies outside from background;
                the mask is then sampled around the nodules alone.
        """
        super().__init__()
        self.spatial = spatial
        self.spacing_mm = tuple(float(value) for value in spacing_mm)
        self.context_grid = context_grid
        self.outside_is_background = outside_is_background

    def draw(self, shape: Sequence[int]) -> DataDict:
        """Draws rotation and zoom of a patch that is read with a shape (Z, Y, X), before it is read."""
        in_plane = shape[len(shape) - len(self.spatial.patch_size) :]
        return self.get_parameters(image=torch.empty((1, *in_plane), device="meta"))

    def get_parameters(self, **data_dict: Any) -> DataDict:
        if MOVE in data_dict:
            drawn: DataDict = data_dict[MOVE]
            return drawn
        parameters: DataDict = self.spatial.get_parameters(**data_dict)
        affine = parameters["affine"]
        parameters["context_affine"] = None if affine is None else self._in_millimetres(affine)
        return parameters

    def apply(self, data_dict: DataDict, **params: Any) -> DataDict:
        data_dict.pop(MOVE, None)
        context, fill = data_dict["context"], torch.tensor(data_dict["context_fill"], dtype=torch.float32)
        affine = params.pop("context_affine")
        data_dict["context"] = (
            centre_crop(context, self.context_grid)
            if affine is None
            else sample_affine(context, affine, self.context_grid, fill)
        )
        if params["grid"] is None:
            return self._middle(data_dict, **params)
        # nnU-Net pads every channel with one value; shifted by its own, each of them has 0 outside.
        image = data_dict["image"]
        shift = _of_each_channel(data_dict["image_fill"], image)
        data_dict["image"] = image - shift
        self.spatial.padding_mode_image, self.spatial.padding_value_image = "constant", 0.0
        segmentation = data_dict.pop("segmentation")
        transformed: DataDict = self.spatial.apply(data_dict, **params)
        transformed["image"] = transformed["image"] + shift
        transformed["segmentation"] = self._moved_mask(segmentation, **params)
        return transformed

    def _moved_mask(self, segmentation: Tensor, **params: Any) -> Tensor:
        """nnU-Net's sampling of the labels, which takes half of a sample's time, where there are some."""
        spatial, patch = copy(self.spatial), [int(length) for length in self.spatial.patch_size]
        box = [slice(0, length) for length in patch]
        regular = params["elastic_offsets"] is None and not spatial.random_crop
        if self.outside_is_background and regular:
            box = _box_of_labels(segmentation, params["affine"], patch)
        spatial.patch_size = tuple(side.stop - side.start for side in box)
        moved = torch.zeros((segmentation.shape[0], *patch), dtype=segmentation.dtype)
        if all(spatial.patch_size):
            labels = spatial._apply_to_segmentation(segmentation, **{**params, "grid": params["grid"][tuple(box)]})
            moved[(slice(None), *box)] = labels
        return moved

    def _middle(self, data_dict: DataDict, **params: Any) -> DataDict:
        """What is neither turned nor zoomed is cropped, unless no more than its middle was read."""
        if tuple(data_dict["image"].shape[1:]) == tuple(self.spatial.patch_size):
            return data_dict
        cropped: DataDict = self.spatial.apply(data_dict, **params)
        return cropped

    def _in_millimetres(self, affine: Affine) -> Affine:
        """The voxel-space affine of the local patch as one of mm; the isotropic context grid takes it as it is."""
        full = np.eye(3)
        full[3 - affine.shape[0] :, 3 - affine.shape[0] :] = affine
        spacing = np.asarray(self.spacing_mm)
        in_mm: Affine = full * spacing[:, None] / spacing[None, :]
        return in_mm


class DualScaleTransforms(ComposeTransforms):
    """nnU-Net's training transforms of both scales, which tell what they will do before a patch is read.

    A patch is read larger than it is shown, since it may be turned or zoomed; most are not.
    """

    def draw(self, shape: Sequence[int]) -> tuple[DataDict, bool]:
        """
        Args:
            shape: (Z, Y, X) of a patch that is read with a margin for rotation and zoom.

        Returns:
            What is drawn, to be handed in as `MOVE`, and whether only the middle of both patches will be looked at.
        """
        (transform,) = (own for own in self.transforms if isinstance(own, DualScaleSpatialTransform))
        drawn = transform.draw(shape)
        return drawn, drawn["grid"] is None and not transform.spatial.random_crop


class DualScaleMirrorTransform(MirrorTransform):
    """nnU-Net's mirroring, of both scales."""

    def apply(self, data_dict: DataDict, **params: Any) -> DataDict:
        data_dict = super().apply(data_dict, **params)
        data_dict["context"] = self._apply_to_image(data_dict["context"], **params)
        return data_dict


class ContextIntensityTransform(BasicTransform):
    """Noise, brightness and contrast of the context patch."""

    def __init__(self) -> None:
        super().__init__()
        self.transform = ComposeTransforms(
            [
                RandomTransform(
                    GaussianNoiseTransform(noise_variance=(0, 0.05), p_per_channel=1, synchronize_channels=True),
                    apply_probability=0.1,
                ),
                RandomTransform(
                    MultiplicativeBrightnessTransform(
                        multiplier_range=BGContrast((0.85, 1.15)), synchronize_channels=False, p_per_channel=1
                    ),
                    apply_probability=0.15,
                ),
                RandomTransform(
                    ContrastTransform(
                        contrast_range=BGContrast((0.85, 1.15)),
                        preserve_range=True,
                        synchronize_channels=False,
                        p_per_channel=1,
                    ),
                    apply_probability=0.15,
                ),
            ]
        )

    def apply(self, data_dict: DataDict, **params: Any) -> DataDict:
        data_dict["context"] = self.transform(image=data_dict["context"])["image"]
        return data_dict


CHANGES_OF_DENSITY = (
    "GaussianBlurTransform",
    "MultiplicativeBrightnessTransform",
    "ContrastTransform",
    "SimulateLowResolutionTransform",
    "GammaTransform",
)
"""nnU-Net's transforms after which a nodule's HU are others: they would teach that density does not matter."""


def keeping_size_and_density(transforms: ComposeTransforms) -> ComposeTransforms:
    """nnU-Net's training transforms without zoom and without changes of density; slight noise stays.

    Raises:
        ValueError: nnU-Net's list holds no spatial transform, whose zoom could be left out.
    """
    kept: list[BasicTransform] = []
    for transform in transforms.transforms:
        inner = transform.transform if isinstance(transform, RandomTransform) else transform
        name = type(inner).__name__
        if name in CHANGES_OF_DENSITY:
            continue
        if isinstance(inner, SpatialTransform):
            inner.p_scaling = 0.0
        kept.append(transform)
    if not any(isinstance(transform, SpatialTransform) for transform in kept):
        raise ValueError("nnU-Net's training transforms hold no SpatialTransform, whose zoom could be left out.")
    return ComposeTransforms(kept)


def dual_scale(transforms: ComposeTransforms, spacing_mm: Sequence[float], context_grid: int) -> DualScaleTransforms:
    """nnU-Net's training transforms with the context patch taken along.

    Raises:
        ValueError: nnU-Net's list holds no spatial transform, so that the scales would part ways unnoticed.
    """
    replaced: list[BasicTransform] = []
    kinds = [type(transform) for transform in transforms.transforms]
    outside_is_background = RemoveLabelTansform in kinds and MaskImageTransform not in kinds
    for transform in transforms.transforms:
        if isinstance(transform, SpatialTransform):
            replaced.append(DualScaleSpatialTransform(transform, spacing_mm, context_grid, outside_is_background))
        elif isinstance(transform, MirrorTransform):
            replaced.append(DualScaleMirrorTransform(transform.allowed_axes))
        else:
            replaced.append(transform)
    if not any(isinstance(transform, DualScaleSpatialTransform) for transform in replaced):
        raise ValueError("nnU-Net's training transforms hold no SpatialTransform to apply to both scales.")
    return DualScaleTransforms([*replaced, ContextIntensityTransform()])


def _box_of_labels(segmentation: Tensor, affine: Affine, patch: Sequence[int]) -> list[slice]:
    """The part of a moved patch in which anything but background can lie; empty sides where there is none.

    Args:
        segmentation: (C, *axes) as read.
        affine: what the voxel at an offset from the middle of the moved patch is read at, see `sample_affine`.
        patch: voxels of the moved patch.
    """
    present = (segmentation != 0).any(dim=0).numpy()
    corners = []
    for axis, length in enumerate(present.shape):
        found = np.flatnonzero(present.any(axis=tuple(other for other in range(present.ndim) if other != axis)))
        if not len(found):
            return [slice(0, 0)] * present.ndim
        # A voxel is seen from less than one voxel away.
        corners.append(np.array([found[0] - 1.0, found[-1] + 1.0]) - (length - 1) / 2)
    offsets = np.stack(np.meshgrid(*corners, indexing="ij"), axis=-1).reshape(-1, present.ndim)
    places = np.linalg.solve(affine, offsets.T).T + (np.array(patch) - 1) / 2
    low = np.clip(np.floor(places.min(axis=0)), 0, patch).astype(int)
    high = np.clip(np.ceil(places.max(axis=0)) + 1, low, patch).astype(int)
    return [slice(int(first), int(last)) for first, last in zip(low, high, strict=True)]


def _of_each_channel(values: Sequence[float], image: Tensor) -> Tensor:
    """A value a channel, to be added to (C, Z, Y, X), or to (C * Z, Y, X) of nnU-Net's pseudo 2-D augmentation."""
    own = torch.tensor(values, dtype=image.dtype).repeat_interleave(image.shape[0] // len(values))
    return own.reshape(-1, *[1] * (image.dim() - 1))


def centre_crop(patch: Tensor, size: int) -> Tensor:
    """The middle (C, size, size, size) of a patch, as a float32 copy."""
    start = [(length - size) // 2 for length in patch.shape[1:]]
    middle = patch[:, start[0] : start[0] + size, start[1] : start[1] + size, start[2] : start[2] + size]
    return middle.to(torch.float32, copy=True)


def sample_affine(patch: Tensor, affine: Affine, size: int, fill: Tensor) -> Tensor:
    """Samples a (C, size, size, size) patch about the same centre.

    Args:
        patch: (C, Z, Y, X), isotropic.
        affine: (3, 3), axes (z, y, x); the voxel at offset `o` from the centre of the result is read at `affine @ o`.
        size: voxels a side of the result.
        fill: (C,), value outside the patch.
    """
    lengths = np.array(patch.shape[1:])
    # The centre of the result is the centre of what centre_crop would give.
    centre = (lengths - size) // 2 + (size - 1) / 2
    # In the coordinates of grid_sample, from -1 to 1 along each side, x first.
    offsets = (np.arange(size) - (size - 1) / 2)[:, None]
    steps = np.asarray(affine).T[:, ::-1] * 2 / lengths[::-1]
    middle = ((2 * centre + 1) / lengths - 1)[::-1]
    # A sum of three lines is a fraction of the work of a matrix product over all voxels.
    z, y, x = (torch.from_numpy(np.ascontiguousarray(offsets * step)).float() for step in steps)
    x = x + torch.from_numpy(middle.copy()).float()
    grid = z[:, None, None] + (y[:, None] + x[None])[None]
    shift = fill.reshape(-1, 1, 1, 1)
    return grid_sample((patch.float() - shift)[None], grid[None], align_corners=False)[0] + shift
