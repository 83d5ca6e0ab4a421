"""Pooling the nodule out of a patch: guided by the mask the network itself predicts, at several resolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPSILON = 1e-4
_PRIOR_WEIGHT = 0.02
_DILATION_MM = 2.5
_SMALLEST_LOG_VOLUME, _MEDIUM_LOG_VOLUME = 4.2, 7.3
"""Of spheres of 5 and 14 mm, in log mm3."""
_RIM_MM = 3.0
"""Beyond the central region, where its soft border has come down to 5 %."""


class MaskGuidedPooling(nn.Module):
    """Describes the nodule at the centre of a patch by statistics of features.

    At each resolution features are projected to a common width and pooled five ways: mean, standard deviation and
    maximum under the predicted nodule probability, mean and maximum around the nodule. Each of the five sees only a
    central region of fixed size, so that a second nodule in the patch does not count. Inside and around are kept apart
    because signs such as pleural retraction lie outside the nodule, where they would be drowned by it. The image itself
    is pooled in the same way, and the volume under the mask is added: what a radiologist reads as size and density.

    The mask is grown by a few mm first, so that bubbles it leaves out and the rim count as nodule. A small prior in the
    middle of the region keeps the mask-guided statistics defined where nothing was segmented.
    """

    def __init__(
        self,
        in_channels: int,
        stage_features: Sequence[int],
        lateral_features: int,
        spacing_mm: Sequence[float],
        central_region_mm: float,
        guided: bool = True,
    ) -> None:
        """
        Args:
            in_channels: channels of the image.
            stage_features: channels of each feature map that is pooled.
            lateral_features: width to which each is projected.
            spacing_mm: voxel size of the patch along its axes.
            central_region_mm: diameter of the central region.
            guided: False ignores the mask, so that the middle of the region counts as the nodule.
        """
        super().__init__()
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv3d(features, lateral_features, 1), nn.LeakyReLU(inplace=True))
            for features in stage_features
        )
        self.spacing_mm = tuple(float(value) for value in spacing_mm)
        self.central_region_mm = central_region_mm
        self.guided = guided
        self.out_features = 5 * (lateral_features * len(self.laterals) + in_channels) + 1

    def forward(self, image: Tensor, features: Sequence[Tensor], nodule_prob: Tensor) -> Tensor:
        """
        Args:
            image: (B, C, Z, Y, X).
            features: one (B, F, Z', Y', X') a stage, from fine to coarse.
            nodule_prob: (B, 1, Z, Y, X), without gradient.

        Returns:
            (B, out_features).
        """
        if not self.guided:
            nodule_prob = torch.zeros_like(nodule_prob)
        central, prior = self._central_weights(image)
        nodule = self._dilated(nodule_prob)
        weight = central * (nodule + _PRIOR_WEIGHT * prior)
        around = central * (1.0 - nodule)
        volume_mm3 = (central * nodule_prob).sum(dim=(2, 3, 4)) * self._voxel_mm3()
        shares = self._central_shares(image.shape[2:])
        pooled = [self._statistics(image, weight, around, shares), self._size(volume_mm3)]
        for lateral, feature in zip(self.laterals, features, strict=True):
            size = (feature.shape[2], feature.shape[3], feature.shape[4])
            own_weight = functional.adaptive_avg_pool3d(weight, size)
            own_around = functional.adaptive_avg_pool3d(around, size)
            pooled.append(self._statistics(feature, own_weight, own_around, shares, lateral))
        return torch.cat(pooled, dim=1)

    def _statistics(
        self,
        feature: Tensor,
        weight: Tensor,
        around: Tensor,
        shares: Sequence[float],
        lateral: nn.Module | None = None,
    ) -> Tensor:
        """(B, 5 F): mean, standard deviation and maximum in the nodule, mean and maximum around it.

        Only the box around the central region is projected and read.
        """
        middle = [_middle(length, share) for length, share in zip(feature.shape[2:], shares, strict=True)]
        box = (slice(None), slice(None), *middle)
        feature, weight, around = feature[box], weight[box], around[box]
        if lateral is not None:
            feature = lateral(feature)
        values = feature.float().flatten(2)
        raw_weights = torch.cat([weight, around], dim=1).float().flatten(2)
        weights = raw_weights / (raw_weights.sum(dim=2, keepdim=True) + _EPSILON)
        # Products and sums rather than matrix products, which autocast would round to 8 or 11 bits.
        mean, mean_around = ((values * weights[:, i : i + 1]).sum(dim=2) for i in range(2))
        variance = ((values - mean[..., None]) ** 2 * weights[:, :1]).sum(dim=2)
        deviation = torch.sqrt(variance + _EPSILON)
        elsewhere = raw_weights < 0.5 * raw_weights.amax(dim=2, keepdim=True)
        maxima = [values.masked_fill(elsewhere[:, i : i + 1], -torch.inf).amax(dim=2) for i in range(2)]
        return torch.cat([mean, deviation, maxima[0], mean_around, maxima[1]], dim=1)

    def _dilated(self, nodule_prob: Tensor) -> Tensor:
        """The mask grown by `_DILATION_MM`: bubbles that the segmentation leaves out, and the rim, are nodule."""
        # One axis after the other: the same maximum over the same box, in a fraction of the time. (So is this; on a
        # CPU max_pool3d takes ten times as long.)
        for axis, spacing in enumerate(self.spacing_mm):
            reach = round(_DILATION_MM / spacing)
            if reach:
                padding = [0, 0] * (2 - axis) + [reach, reach]
                padded = functional.pad(nodule_prob, padding, value=-torch.inf)
                nodule_prob = padded.unfold(axis + 2, 2 * reach + 1, 1).amax(dim=-1)
        return nodule_prob

    def _central_shares(self, patch: Sequence[int]) -> list[float]:
        """Along each axis, the share of the patch that holds the central region and its rim."""
        wanted_mm = self.central_region_mm + 2 * _RIM_MM
        return [min(1.0, wanted_mm / (n * spacing)) for n, spacing in zip(patch, self.spacing_mm, strict=True)]

    @staticmethod
    def _size(volume_mm3: Tensor) -> Tensor:
        """About -1 for a sphere of 10 mm, 1 for one of 20 mm."""
        return torch.log1p(volume_mm3).clamp(min=_SMALLEST_LOG_VOLUME) - _MEDIUM_LOG_VOLUME

    def _voxel_mm3(self) -> float:
        return self.spacing_mm[0] * self.spacing_mm[1] * self.spacing_mm[2]

    def _central_weights(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 1, Z, Y, X) each: the central region with a soft rim, and a narrow bell in its middle."""
        squared = torch.zeros((), device=image.device)
        for axis, (size, spacing) in enumerate(zip(image.shape[2:], self.spacing_mm, strict=True)):
            offset = (torch.arange(size, device=image.device) - (size - 1) / 2) * spacing
            shape = [1, 1, 1]
            shape[axis] = size
            squared = squared + (offset**2).reshape(shape)
        distance = squared.sqrt()
        radius = self.central_region_mm / 2
        central = torch.sigmoid(radius - distance)
        prior = torch.exp(-0.5 * (distance / (radius / 4)) ** 2)
        return central[None, None], prior[None, None]


class AveragePooling(nn.Module):
    """The mean of the bottleneck over the whole patch."""

    def __init__(self, bottleneck_features: int) -> None:
        super().__init__()
        self.out_features = bottleneck_features

    def forward(self, image: Tensor, features: Sequence[Tensor], nodule_prob: Tensor) -> Tensor:
        """
        Args:
            image, nodule_prob: not looked at.
            features: one (B, F, Z', Y', X') a stage, the last one of which is pooled.

        Returns:
            (B, out_features).
        """
        return features[-1].float().mean(dim=(2, 3, 4))


def _middle(length: int, share: float) -> slice:
    """The middle of an axis, rounded outwards."""
    half = length * share / 2
    return slice(max(0, math.floor(length / 2 - half)), min(length, math.ceil(length / 2 + half)))
