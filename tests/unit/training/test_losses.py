from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from dsmt_nnunet.dataloading.sampling import SampledNodule
from dsmt_nnunet.training.losses import MultiTaskLoss, masked_cross_entropy, target_table
from tests.unit.small_plans import SCHEMA

UNKNOWN_LABEL = -1


def soft(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """(N, K) targets of class indices, NaN where not known."""
    targets = functional.one_hot(labels.clamp(min=0), classes).float()
    targets[labels == UNKNOWN_LABEL] = torch.nan
    return targets


WEIGHTS = {"texture": [1.0, 2.0, 0.5], "invasiveness": [1.0, 1.0]}


def test_it_equals_the_cross_entropy_of_the_known_samples() -> None:
    logits = torch.randn(6, 3)
    labels = torch.tensor([0, UNKNOWN_LABEL, 2, 1, UNKNOWN_LABEL, 1])
    known = labels != UNKNOWN_LABEL
    expected = functional.cross_entropy(logits[known], labels[known])
    torch.testing.assert_close(masked_cross_entropy(logits, soft(labels, 3)), expected)


def test_class_weights_multiply_each_sample_and_the_mean_is_over_samples() -> None:
    logits, labels, weight = torch.randn(4, 2), torch.tensor([0, 1, 1, UNKNOWN_LABEL]), torch.tensor([3.0, 0.5])
    single = functional.cross_entropy(logits[:3], labels[:3], reduction="none")
    expected = (single * torch.tensor([3.0, 0.5, 0.5])).sum() / 3
    torch.testing.assert_close(masked_cross_entropy(logits, soft(labels, 2), weight), expected)


def test_without_known_labels_loss_and_gradient_are_zero_but_there() -> None:
    layer = torch.nn.Linear(5, 2)
    loss = masked_cross_entropy(layer(torch.randn(3, 5)), torch.full((3, 2), torch.nan))
    loss.backward()
    assert loss == 0
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_in_an_unknown_sample_does_not_leak(value: float) -> None:
    logits = torch.randn(3, 2)
    logits[1] = value
    logits.requires_grad_()
    labels = torch.tensor([0, UNKNOWN_LABEL, 1])
    loss = masked_cross_entropy(logits, soft(labels, 2))
    loss.backward()
    torch.testing.assert_close(loss, functional.cross_entropy(logits[[0, 2]], labels[[0, 2]]))
    assert logits.grad is not None
    assert not logits.grad[1].any()
    assert torch.isfinite(logits.grad).all()


def test_the_sum_is_weighted_and_the_single_losses_are_not() -> None:
    logits = [torch.randn(4, 3), torch.randn(4, 2)]
    labels = torch.tensor([[0, 1], [UNKNOWN_LABEL, 0], [2, UNKNOWN_LABEL], [1, 1]])
    targets = [soft(labels[:, 0], 3), soft(labels[:, 1], 2)]
    loss = MultiTaskLoss(SCHEMA, {"texture": 0.5, "invasiveness": 2.0}, WEIGHTS)
    total, single = loss(logits, targets)
    expected = [
        masked_cross_entropy(logits[i], targets[i], torch.tensor(WEIGHTS[name]))
        for i, name in enumerate(SCHEMA.task_names)
    ]
    torch.testing.assert_close(single, torch.stack(expected))
    torch.testing.assert_close(total, 0.5 * expected[0] + 2.0 * expected[1])
    alone, _ = loss(logits, targets, {"texture": 0.0, "invasiveness": 1.0})
    torch.testing.assert_close(alone, expected[1])


def test_a_task_without_known_labels_is_nan_in_the_log_alone() -> None:
    logits = [torch.randn(2, 3, requires_grad=True), torch.randn(2, 2, requires_grad=True)]
    total, single = MultiTaskLoss(SCHEMA, {}, WEIGHTS)(logits, [torch.full((2, 3), torch.nan), torch.eye(2)])
    total.backward()
    assert torch.isnan(single).tolist() == [True, False]
    assert not single.requires_grad
    torch.testing.assert_close(total.detach(), single[1])
    assert logits[0].grad is not None
    assert not logits[0].grad.any()


def test_weights_move_with_the_loss_but_are_not_parameters() -> None:
    loss = MultiTaskLoss(SCHEMA, {}, WEIGHTS)
    assert not list(loss.parameters())
    assert loss.double().weight_texture.dtype == torch.float64


def test_votes_are_worth_as_many_readers_as_gave_them() -> None:
    logits = torch.randn(1, 3)
    readers = masked_cross_entropy(logits.expand(4, 3), soft(torch.tensor([0, 1, 1, 2]), 3))
    torch.testing.assert_close(masked_cross_entropy(logits, torch.tensor([[0.25, 0.5, 0.25]])), readers)


def test_the_table_of_targets_has_a_row_of_no_nodule() -> None:
    nodules = [SampledNodule("a", (0.0, 0.0, 0.0), (0, 1), ((0.5, 0.5, 0.0), None))]
    texture, invasiveness = target_table(nodules, SCHEMA)
    assert texture[0].tolist() == [0.5, 0.5, 0.0]
    assert texture[1].isnan().all()
    assert invasiveness.isnan().all()
