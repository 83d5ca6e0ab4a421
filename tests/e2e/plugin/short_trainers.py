"""DSMTTrainer with budgets for tests; found through nnUNet_extTrainer like any user's own trainers."""

import os
import signal
from dataclasses import replace
from typing import ClassVar

from dsmt_nnunet.trainers.dsmt_trainer import DSMTTrainer


class DSMTTrainerShort(DSMTTrainer):
    """Two joint epochs and two of fine-tuning, three iterations each; few of what it then finds is classified."""

    killed_in = os.environ.get("KILLED_IN_EPOCH")
    """This epoch is trained, and then this process and its workers are killed: nothing of it is saved."""
    budget: ClassVar = {"joint_epochs": 2, "finetune_epochs": 2, "iterations_per_epoch": 3}

    @classmethod
    def make_plan(cls, plans, configuration, dataset_json):
        plan = super().make_plan(plans, configuration, dataset_json)
        # Of stock plans the context encoder would have 32 features on 64 x 64 x 64 voxels.
        narrow = tuple(min(width, 8 * 2**stage) for stage, width in enumerate(plan.context.features))
        context, training = replace(plan.context, features=narrow), replace(plan.training, **cls.budget)
        return replace(plan, max_candidates=3, context=context, training=training)

    def on_train_start(self):
        """The progress is drawn once: a picture takes as long as an epoch of three iterations."""
        super().on_train_start()
        draw = self.logger.plot_progress_png
        self.logger.plot_progress_png = lambda folder: (
            draw(folder) if self.current_epoch + 1 == self.num_epochs else None
        )

    def on_validation_epoch_start(self):
        if self.killed_in == str(self.current_epoch):
            os.killpg(0, signal.SIGKILL)
        super().on_validation_epoch_start()
