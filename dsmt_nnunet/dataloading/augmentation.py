"""Augmentation of both scales: nnU-Net's transforms, with the context patch taken along.

The local and the context patch go through one geometric transform. Intensities are augmented independently, since the
two scales are two views with their own noise.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from torch import Tensor
from torch.nn.functional import grid_sample

Affine = npt.NDArray[np.float64]
DataDict = dict[str, Any]
"""What batchgenerators hands from transform to transform: tensors, and what else a transform wants to know."""

CONTEXT_MARGIN = 1.4
"""The context patch is read larger by this factor in training, so that rotation and zoom show scan, not padding."""


class DualScaleSpatialTransform(BasicTransform):
    """nnU-Net's spatial transform, and the same rotation and zoom, in mm, of the context patch."""

    def __init__(self, spatial: SpatialTransform, spacing_mm: Sequence[float], context_grid: int) -> None:
        """
        Args:
            spatial: nnU-Net's transform, 3-D or (after its pseudo 2-D conversion) in plane.
            spacing_mm: voxel size of the local patch, along its axes.
            context_grid: voxels a side of the context patch that is returned.
        """
        super().__init__()
        self.spatial = spatial
        self.spacing_mm = tuple(float(value) for value in spacing_mm)
        self.context_grid = context_grid

    def get_parameters(self, **data_dict: Any) -> DataDict:
        parameters: DataDict = self.spatial.get_parameters(**data_dict)
        affine = parameters["affine"]
        parameters["context_affine"] = None if affine is None else self._in_millimetres(affine)
        return parameters

    def apply(self, data_dict: DataDict, **params: Any) -> DataDict:
        context, fill = data_dict["context"], torch.tensor(data_dict["context_fill"], dtype=torch.float32)
        affine = params.pop("context_affine")
        data_dict["context"] = (
            centre_crop(context, self.context_grid)
            if affine is None
            else sample_affine(context, affine, self.context_grid, fill)
        )
        # nnU-Net pads every channel with one value; shifted by its own, each of them has 0 outside.
        image = data_dict["image"]
        shift = _of_each_channel(data_dict["image_fill"], image)
        data_dict["image"] = image - shift
        self.spatial.padding_mode_image, self.spatial.padding_value_image = "constant", 0.0
        transformed: DataDict = self.spatial.apply(data_dict, **params)
        transformed["image"] = transformed["image"] + shift
        return transformed

    def _in_millimetres(self, affine: Affine) -> Affine:
        """The voxel-space affine of the local patch as one of mm; the isotropic context grid takes it as it is."""
        full = np.eye(3)
        full[3 - affine.shape[0] :, 3 - affine.shape[0] :] = affine
        spacing = np.asarray(self.spacing_mm)
        in_mm: Affine = full * spacing[:, None] / spacing[None, :]
        return in_mm


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


def dual_scale(transforms: ComposeTransforms, spacing_mm: Sequence[float], context_grid: int) -> ComposeTransforms:
    """nnU-Net's training transforms with the context patch taken along.

    Raises:
        ValueError: nnU-Net's list holds no spatial transform, so that the scales would part ways unnoticed.
    """
    replaced: list[BasicTransform] = []
    for transform in transforms.transforms:
        if isinstance(transform, SpatialTransform):
            replaced.append(DualScaleSpatialTransform(transform, spacing_mm, context_grid))
        elif isinstance(transform, MirrorTransform):
            replaced.append(DualScaleMirrorTransform(transform.allowed_axes))
        else:
            replaced.append(transform)
    if not any(isinstance(transform, DualScaleSpatialTransform) for transform in replaced):
        raise ValueError("nnU-Net's training transforms hold no SpatialTransform to apply to both scales.")
    return ComposeTransforms([*replaced, ContextIntensityTransform()])


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
