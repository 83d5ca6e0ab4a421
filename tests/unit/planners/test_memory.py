"""What a step keeps for its backward pass, beside what the planner says that it will."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.planners.dsmt_planner import DSMTPlanner, DSMTPlannerXS
from dsmt_nnunet.planners.nodule_planning import CONFIGURATION
from tests.unit.planners.conftest import Plan

TOLERANCE = 0.05
"""Of a step, by which the planner, who does not count the pooling, may be off."""


def saved_gb(plans: dict[str, Any]) -> tuple[float, float, float]:
    """GB that backbone, context encoder and whole network keep of a batch, in float16; nothing is computed."""
    plan, settings = DSMTPlan.from_plans(plans), PlansManager(deepcopy(plans)).get_configuration(CONFIGURATION)
    with torch.device("meta"):
        network = build_network(plan, settings, 1, 2, True)
        local = torch.empty(settings.batch_size, 1, *settings.patch_size)
        context = torch.empty(settings.batch_size, 1, *[plan.context.grid] * 3)
        wide = [torch.zeros(settings.batch_size, head.scores) for head in network.task_heads]
        forwards = (network, local), (network.describe_context, context), (network, local, context, wide)
        first, second, third = (_kept_gb(network, *forward) for forward in forwards)
    return first, second, third


def _kept_gb(network: torch.nn.Module, forward: Callable[..., object], *inputs: object) -> float:
    """What a forward pass keeps for its backward pass, each storage once, without the weights."""
    sizes: dict[int, int] = {}
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)  # so that no storage takes the place of one that is gone
        sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward(*inputs)
    weights = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    return sum(size for storage, size in sizes.items() if storage not in weights) / 2 / 2**30


@pytest.mark.parametrize("planner", [DSMTPlannerXS, DSMTPlanner])
def test_a_step_keeps_what_the_planner_counts(plan: Plan, planner: type[DSMTPlanner]) -> None:
    plans = plan(planner)
    told = DSMTPlan.from_plans(plans).decisions["batch size"]
    share = float(told.split("taking ")[1].split(" %")[0]) / 100
    backbone, context, whole = saved_gb(plans)
    assert context / backbone == pytest.approx(share, rel=0.25, abs=0.005)
    assert whole / backbone == pytest.approx(1 + share, rel=TOLERANCE)
    assert whole < float(planner.default_memory_gb)
