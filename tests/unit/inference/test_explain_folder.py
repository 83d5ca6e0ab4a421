from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from dsmt_nnunet.inference.explain_folder import explain_folder
from dsmt_nnunet.nodules import Nodule, NoduleTable
from tests.unit.inference.small_predictor import predictor, run
from tests.unit.small_plans import SCHEMA


def test_another_image_or_another_model_than_that_of_the_prediction_is_refused(scans: Any, tmp_path: Path) -> None:
    source, world = scans
    (source / "b_0000.nii.gz").unlink()
    NoduleTable((Nodule("a", "1", "p", world),)).write(source / "nodules.csv", SCHEMA)
    own, output = predictor(), tmp_path / "out"
    run(own, source, output)
    assert explain_folder(own, source, output) == 1
    with pytest.raises(ValueError, match="predicted by another model"):
        explain_folder(predictor(), source, output)
    path = str(source / "a_0000.nii.gz")
    sitk.WriteImage(sitk.ReadImage(path) + 5, path)
    with pytest.raises(ValueError, match="not the image that was predicted"):
        explain_folder(own, source, output)
