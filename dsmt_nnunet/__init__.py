"""Dual-scale multi-task (DSMT) classification of pulmonary nodules as an extension of nnU-Net v2."""

from importlib.metadata import version

__version__ = version("dsmt-nnunet")

NOT_A_MEDICAL_DEVICE = "Research use only. Not a medical device."
