from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from dsmt_nnunet.training.stages import (
    BACKBONE,
    CLASSIFICATION,
    PRIMARY_HEAD,
    Stage,
    StageScheduler,
    learning_rates,
    stage_of,
    task_weights,
)
from tests.unit.small_plans import small_plan

PLAN = small_plan(
    joint_epochs=20,
    finetune_epochs=5,
    learning_rate=1e-3,
    finetune_learning_rate=1e-4,
    task_weights={"texture": 0.25, "invasiveness": 1.0},
)


def test_the_stage_changes_after_the_last_joint_epoch() -> None:
    stages = [stage_of(epoch, PLAN) for epoch in range(25)]
    assert stages == [Stage.JOINT] * 20 + [Stage.FINETUNING] * 5


def test_every_loss_counts_in_the_joint_stage_and_the_primary_alone_afterwards() -> None:
    assert task_weights(Stage.JOINT, PLAN) == {"texture": 0.25, "invasiveness": 1.0}
    assert task_weights(Stage.FINETUNING, PLAN) == {"texture": 0.0, "invasiveness": 1.0}


def test_the_joint_rate_warms_up_and_then_falls_without_a_jump() -> None:
    rates = [learning_rates(epoch, PLAN)[BACKBONE] for epoch in range(20)]
    assert rates[0] == pytest.approx(1e-3 / 3)
    assert rates[0] < rates[1] < rates[2]
    assert rates[2] == pytest.approx(1e-3 * (1 - 2 / 20) ** 0.9)
    falls = [before - after for before, after in pairwise(rates[2:])]
    assert all(0 < fall < 0.06 * 1e-3 for fall in falls)
    assert rates[-1] > 0


def test_all_groups_learn_alike_in_the_joint_stage() -> None:
    for epoch in range(20):
        rates = learning_rates(epoch, PLAN)
        assert rates[BACKBONE] == rates[CLASSIFICATION] == rates[PRIMARY_HEAD] > 0


def test_the_backbone_may_learn_at_a_rate_of_its_own_in_the_joint_stage_alone() -> None:
    plan = replace(PLAN, training=replace(PLAN.training, backbone_learning_rate=4e-3))
    for epoch in range(20):
        rates = learning_rates(epoch, plan)
        assert rates[BACKBONE] == pytest.approx(4 * rates[PRIMARY_HEAD])
        assert rates[CLASSIFICATION] == rates[PRIMARY_HEAD] > 0
    assert learning_rates(20, plan)[BACKBONE] == 0.0


def test_in_fine_tuning_the_primary_head_alone_learns() -> None:
    rates = [learning_rates(epoch, PLAN) for epoch in range(20, 25)]
    assert all(rate[BACKBONE] == rate[CLASSIFICATION] == 0.0 for rate in rates)
    heads = [rate[PRIMARY_HEAD] for rate in rates]
    assert heads[0] == pytest.approx(1e-4)
    assert heads == sorted(heads, reverse=True)
    assert heads[-1] > 0


@pytest.mark.parametrize(("joint", "finetune"), [(1, 0), (1, 1), (2, 0), (1, 3)])
def test_the_shortest_budgets_have_positive_rates(joint: int, finetune: int) -> None:
    plan = small_plan(joint_epochs=joint, finetune_epochs=finetune)
    assert all(learning_rates(epoch, plan)[PRIMARY_HEAD] > 0 for epoch in range(joint + finetune))


def optimizer() -> torch.optim.Optimizer:
    names = (BACKBONE, CLASSIFICATION, PRIMARY_HEAD)
    return torch.optim.AdamW([{"params": [torch.nn.Parameter(torch.ones(1))], "name": name} for name in names])


def test_the_scheduler_sets_each_group() -> None:
    own = optimizer()
    StageScheduler(own, PLAN).step(22)
    assert {group["name"]: group["lr"] for group in own.param_groups} == learning_rates(22, PLAN)


@pytest.mark.parametrize("epoch", [1, 19, 20, 24])
def test_continued_training_has_the_rates_of_uninterrupted_training(epoch: int) -> None:
    uninterrupted, continued = optimizer(), optimizer()
    scheduler = StageScheduler(uninterrupted, PLAN)
    for step in range(epoch + 1):
        scheduler.step(step)
    StageScheduler(continued, PLAN).step(epoch)
    assert [g["lr"] for g in continued.param_groups] == [g["lr"] for g in uninterrupted.param_groups]


def test_a_rate_of_zero_keeps_weights_to_the_last_bit_despite_weight_decay() -> None:
    own = optimizer()
    for group in own.param_groups:
        group["weight_decay"] = 0.1
    scheduler = StageScheduler(own, PLAN)
    for epoch in (21, 22):
        scheduler.step(epoch)
        for group in own.param_groups:
            group["params"][0].grad = torch.ones(1)
        own.step()
    values = [group["params"][0].item() for group in own.param_groups]
    assert values[:2] == [1.0, 1.0]
    assert values[2] < 1.0
