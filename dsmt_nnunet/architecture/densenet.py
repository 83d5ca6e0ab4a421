"""A plain classification network of the nodule patch, for comparison."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class DenseNetFeatures(nn.Module):
    """MONAI's 3-D DenseNet121 on the local patch; nothing of the U-Net is looked at."""

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
        described: Tensor = self.network(image)
        return described.float()
