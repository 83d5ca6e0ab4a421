"""The encoder of the context patch: what surrounds the nodule, at a coarse, isotropic resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder
from torch import Tensor, nn


class ContextEncoder(nn.Module):
    """A residual encoder whose last map is pooled over the whole field of view and around its centre.

    It normalises over the batch rather than over each patch: how dense the lung is as a whole must survive.
    """

    def __init__(self, in_channels: int, features: Sequence[int], blocks: int) -> None:
        """
        Args:
            in_channels: channels of the image.
            features: channels of each stage; each stage halves the resolution.
            blocks: residual blocks a stage.
        """
        super().__init__()
        self.encoder = ResidualEncoder(
            input_channels=in_channels,
            n_stages=len(features),
            features_per_stage=list(features),
            conv_op=nn.Conv3d,
            kernel_sizes=3,
            strides=2,
            n_blocks_per_stage=blocks,
            conv_bias=True,
            norm_op=nn.BatchNorm3d,
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
            disable_default_stem=True,
        )
        self.in_channels = in_channels
        self.out_features = 3 * features[-1]

    def feature_map_size(self, grid: int) -> int:
        """Voxels of all feature maps for one context patch of `grid` voxels a side, as nnU-Net counts them."""
        return int(self.encoder.compute_conv_feature_map_size([grid] * 3))

    def forward(self, context: Tensor) -> Tensor:
        """
        Args:
            context: (B, C, G, G, G), the nodule at the centre.

        Returns:
            (B, out_features): mean, maximum and centre-weighted mean of the last feature map.
        """
        feature = self.encoder(context).float()
        weight = _centre_weight(feature)
        return torch.cat(
            [
                feature.mean(dim=(2, 3, 4)),
                feature.amax(dim=(2, 3, 4)),
                (feature * weight).sum(dim=(2, 3, 4)),
            ],
            dim=1,
        )


def _centre_weight(feature: Tensor) -> Tensor:
    """A bell around the centre, a quarter of the field of view wide, that sums to 1."""
    weight = torch.ones((1, 1, 1, 1, 1), device=feature.device)
    for axis, size in enumerate(feature.shape[2:]):
        position = (torch.arange(size, device=feature.device) - (size - 1) / 2) / size
        shape = [1, 1, 1, 1, 1]
        shape[axis + 2] = size
        weight = weight * torch.exp(-0.5 * (position / 0.25) ** 2).reshape(shape)
    return weight / weight.sum()
