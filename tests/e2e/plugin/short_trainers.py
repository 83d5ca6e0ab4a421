"""DSMTTrainer with budgets for tests; found through nnUNet_extTrainer like any user's own trainers."""

from dataclasses import replace
from typing import ClassVar

from dsmt_nnunet.trainers.dsmt_trainer import DSMTTrainer


class DSMTTrainerShort(DSMTTrainer):
    """Two joint epochs and two of fine-tuning, three iterations each; few of what it then finds is classified."""

    budget: ClassVar = {"joint_epochs": 2, "finetune_epochs": 2, "iterations_per_epoch": 3}

    @classmethod
    def make_plan(cls, plans, configuration, dataset_json):
        plan = super().make_plan(plans, configuration, dataset_json)
        return replace(plan, max_candidates=3, training=replace(plan.training, **cls.budget))
