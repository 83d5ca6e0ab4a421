"""Scans to predict."""

from __future__ import annotations

from pathlib import Path

import pytest
import SimpleITK as sitk

from tests.unit.inference.small_predictor import CENTRE
from tests.unit.small_plans import blob_image


@pytest.fixture
def scans(tmp_path: Path) -> tuple[Path, tuple[float, float, float]]:
    """A folder with the scans `a` and `b`, and the world position of the bright bell in both."""
    folder = tmp_path / "in"
    folder.mkdir()
    image, world = blob_image((26, 24, 20), (1.0, 1.0, 1.5), CENTRE, origin=(-50.0, 20.0, 300.0))
    for case_id in ("a", "b"):
        sitk.WriteImage(image, str(folder / f"{case_id}_0000.nii.gz"))
    return folder, world
