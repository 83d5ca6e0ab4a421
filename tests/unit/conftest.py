"""Fixtures of the unit tests; one thread each, so that they run beside other work."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """The same random numbers in every run, in whatever order the tests come."""
    np.random.seed(0)
    torch.manual_seed(0)
