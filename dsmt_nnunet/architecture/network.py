"""DSMTNet: nnU-Net's own U-Net, a context encoder, mask-guided pooling and one head a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from dsmt_nnunet.architecture.context_encoder import ContextEncoder
from dsmt_nnunet.architecture.densenet import DenseNetFeatures
from dsmt_nnunet.architecture.heads import TaskHead
from dsmt_nnunet.architecture.morphology import NoduleDescriptors
from dsmt_nnunet.architecture.pooling import AveragePooling, MaskGuidedPooling
from dsmt_nnunet.architecture.precision import Precision

if TYPE_CHECKING:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet


class DSMTOutput(NamedTuple):
    """What the network says of a batch.

    Attributes:
        segmentation: logits (B, K, Z, Y, X); with deep supervision a list of them, the finest first.
        tasks: one (B, classes) tensor of logits a task, in the schema's order.
        deep: one (B, scores) tensor a task: what the deep part alone says, before its share is taken.
    """

    segmentation: Tensor | list[Tensor]
    tasks: list[Tensor]
    deep: list[Tensor]


class DSMTNet(nn.Module):
    """Dual-scale multi-task network.

    `network(x)` is the segmentation alone, as nnU-Net expects it everywhere; `network(x, context)` is a `DSMTOutput`.
    Its answers are sums of a wide part, linear in descriptors of the nodule's morphology, and a deep one. Training
    gives the wide part from outside (`wide`), out of fold; else it is what the fitted heads say of the predicted mask.
    The attributes `encoder` and `decoder` are those of nnU-Net's networks, under the same names, so that deep
    supervision is switched in the stock way and stock weights fit them.
    """

    def __init__(
        self,
        backbone: PlainConvUNet | ResidualEncoderUNet,
        pooling: MaskGuidedPooling | AveragePooling | DenseNetFeatures,
        context_encoder: ContextEncoder | None,
        heads: Sequence[TaskHead],
        descriptors: NoduleDescriptors | None = None,
    ) -> None:
        """
        Args:
            backbone: nnU-Net's PlainConvUNet or ResidualEncoderUNet.
            pooling: what describes the nodule, see `POOLINGS` of the plan.
            context_encoder: None for a model that sees the local patch alone.
            heads: one a task.
            descriptors: measures the nodule for the wide part; None for a model that is deep alone.
        """
        super().__init__()
        self.encoder, self.decoder = backbone.encoder, backbone.decoder
        self.pooling = pooling
        self.context_encoder = context_encoder
        features = pooling.out_features + (context_encoder.out_features if context_encoder else 0)
        self.feature_norm = nn.BatchNorm1d(features, affine=False)
        self.heads = nn.ModuleList(heads)
        self.descriptors = descriptors
        self.precision = Precision.plain()

    def use_precision(self, precision: Precision) -> DSMTNet:
        """Runs every forward pass, whoever calls it, with this precision; weights and results stay float32."""
        self.precision = precision
        precision.prepare(self)
        return self

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        wide: Sequence[Tensor] | None = None,
        valid: Tensor | None = None,
    ) -> Tensor | list[Tensor] | DSMTOutput:
        """
        Args:
            x: local patch (B, C, Z, Y, X), the nodule near the centre.
            context: context patch (B, C, G, G, G) around the same centre.
            wide: one (B, scores) tensor a task, instead of what the wide part would say of the predicted mask.
            valid: (B, Z, Y, X) bool, voxels of the patch that lie in the scan; None for all.
        """
        segmentation, skips = self._segment(x)
        if context is None:
            return segmentation
        nodule = self._pool(x, segmentation, skips)
        deep = self.deep_scores(nodule, self.describe_context(context))
        if wide is None:
            wide = self.wide_scores(self.measure(x, self.nodule_prob(segmentation), valid))
        return DSMTOutput(segmentation, self.answer(deep, wide), deep)

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

    @property
    def task_heads(self) -> list[TaskHead]:
        """The heads, in the schema's order."""
        return [head for head in self.heads if isinstance(head, TaskHead)]

    def deep_scores(self, nodule: Tensor, surroundings: Tensor | None) -> list[Tensor]:
        """One (B, scores) tensor a task, from what `describe` and `describe_context` give.

        Means, deviations, maxima and log-shares lie on scales that differ up to a hundredfold. Standardised, each can
        be learnt from in the few hundred steps that a small cohort allows.
        """
        features = nodule if surroundings is None else torch.cat([nodule, surroundings], dim=1)
        features = self.feature_norm(features.float())
        with self.precision.autocast():
            return [head.deep(features).float() for head in self.task_heads]

    def measure(self, x: Tensor, nodule_prob: Tensor, valid: Tensor | None = None) -> Tensor | None:
        """Descriptors (B, D) of the nodule at the centre of local patches; None in a model that is deep alone.

        Args:
            x: (B, C, Z, Y, X), the first channel CT.
            nodule_prob: (B, Z, Y, X).
            valid: see `forward`.
        """
        if self.descriptors is None:
            return None
        measured: Tensor = self.descriptors(x[:, 0], nodule_prob, valid)
        return measured

    def wide_scores(self, measured: Tensor | None) -> list[Tensor] | None:
        """One (B, scores) tensor a task, from descriptors (B, D), with the columns of the covariates or without."""
        if measured is None:
            return None
        return [head.wide(measured) for head in self.task_heads if head.wide is not None]

    def answer(self, deep: Sequence[Tensor], wide: Sequence[Tensor] | None) -> list[Tensor]:
        """One (B, classes) tensor of logits a task."""
        answers = []
        for position, (head, own) in enumerate(zip(self.task_heads, deep, strict=True)):
            score = head.share * own
            answers.append(head.logits(score if wide is None else wide[position] + score))
        return answers

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Weights of a time when features were not standardised answer as they did."""
        norm = self.feature_norm
        as_they_are = {
            "running_mean": torch.zeros(norm.num_features),
            "running_var": torch.full((norm.num_features,), 1.0 - norm.eps),
            "num_batches_tracked": torch.zeros((), dtype=torch.long),
        }
        for name, value in as_they_are.items():
            state_dict.setdefault(f"{prefix}feature_norm.{name}", value)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @staticmethod
    def nodule_prob(segmentation: Tensor | list[Tensor]) -> Tensor:
        """(B, Z, Y, X) probability of nodule, without gradient, from the segmentation's logits."""
        finest = segmentation[0] if isinstance(segmentation, list) else segmentation
        return 1.0 - torch.softmax(finest.detach(), dim=1)[:, 0]

    def _segment(self, x: Tensor) -> tuple[Tensor | list[Tensor], Sequence[Tensor]]:
        """Logits of the segmentation, and the feature maps of the encoder."""
        with self.precision.autocast():
            skips = self.encoder(self.precision.prepare_input(x))
            decoded = self.decoder(skips)
        segmentation = [scale.float() for scale in decoded] if isinstance(decoded, list) else decoded.float()
        return segmentation, skips

    def _pool(self, x: Tensor, segmentation: Tensor | list[Tensor], skips: Sequence[Tensor]) -> Tensor:
        nodule_prob = self.nodule_prob(segmentation)[:, None]
        with self.precision.autocast():
            pooled: Tensor = self.pooling(self.precision.prepare_input(x), skips[1:], nodule_prob)
        return pooled

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Parameters of the segmentation: encoder and decoder."""
        own = {id(parameter): parameter for part in (self.encoder, self.decoder) for parameter in part.parameters()}
        return list(own.values())

    def classification_parameters(self) -> list[nn.Parameter]:
        """All other parameters: pooling, context encoder, heads."""
        backbone = {id(parameter) for parameter in self.backbone_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in backbone]
