"""DSMTNet: nnU-Net's own U-Net, a context encoder, mask-guided pooling and one head a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dsmt_nnunet.architecture.context_encoder import ContextEncoder
from dsmt_nnunet.architecture.densenet import DenseNetFeatures
from dsmt_nnunet.architecture.pooling import AveragePooling, MaskGuidedPooling
from dsmt_nnunet.architecture.precision import Precision


class DSMTOutput(NamedTuple):
    """What the network says of a batch.

    Attributes:
        segmentation: logits (B, K, Z, Y, X); with deep supervision a list of them, the finest first.
        tasks: one (B, classes) tensor of logits a task, in the schema's order.
    """

    segmentation: Tensor | list[Tensor]
    tasks: list[Tensor]


class TaskHead(nn.Sequential):
    """Fuses local and context features and answers one task."""

    def __init__(self, in_features: int, hidden_features: int, classes: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(in_features, hidden_features),
            nn.LayerNorm(hidden_features),
            nn.LeakyReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden_features, classes),
        )


class DSMTNet(nn.Module):
    """Dual-scale multi-task network.

    `network(x)` is the segmentation alone, as nnU-Net expects it everywhere; `network(x, context)` is a `DSMTOutput`.
    The attributes `encoder` and `decoder` are those of nnU-Net's networks, under the same names, so that deep
    supervision is switched in the stock way and stock weights fit them.
    """

    def __init__(
        self,
        backbone: Any,
        pooling: MaskGuidedPooling | AveragePooling | DenseNetFeatures,
        context_encoder: ContextEncoder | None,
        heads: Sequence[TaskHead],
    ) -> None:
        """
        Args:
            backbone: nnU-Net's PlainConvUNet or ResidualEncoderUNet.
            pooling: what describes the nodule, see `POOLINGS` of the plan.
            context_encoder: None for a model that sees the local patch alone.
            heads: one a task.
        """
        super().__init__()
        self.encoder: Any = backbone.encoder
        self.decoder: Any = backbone.decoder
        self.pooling = pooling
        self.context_encoder = context_encoder
        self.heads = nn.ModuleList(heads)
        self.precision = Precision.plain()

    def use_precision(self, precision: Precision) -> DSMTNet:
        """Runs every forward pass, whoever calls it, with this precision; weights and results stay float32."""
        self.precision = precision
        precision.prepare(self)
        return self

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor | list[Tensor] | DSMTOutput:
        """
        Args:
            x: local patch (B, C, Z, Y, X), the nodule near the centre.
            context: context patch (B, C, G, G, G) around the same centre.
        """
        segmentation, skips = self._segment(x)
        if context is None:
            return segmentation
        nodule = self._pool(x, segmentation, skips)
        return DSMTOutput(segmentation, self.answer(nodule, self.describe_context(context)))

    def describe(self, x: Tensor) -> Tensor:
        """Pooled features (B, F) of the nodule at the centre of local patches (B, C, Z, Y, X)."""
        segmentation, skips = self._segment(x)
        return self._pool(x, segmentation, skips)

    def describe_context(self, context: Tensor) -> Tensor | None:
        """Features (B, F) of context patches (B, C, G, G, G); None in a model that sees the local patch alone."""
        if self.context_encoder is None:
            return None
        with self.precision.autocast():
            features: Tensor = self.context_encoder(self.precision.prepare_input(context))
        return features

    def answer(self, nodule: Tensor, surroundings: Tensor | None) -> list[Tensor]:
        """One (B, classes) tensor of logits a task, from what `describe` and `describe_context` give."""
        with self.precision.autocast():
            features = nodule if surroundings is None else torch.cat([nodule, surroundings], dim=1)
            return [head(features).float() for head in self.heads]

    def _segment(self, x: Tensor) -> tuple[Tensor | list[Tensor], Sequence[Tensor]]:
        """Logits of the segmentation, and the feature maps of the encoder."""
        with self.precision.autocast():
            skips = self.encoder(self.precision.prepare_input(x))
            decoded = self.decoder(skips)
        segmentation = [scale.float() for scale in decoded] if isinstance(decoded, list) else decoded.float()
        return segmentation, skips

    def _pool(self, x: Tensor, segmentation: Tensor | list[Tensor], skips: Sequence[Tensor]) -> Tensor:
        finest = segmentation[0] if isinstance(segmentation, list) else segmentation
        nodule_prob = 1.0 - torch.softmax(finest.detach(), dim=1)[:, :1]
        with self.precision.autocast():
            return self.pooling(self.precision.prepare_input(x), skips[1:], nodule_prob)

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Parameters of the segmentation: encoder and decoder."""
        own = {id(parameter): parameter for part in (self.encoder, self.decoder) for parameter in part.parameters()}
        return list(own.values())

    def classification_parameters(self) -> list[nn.Parameter]:
        """All other parameters: pooling, context encoder, heads."""
        backbone = {id(parameter) for parameter in self.backbone_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in backbone]
