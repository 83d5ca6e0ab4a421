"""DSMTTrainer with budgets for tests; found through nnUNet_extTrainer like any user's own trainers."""

from dataclasses import replace
from typing import ClassVar

from dsmt_nnunet.trainers.comparisons import without_context, without_segmentation
from dsmt_nnunet.trainers.dsmt_trainer import DSMTTrainer


class DSMTTrainerShort(DSMTTrainer):
    """Two joint epochs and two of fine-tuning, three iterations each."""

    budget: ClassVar = {"joint_epochs": 2, "finetune_epochs": 2, "iterations_per_epoch": 3}

    @classmethod
    def make_plan(cls, plans, configuration, dataset_json):
        plan = super().make_plan(plans, configuration, dataset_json)
        return replace(plan, training=replace(plan.training, **cls.budget))


class DSMTTrainerRetraction(DSMTTrainerShort):
    """The local encoder, long enough to learn pleural retraction in phantoms and nothing else."""

    budget: ClassVar = {
        "joint_epochs": 10,
        "finetune_epochs": 0,
        "iterations_per_epoch": 40,
        "task_weights": {"invasiveness": 0.0, "bubble_lucency": 0.0, "pleural_retraction": 1.0},
    }
    changes = (without_context, without_segmentation)
