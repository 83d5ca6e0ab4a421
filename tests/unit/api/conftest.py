"""A model of made weights, which answers without having learnt anything."""

from __future__ import annotations

from pathlib import Path

import pytest

import dsmt_nnunet as dsmt


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dsmt.example_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def model(folder: Path) -> dsmt.Model:
    return dsmt.load_model(folder, device="cpu", mirroring=False)
