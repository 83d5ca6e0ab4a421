"""What a GPU asks of a training step, shown without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.plan_rules import wide_plan
from dsmt_nnunet.training.losses import MultiTaskLoss
from tests.unit.small_plans import CONFIGURATION, small_plan, stock_plans

PLAN = replace(small_plan(), wide=wide_plan(stock_plans(), stock_plans()["configurations"][CONFIGURATION]))
TASKS = PLAN.schema.tasks
BATCH = 4


def network() -> DSMTNet:
    torch.manual_seed(0)
    return build_network(PLAN, PlansManager(stock_plans()).get_configuration(CONFIGURATION), 1, 2, False)


def inputs(own: DSMTNet, device: str = "cpu") -> tuple[Tensor, Tensor, list[Tensor]]:
    """Patches of both scales and the wide scores, as the trainer hands them in."""
    grid = PLAN.context.grid
    patches = torch.randn(BATCH, 1, 8, 12, 12, device=device), torch.randn(BATCH, 1, grid, grid, grid, device=device)
    return *patches, [torch.zeros(BATCH, head.scores, device=device) for head in own.task_heads]


def loss_of(own: DSMTNet, device: str = "cpu") -> Tensor:
    """Forward pass and loss of a joint step."""
    output = own(*inputs(own, device))
    weights = {task.name: [1.0] * len(task.classes) for task in TASKS}
    targets = [torch.eye(len(task.classes), device=device)[torch.zeros(BATCH, dtype=torch.long)] for task in TASKS]
    classification, _ = MultiTaskLoss(PLAN.schema, {}, weights).to(device)(output.tasks, targets)
    return classification + torch.log_softmax(output.segmentation, dim=1)[:, 1].mean().neg()


@dataclass(frozen=True)
class Float16(Precision):
    """What a GPU's autocast does to a forward pass, on the CPU."""

    @contextmanager
    def autocast(self) -> Iterator[None]:
        with torch.autocast("cpu", dtype=torch.float16):
            yield


def test_a_step_in_float16_has_finite_gradients() -> None:
    own = network().use_precision(Float16("cpu", use_bf16=False, channels_last=False))
    with Float16("cpu", use_bf16=False, channels_last=False).autocast():
        assert own.encoder(inputs(own)[0])[0].dtype == torch.float16
    loss = loss_of(own)
    loss.backward()
    gradients = [parameter.grad for parameter in own.parameters() if parameter.grad is not None]
    assert torch.isfinite(loss)
    assert len(gradients) > 20
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_descriptors_are_measured_in_float32_whatever_surrounds_them() -> None:
    own = network()
    patch, mask = torch.randn(1, 1, 8, 12, 12), torch.zeros(1, 8, 12, 12)
    mask[:, 2:6, 4:8, 4:8] = 1
    expected = own.measure(patch, mask)
    assert expected is not None
    with torch.autocast("cpu", dtype=torch.float16):
        torch.testing.assert_close(own.measure(patch, mask), expected)


def test_a_step_asks_no_device_for_a_value() -> None:
    # A tensor without data has no value to copy back: .item(), .cpu(), nonzero and masks as indices raise.
    loss = loss_of(network().to("meta"), "meta")
    loss.backward()
    assert loss.device.type == "meta"
    with pytest.raises((NotImplementedError, RuntimeError)):
        loss.item()


def test_the_network_compiles_as_one_graph() -> None:
    own = network()
    told = torch._dynamo.explain(own)(*inputs(own))
    torch._dynamo.reset()
    assert told.graph_count == 1, told.break_reasons
    assert told.graph_break_count == 0
