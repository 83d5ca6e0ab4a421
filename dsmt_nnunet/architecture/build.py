"""The one place where a plan becomes a network."""

from __future__ import annotations

from typing import Any

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from dsmt_nnunet.architecture.context_encoder import ContextEncoder
from dsmt_nnunet.architecture.network import DSMTNet, TaskHead
from dsmt_nnunet.architecture.pooling import MaskGuidedPooling
from dsmt_nnunet.plan import DSMTPlan


def build_network(
    plan: DSMTPlan,
    configuration_manager: Any,
    num_input_channels: int,
    num_output_channels: int,
    enable_deep_supervision: bool,
    use_context: bool = True,
) -> DSMTNet:
    """Builds the network from plans alone, as prediction has to.

    Args:
        plan: the DSMT block of the plans.
        configuration_manager: nnU-Net's view of the configuration: architecture, spacing, patch size.
        num_input_channels: channels of the image.
        num_output_channels: segmentation classes, background included.
        enable_deep_supervision: whether the decoder gives every resolution.
        use_context: False leaves the context encoder out.
    """
    backbone = get_network_from_plans(
        configuration_manager.network_arch_class_name,
        configuration_manager.network_arch_init_kwargs,
        configuration_manager.network_arch_init_kwargs_req_import,
        num_input_channels,
        num_output_channels,
        allow_init=True,
        deep_supervision=enable_deep_supervision,
    )
    pooling = MaskGuidedPooling(
        num_input_channels,
        backbone.encoder.output_channels[1:],
        plan.heads.lateral_features,
        configuration_manager.spacing,
        plan.heads.central_region_mm,
    )
    context_encoder = (
        ContextEncoder(num_input_channels, plan.context.features, plan.context.blocks) if use_context else None
    )
    in_features = pooling.out_features + (context_encoder.out_features if context_encoder else 0)
    heads = [
        TaskHead(in_features, plan.heads.hidden_features, len(task.classes), plan.heads.dropout)
        for task in plan.schema.tasks
    ]
    network = DSMTNet(backbone, pooling, context_encoder, heads)
    _initialise(network)
    return network


def _initialise(network: DSMTNet) -> None:
    """He initialisation for the convolutions that are ours; nnU-Net has initialised its own."""
    ours = [network.pooling] + ([network.context_encoder] if network.context_encoder else [])
    for part in ours:
        for module in part.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, a=1e-2)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
