from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def trainer_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """nnU-Net's folders with a data set without cases, and float32 whatever the processor has."""
    for kind in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{kind}", str(tmp_path / kind))
    monkeypatch.setenv("dsmt_precision", "fp32")
    (tmp_path / "preprocessed" / "Dataset901_Tiny" / "nnUNetPlans_3d_fullres").mkdir(parents=True)
    return tmp_path
