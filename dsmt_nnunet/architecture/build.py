"""The one place where a plan becomes a network."""

from __future__ import annotations

from collections.abc import Sequence

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from torch import nn

from dsmt_nnunet.architecture.context_encoder import ContextEncoder
from dsmt_nnunet.architecture.densenet import DenseNetFeatures
from dsmt_nnunet.architecture.heads import TaskHead
from dsmt_nnunet.architecture.morphology import NoduleDescriptors
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.pooling import AveragePooling, MaskGuidedPooling
from dsmt_nnunet.plan import POOLINGS, ContextPlan, DSMTPlan


def build_network(
    plan: DSMTPlan,
    configuration_manager: ConfigurationManager,
    num_input_channels: int,
    num_output_channels: int,
    enable_deep_supervision: bool,
) -> DSMTNet:
    """Builds the network from plans alone, as prediction has to.

    Args:
        plan: the DSMT block of the plans.
        configuration_manager: nnU-Net's view of the configuration: architecture, spacing, patch size.
        num_input_channels: channels of the image.
        num_output_channels: segmentation classes, background included.
        enable_deep_supervision: whether the decoder gives every resolution.

    Raises:
        ValueError: the plan names an unknown pooling.
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
    pooling = _pooling(plan, configuration_manager, num_input_channels, backbone.encoder.output_channels)
    context_encoder = build_context_encoder(plan.context) if plan.use_context else None
    in_features = pooling.out_features + (context_encoder.out_features if context_encoder else 0)
    descriptors = build_descriptors(plan, configuration_manager.spacing)
    heads = [
        TaskHead(
            task,
            in_features,
            plan.heads.hidden_features,
            plan.heads.dropout,
            len(descriptors.names) if descriptors is not None else 0,
            len(plan.covariate_columns),
        )
        for task in plan.schema.tasks
    ]
    for head in heads:
        head.share.fill_(float(plan.heads.deep))
    network = DSMTNet(backbone, pooling, context_encoder, heads, descriptors)
    _initialise(network)
    return network


def build_descriptors(plan: DSMTPlan, spacing_mm: Sequence[float]) -> NoduleDescriptors | None:
    """What measures the nodule for the wide part; None where the plan has none."""
    if plan.wide is None:
        return None
    return NoduleDescriptors(plan.wide.descriptors, spacing_mm, plan.wide.intensity_scale, plan.wide.intensity_shift)


def build_context_encoder(plan: ContextPlan) -> ContextEncoder:
    """The context encoder of a plan."""
    return ContextEncoder(plan.features, plan.blocks, plan.intensity_ranges, plan.density_bins)


def _pooling(
    plan: DSMTPlan, configuration_manager: ConfigurationManager, in_channels: int, features: Sequence[int]
) -> MaskGuidedPooling | AveragePooling | DenseNetFeatures:
    kind = plan.heads.pooling
    if kind in ("mask-guided", "centre"):
        return MaskGuidedPooling(
            in_channels,
            features[1:],
            plan.heads.lateral_features,
            configuration_manager.spacing,
            plan.heads.central_region_mm,
            guided=kind == "mask-guided",
        )
    if kind == "average":
        return AveragePooling(features[-1])
    if kind == "densenet":
        return DenseNetFeatures(in_channels)
    raise ValueError(f"The plan names the pooling '{kind}', there are {POOLINGS}.")


def _initialise(network: DSMTNet) -> None:
    """He initialisation for the convolutions that are ours; nnU-Net has initialised its own."""
    ours: list[nn.Module] = [network.pooling] if isinstance(network.pooling, MaskGuidedPooling) else []
    ours += [network.context_encoder] if network.context_encoder else []
    for part in ours:
        for module in part.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, a=1e-2)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
