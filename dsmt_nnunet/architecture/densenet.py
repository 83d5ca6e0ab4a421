"""A plain classification network of the nodule patch, for comparison."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALLEST_PATCH = 32
"""Voxels a side: the network halves five times."""


class DenseNetFeatures(nn.Module):
    """MONAI's 3-D DenseNet121 on the local patch; nothing of the U-Net is looked at.

    A side shorter than `SMALLEST_PATCH` is continued by its outermost voxels.
    """

    def __init__(self, in_channels: int, out_features: int = 128) -> None:
        """
        Raises:
            ImportError: MONAI, which only this comparison needs, is not installed.
        """
        super().__init__()
        try:
            from monai.networks.nets import DenseNet121
        except ImportError as error:
            raise ImportError("DenseNet121 comes from MONAI: pip install 'dsmt-nnunet[study]'") from error
        self.network = DenseNet121(spatial_dims=3, in_channels=in_channels, out_channels=out_features)
        self.out_features = out_features

    def forward(self, image: Tensor, features: Sequence[Tensor], nodule_prob: Tensor) -> Tensor:
        """
        Args:
            image: (B, C, Z, Y, X).
            features, nodule_prob: not looked at.

        Returns:
            (B, out_features).
        """
        short = [max(0, SMALLEST_PATCH - length) for length in image.shape[:1:-1]]
        margins = [side for missing in short for side in (missing // 2, missing - missing // 2)]
        # On a CPU in float32: in bfloat16, channels last, maps of two voxels a side had gradients that are not finite
        # (torch 2.14). A GPU keeps its own precision.
        with torch.autocast("cpu", enabled=False):
            described: Tensor = self.network(functional.pad(image, margins, mode="replicate"))
        return described.float()
