from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest

from dsmt_nnunet.predictions.table import table_columns, write_table
from dsmt_nnunet.tasks import ClassificationSchema
from tests.unit.predictions.made_case import prediction
from tests.unit.small_plans import SCHEMA


def test_the_table_has_one_column_a_class_but_one_for_a_binary_task() -> None:
    assert table_columns(SCHEMA)[7:] == [
        "texture",
        "texture_prob_ground-glass",
        "texture_prob_part-solid",
        "texture_prob_solid",
        "invasiveness",
        "invasiveness_prob",
    ]


def test_the_table_has_one_row_a_nodule(tmp_path: Path) -> None:
    path = tmp_path / "classification.csv"
    write_table([prediction("a"), prediction("b", math.nan), replace(prediction("c"), nodules=())], path)
    rows = list(csv.DictReader(path.open(newline="", encoding="utf-8")))
    assert [row["case_id"] for row in rows] == ["a", "b"]
    assert list(rows[0]) == table_columns(SCHEMA)
    assert (rows[0]["x_mm"], rows[0]["y_mm"], rows[0]["z_mm"]) == ("1.500", "-2.250", "3.000")
    assert (rows[0]["diameter_mm"], rows[1]["diameter_mm"]) == ("12.50", "")
    assert (rows[0]["texture"], rows[0]["texture_prob_part-solid"]) == ("solid", "0.300000")
    assert (rows[0]["invasiveness"], rows[0]["invasiveness_prob"]) == ("invasive", "0.750000")
    assert [path.name for path in tmp_path.iterdir()] == ["classification.csv"]


def test_cases_of_different_tasks_do_not_share_a_table(tmp_path: Path) -> None:
    other = replace(prediction("b"), schema=ClassificationSchema(SCHEMA.tasks, "texture"))
    with pytest.raises(ValueError, match="different tasks"):
        write_table([prediction("a"), other], tmp_path / "classification.csv")
    with pytest.raises(ValueError, match="No case"):
        write_table([], tmp_path / "classification.csv")
    assert not list(tmp_path.iterdir())
