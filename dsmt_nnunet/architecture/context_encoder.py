"""The encoder of the context patch: what surrounds the nodule, at a coarse, isotropic resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder
from torch import Tensor, nn

_SMALLEST_SHARE = 1e-3
"""Added to the shares of a histogram before the logarithm."""


class ContextEncoder(nn.Module):
    """A residual encoder whose last map is pooled over the whole field of view and around its centre, and densitometry.

    It normalises over the batch rather than over each patch: how dense the lung is as a whole must survive.
    """

    def __init__(
        self, features: Sequence[int], blocks: int, ranges: Sequence[tuple[float, float]], density_bins: int
    ) -> None:
        """
        Args:
            features: channels of each stage; each stage halves the resolution.
            blocks: residual blocks a stage.
            ranges: lowest and highest intensity of each channel of the image.
            density_bins: of the histograms; 0 for none.
        """
        super().__init__()
        in_channels = len(ranges)
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
        self.densitometry = Densitometry(ranges, density_bins) if density_bins else None
        self.out_features = 3 * features[-1] + (self.densitometry.out_features if self.densitometry else 0)

    def feature_map_size(self, grid: int) -> int:
        """Voxels of all feature maps for one context patch of `grid` voxels a side, as nnU-Net counts them."""
        return int(self.encoder.compute_conv_feature_map_size([grid] * 3))

    def forward(self, context: Tensor) -> Tensor:
        """
        Args:
            context: (B, C, G, G, G), the nodule at the centre.

        Returns:
            (B, out_features): mean, maximum and centre-weighted mean of the last feature map, then the densitometry.
        """
        feature = self.encoder(context).float()
        weight = _centre_weight(feature)
        pooled = [
            feature.mean(dim=(2, 3, 4)),
            feature.amax(dim=(2, 3, 4)),
            (feature * weight).sum(dim=(2, 3, 4)),
        ]
        if self.densitometry is not None:
            pooled.append(self.densitometry(context))
        return torch.cat(pooled, dim=1)


class Densitometry(nn.Module):
    """How much of the surroundings is how dense: log-shares of a histogram, over all and around the centre.

    Emphysema (Gevenois et al., AJRCCM 1996) and high-attenuation areas (Lederer et al., AJRCCM 2009) are measured so in
    quantitative CT, and few labels suffice to learn from them. Each voxel counts for the two nearest bins, so that the
    shares are continuous.
    """

    def __init__(self, ranges: Sequence[tuple[float, float]], bins: int) -> None:
        """
        Args:
            ranges: lowest and highest intensity of each channel; what lies outside counts as the nearest.
            bins: a channel, their middles from the lowest to the highest.
        """
        super().__init__()
        self.ranges, self.bins = tuple(ranges), bins
        self.out_features = 2 * bins * len(self.ranges)

    def forward(self, context: Tensor) -> Tensor:
        """
        Args:
            context: (B, C, Z, Y, X).

        Returns:
            (B, out_features), about -3 where there is nothing to 4 where there is nothing else.
        """
        weight = _centre_weight(context).flatten(2)
        shares = []
        for channel, (low, high) in enumerate(self.ranges):
            place = (context[:, channel].float().flatten(1).clamp(low, high) - low) * ((self.bins - 1) / (high - low))
            for middle in range(self.bins):
                membership = (1.0 - (place - middle).abs()).clamp(min=0.0)
                shares += [membership.mean(dim=1), (membership * weight[:, 0]).sum(dim=1)]
        return torch.log(torch.stack(shares, dim=1) + _SMALLEST_SHARE) + 4.0


def _centre_weight(feature: Tensor) -> Tensor:
    """A bell around the centre, a quarter of the field of view wide, that sums to 1."""
    weight = torch.ones((1, 1, 1, 1, 1), device=feature.device)
    for axis, size in enumerate(feature.shape[2:]):
        position = (torch.arange(size, device=feature.device) - (size - 1) / 2) / size
        shape = [1, 1, 1, 1, 1]
        shape[axis + 2] = size
        weight = weight * torch.exp(-0.5 * (position / 0.25) ** 2).reshape(shape)
    return weight / weight.sum()
