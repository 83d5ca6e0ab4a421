"""DSMTTrainer with another number of epochs, as nnU-Net has them. `DSMTTrainer` itself follows the plan."""

from dsmt_nnunet.trainers.dsmt_trainer import DSMTTrainer


class DSMTTrainer_5epochs(DSMTTrainer):
    """Five epochs: for debugging."""

    epochs = 5


class DSMTTrainer_10epochs(DSMTTrainer):
    """Ten epochs: for the demo."""

    epochs = 10


class DSMTTrainer_50epochs(DSMTTrainer):
    """Fifty epochs."""

    epochs = 50


class DSMTTrainer_250epochs(DSMTTrainer):
    """Two hundred and fifty epochs."""

    epochs = 250
