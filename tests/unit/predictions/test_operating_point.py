from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from dsmt_nnunet.predictions.operating_point import OperatingPoint, TaskOperatingPoint
from dsmt_nnunet.statistics.calibration.scaling import apply_temperature
from tests.unit.small_plans import SCHEMA


def test_a_folder_without_one_gives_none(tmp_path) -> None:
    assert OperatingPoint.read(tmp_path) is None


def test_what_is_written_is_read_back(tmp_path) -> None:
    point = OperatingPoint(
        {
            "invasiveness": TaskOperatingPoint(1.7, 0.42, "youden", {"n": 40, "n_positive": 18}),
            "texture": TaskOperatingPoint(0.8, None, "most probable class"),
        },
        {"folds": [0, 1], "n": 40, "n_positive": 18},
        ("a1", "b2"),
        {"invasiveness": ("non-invasive", "invasive")},
    )
    point.write(tmp_path)
    assert OperatingPoint.read(tmp_path) == point
    assert (point.threshold("invasiveness"), point.threshold("texture"), point.threshold("other")) == (0.42, 0.5, 0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["operating_point.json"]


def test_temperature_keeps_order_and_is_undone_by_its_inverse() -> None:
    probs = np.array([[[0.9, 0.1], [0.3, 0.7]], [[0.5, 0.5], [0.001, 0.999]]])
    softer = apply_temperature(probs, 2.0)
    assert softer.shape == probs.shape
    np.testing.assert_allclose(softer.sum(axis=-1), 1)
    np.testing.assert_allclose(softer[0, 0, 1], 1 / 4)  # odds of 1 to 9 become 1 to 3
    np.testing.assert_allclose(apply_temperature(softer, 0.5), probs, atol=1e-12)


def test_saturated_probabilities_stay_finite() -> None:
    assert np.isfinite(apply_temperature(np.array([0.0, 1.0]), 0.05)).all()


def test_a_task_without_an_entry_is_left_alone() -> None:
    probs = np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(OperatingPoint({}).calibrate("texture", probs), probs)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema_version": 1, "tasks": {}}, "schema_version 2"),
        ({"schema_version": 2}, "tasks"),
        ({"schema_version": 2, "tasks": {"a": {"temperature": 0, "threshold": 0.5}}}, "positive finite"),
        ({"schema_version": 2, "tasks": {"a": {"temperature": 1, "threshold": 1.5}}}, "between 0 and 1"),
        ({"schema_version": 2, "tasks": {"a": {"temperature": 1, "threshold": True}}}, "a: threshold must be a finite"),
        ({"schema_version": 2, "tasks": {"a": {"temperature": "2", "threshold": 0.5}}}, "a: temperature must be a"),
        ({"schema_version": 2, "tasks": {}, "weights": "a1", "classes": {}}, "weights must be a list, got 'a1'"),
    ],
)
def test_a_file_that_breaks_the_rules_is_named(tmp_path, content, message) -> None:
    (tmp_path / "operating_point.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"operating_point\.json.*{message}"):
        OperatingPoint.read(tmp_path)


@pytest.mark.parametrize(
    ("weights", "classes", "misfit"),
    [
        (("a1",), ("non-invasive", "invasive"), None),
        (("a1", "b2"), ("non-invasive", "invasive"), None),
        (("a1", "c3"), ("non-invasive", "invasive"), "1 of 2 are not among them"),
        (("a1",), ("benign", "malignant"), "the classes"),
    ],
)
def test_it_fits_the_networks_and_classes_it_was_chosen_on_alone(weights, classes, misfit) -> None:
    point = OperatingPoint({"invasiveness": TaskOperatingPoint()}, {}, ("a1", "b2"), {"invasiveness": classes})
    found = point.misfit(weights, SCHEMA)
    if misfit is None:
        assert replace(point, tasks={}).misfit(weights, SCHEMA) == "it says nothing of invasiveness, the primary task"
    assert (found is None) if misfit is None else misfit in found
