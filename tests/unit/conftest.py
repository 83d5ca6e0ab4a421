"""Fixtures of the unit tests; one thread each, so that they run beside other work. Reference values from R."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from multiprocessing.pool import ThreadPool

import numpy as np
import pytest
import torch
from nnunetv2.utilities import utils

torch.set_num_threads(1)
# nnU-Net's commands take a thread a core; of several processes of tests each would wait for the others' threads.
torch.set_num_threads = lambda number: None
# Twelve processes to list a folder of a few files.
utils.Pool = ThreadPool
VECTORS_VARIABLE = "DSMT_TEST_VECTORS"


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Folder of reference values from R: DSMT_TEST_VECTORS, or ../shared/vectors beside the repository."""
    configured = os.environ.get(VECTORS_VARIABLE)
    folder = Path(configured) if configured else Path(__file__).resolve().parents[3] / "shared" / "vectors"
    if not folder.is_dir():
        pytest.skip(f"reference values not found in {folder}; set {VECTORS_VARIABLE} to their folder")
    return folder


@pytest.fixture(scope="session")
def roc_vectors(vectors: Path) -> dict[str, Any]:
    return json.loads((vectors / "roc.json").read_text())


@pytest.fixture(scope="session")
def table_vectors(vectors: Path) -> dict[str, Any]:
    return json.loads((vectors / "tables.json").read_text())


@pytest.fixture(scope="session")
def columns(vectors: Path) -> Callable[[str], dict[str, np.ndarray]]:
    """Reads a CSV of the reference values into arrays by column, numbers where all cells are numbers."""

    def read(name: str) -> dict[str, np.ndarray]:
        with (vectors / name).open() as stream:
            rows = list(csv.DictReader(stream))
        table = {}
        for column in rows[0]:
            cells = [row[column] for row in rows]
            try:
                table[column] = np.array([float(cell) for cell in cells])
            except ValueError:
                table[column] = np.array(cells)
        return table

    return read


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """What a command that is called in this process sets in the environment ends with its test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """The same random numbers in every run, in whatever order the tests come."""
    np.random.seed(0)
    # torch.manual_seed keeps the stack of each call for a GPU that may come: a third of a millisecond a test.
    torch.default_generator.manual_seed(0)
