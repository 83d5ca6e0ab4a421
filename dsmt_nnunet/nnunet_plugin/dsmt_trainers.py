"""Names of the trainers, for nnU-Net to find; and the hook that gives its prediction our classification.

nnU-Net forgets this module after the search, so nothing is defined here.
"""

from dsmt_nnunet.inference import nnunet_hook
from dsmt_nnunet.trainers.budgets import (
    DSMTTrainer_5epochs,
    DSMTTrainer_10epochs,
    DSMTTrainer_50epochs,
    DSMTTrainer_250epochs,
)
from dsmt_nnunet.trainers.comparisons import (
    DSMTTrainerAveragePooling,
    DSMTTrainerDenseNet,
    DSMTTrainerDescriptorsOnly,
    DSMTTrainerJointOnly,
    DSMTTrainerNoContext,
    DSMTTrainerNoCovariates,
    DSMTTrainerNoDescriptors,
    DSMTTrainerNoSegmentation,
    DSMTTrainerNoSigns,
    DSMTTrainerSingleTask,
)
from dsmt_nnunet.trainers.dsmt_trainer import DSMTTrainer

nnunet_hook.install()

__all__ = [
    "DSMTTrainer",
    "DSMTTrainer_5epochs",
    "DSMTTrainer_10epochs",
    "DSMTTrainer_50epochs",
    "DSMTTrainer_250epochs",
    "DSMTTrainerAveragePooling",
    "DSMTTrainerDenseNet",
    "DSMTTrainerJointOnly",
    "DSMTTrainerNoCovariates",
    "DSMTTrainerNoDescriptors",
    "DSMTTrainerDescriptorsOnly",
    "DSMTTrainerNoContext",
    "DSMTTrainerNoSegmentation",
    "DSMTTrainerNoSigns",
    "DSMTTrainerSingleTask",
]
