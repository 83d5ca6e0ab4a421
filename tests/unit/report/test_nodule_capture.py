"""The picture of a nodule for an archive."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet.predictions.results import NodulePrediction, TaskPrediction
from dsmt_nnunet.report import nodule_capture as module
from dsmt_nnunet.report.nodule_capture import nodule_capture
from dsmt_nnunet.tasks import ClassificationSchema, Task

SCHEMA = ClassificationSchema((Task("bubble", ("absent", "present")), Task("type", ("benign", "malignant"))), "type")
ANSWERS = {
    "bubble": TaskPrediction({"absent": 0.9, "present": 0.1}, {}, "absent", 0.5),
    "type": TaskPrediction({"benign": 0.25, "malignant": 0.75}, {}, "malignant", 0.4),
}
NODULE = NodulePrediction("1", (0.0, 0.0, 0.0), 10.0, 523.6, ANSWERS)


def volume(values: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.SetOrigin((-30.0, -30.0, -30.0))
    image.SetSpacing((2.0, 2.0, 2.0))
    return image


def test_planes_contour_and_scale_bar() -> None:
    hu, mask = np.full((31, 31, 31), -600, np.int16), np.zeros((31, 31, 31), np.uint8)
    mask[13:18, 13:18, 13:18] = 1
    picture = nodule_capture(volume(hu), volume(mask), NODULE, SCHEMA)
    assert picture.shape == (module.HEIGHT_PIXELS, module.WIDTH_PIXELS, 3)
    assert picture.dtype == np.uint8
    # -600 HU is the middle of the lung window
    assert abs(int(picture[60, 60, 0]) - 128) <= 1
    orange = (picture[:360, :360, 0] > 200) & (picture[:360, :360, 2] < 60)
    rows, columns = np.nonzero(orange)
    # the mask is 10 mm wide in a field of 48 mm that has 360 pixels; its contour lies half a voxel of 2 mm around
    assert np.ptp(rows) == pytest.approx(10 / 48 * 360, abs=4)
    assert np.ptp(columns) == pytest.approx(10 / 48 * 360, abs=4)
    bar = (picture[342, :360] == 255).all(axis=-1)
    assert int(bar.sum()) == pytest.approx(10 / 48 * 360, abs=2)
    unmarked = nodule_capture(volume(hu), volume(0 * mask), replace(NODULE, diameter_mm=math.nan), SCHEMA)
    assert not ((unmarked[:360, :, 0] > 200) & (unmarked[:360, :, 2] < 60)).any()


def test_the_primary_task_comes_first_and_no_patient_is_named() -> None:
    lines = module._lines(NODULE, SCHEMA, None)
    assert lines == [
        "Nodule 1: 10.0 mm, 524 mm³",
        "Type: malignant (benign 0.25, malignant 0.75; threshold 0.40)",
        "Bubble: absent (absent 0.90, present 0.10; threshold 0.50)",
    ]
