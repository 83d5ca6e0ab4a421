"""The two stages of training: joint, then fine-tuning of the primary task.

Everything here is a function of the epoch, so that training continues in the right stage from any checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import torch

from dsmt_nnunet.plan import DSMTPlan

BACKBONE, CLASSIFICATION, PRIMARY_HEAD = "backbone", "classification", "primary_head"
WARM_UP_EPOCHS = 2
POLY_EXPONENT = 0.9


class Stage(Enum):
    """Which losses count."""

    JOINT = "joint"
    FINETUNING = "fine-tuning"


def stage_of(epoch: int, plan: DSMTPlan) -> Stage:
    """The stage an epoch (from 0) belongs to."""
    return Stage.JOINT if epoch < plan.training.joint_epochs else Stage.FINETUNING


def task_weights(stage: Stage, plan: DSMTPlan) -> Mapping[str, float]:
    """Weight of each task's loss: the plan's in the joint stage, the primary task alone in fine-tuning."""
    if stage is Stage.JOINT:
        return plan.training.task_weights
    return {name: float(name == plan.schema.primary_task) for name in plan.schema.task_names}


def learning_rates(epoch: int, plan: DSMTPlan) -> dict[str, float]:
    """Learning rate of each parameter group: a short warm-up and polynomial decay within each stage.

    In fine-tuning only the head of the primary task learns: what the segmentation and the signs rest on stays as it
    was, to the last bit.
    """
    training = plan.training
    if stage_of(epoch, plan) is Stage.JOINT:
        share = (1 - epoch / training.joint_epochs) ** POLY_EXPONENT
        share *= min(1.0, (epoch + 1) / (min(WARM_UP_EPOCHS, training.joint_epochs) + 1))
        rate, of_backbone = training.learning_rate, training.backbone_learning_rate
        return {
            BACKBONE: share * (rate if of_backbone is None else of_backbone),
            CLASSIFICATION: share * rate,
            PRIMARY_HEAD: share * rate,
        }
    elapsed = (epoch - training.joint_epochs) / max(1, training.finetune_epochs)
    rate = training.finetune_learning_rate * max(0.0, 1 - elapsed) ** POLY_EXPONENT
    return {BACKBONE: 0.0, CLASSIFICATION: 0.0, PRIMARY_HEAD: rate}


class StageScheduler:
    """Sets the learning rates of an optimizer whose groups carry a `name`; `step(epoch)` is all nnU-Net asks for."""

    def __init__(self, optimizer: torch.optim.Optimizer, plan: DSMTPlan) -> None:
        self.optimizer = optimizer
        self.plan = plan

    def step(self, epoch: int) -> None:
        rates = learning_rates(epoch, self.plan)
        for group in self.optimizer.param_groups:
            group["lr"] = rates[group["name"]]
