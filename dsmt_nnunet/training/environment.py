"""What environment variables say of a training, as nnU-Net's own do."""

from __future__ import annotations

import os

import numpy as np

SEED_VARIABLE = "dsmt_seed"
"""Set, it makes the initial weights and the augmentation the same in every run."""
VALIDATION_VARIABLE = "dsmt_validation"
"""`off` leaves out nnU-Net's validation after the training, as long again on a CPU; `--val` does it later."""


THREADS_VARIABLE = "OMP_NUM_THREADS"


def threads_of_run() -> int | None:
    """Threads on a CPU, None where `OMP_NUM_THREADS` leaves it open. (nnU-Net takes one a core whatever it says.)"""
    value = os.environ.get(THREADS_VARIABLE, "").split(",")[0]
    return int(value) if value.isdecimal() and int(value) else None


def seed_of_run() -> int | None:
    """The seed, None where it is unset.

    Raises:
        ValueError: it is no whole number from 0.
    """
    value = os.environ.get(SEED_VARIABLE, "")
    if not value:
        return None
    if not value.isdecimal():
        raise ValueError(f"The environment variable {SEED_VARIABLE} must be a whole number from 0, got '{value}'.")
    return int(value)


def worker_seeds(seed: int, workers: int, rank: int, epoch: int) -> list[int]:
    """Seeds of the processes that make batches: others on each rank, and others when a training is continued.

    Args:
        seed: of the run.
        workers: how many.
        rank: of this process in a distributed training.
        epoch: at which it begins.
    """
    if rank == 0 and epoch == 0:
        return [1000 * seed + worker for worker in range(workers)]
    drawn = np.random.SeedSequence(seed, spawn_key=(rank, epoch)).generate_state(workers)
    return [int(value) for value in drawn]


def validation_wanted() -> bool:
    """Whether a training ends with nnU-Net's validation.

    Raises:
        ValueError: the variable is neither `off` nor `on` nor unset.
    """
    value = os.environ.get(VALIDATION_VARIABLE, "")
    if value not in ("", "on", "off"):
        raise ValueError(f"The environment variable {VALIDATION_VARIABLE} must be 'off', 'on' or unset, got '{value}'.")
    return value != "off"
