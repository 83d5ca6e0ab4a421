"""Fixtures of all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED_DATA_VARIABLE = "DSMT_TEST_DATA"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real CT data: the environment variable DSMT_TEST_DATA, or ../shared/data beside the repository."""
    configured = os.environ.get(SHARED_DATA_VARIABLE)
    folder = Path(configured) if configured else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real CT data not found in {folder}; set {SHARED_DATA_VARIABLE} to its folder")
    return folder
