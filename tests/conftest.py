"""Fixtures of all tests."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Imports and collection make what stays; see pytest_collection_finish.
gc.disable()
SHARED_DATA_VARIABLE = "DSMT_TEST_DATA"
# nnU-Net's commands take a thread a core, and two of them run side by side here: who waits shall not keep a core busy.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# What a test writes need not outlast a power cut; tests of hundreds of small files would mostly wait for the disk.
os.fsync = lambda descriptor: None

# The same examples every time; a slow machine is no failure. `pytest --hypothesis-profile=default` searches further.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=30)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real CT data: the environment variable DSMT_TEST_DATA, or ../shared/data beside the repository."""
    configured = os.environ.get(SHARED_DATA_VARIABLE)
    folder = Path(configured) if configured else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real CT data not found in {folder}; set {SHARED_DATA_VARIABLE} to its folder")
    return folder


def pytest_collection_finish() -> None:
    """What was imported stays: the collector need not look through a million objects of libraries again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()
