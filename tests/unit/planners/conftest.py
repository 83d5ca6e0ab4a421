"""Plans of a data set that is made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from dsmt_nnunet.dataset_conversion.raw_dataset import RawDatasetWriter
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.planners import nodule_planning
from dsmt_nnunet.planners.dsmt_planner import DSMTPlannerXS
from tests.unit.small_plans import SCHEMA, write_json

NAME = "Dataset901_Tiny"
NEGATIVE, POSITIVE = SCHEMA.primary.classes
Plan = Callable[..., dict[str, Any]]


def write_raw(folder: Path, labels: Sequence[str | None]) -> None:
    image = sitk.GetImageFromArray(np.full((6, 6, 6), -1000, dtype=np.int16))
    mask = sitk.GetImageFromArray(np.zeros((6, 6, 6), dtype=np.uint8))
    mask[2:4, 2:4, 2:4] = 1
    with RawDatasetWriter(901, "Tiny", SCHEMA, raw_folder=folder) as writer:
        for number, label in enumerate(labels):
            nodule = Nodule(f"c{number}", "1", f"p{number}", (2.5, 2.5, 2.5), labels={"invasiveness": label})
            writer.add_case(f"c{number}", image, mask, [nodule], "train")


def repeated(table: NoduleTable, count: int) -> NoduleTable:
    """A table of `count` nodules that are like those given."""
    chosen = (table.nodules[i % len(table)] for i in range(count))
    return NoduleTable(tuple(replace(nodule, nodule_id=str(i)) for i, nodule in enumerate(chosen)))


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Plans a data set whose fingerprint and nodule extents are made up; gives the plans."""
    for kind in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{kind}", str(tmp_path / kind))
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")

    def run(
        planner: type = DSMTPlannerXS,
        spacing: Sequence[float] = (1.25, 0.8, 0.8),
        shape: Sequence[int] = (240, 400, 400),
        extents_mm: Sequence[Sequence[float]] = ((20.0, 18.0, 16.0),) * 4,
        cases: int = 60,
        labels: Sequence[str | None] = (NEGATIVE, POSITIVE),
        nodules: int = 200,
        **options: Any,
    ) -> dict[str, Any]:
        if not (tmp_path / "raw" / NAME).exists():
            write_raw(tmp_path / "raw", labels)
        statistics = {"mean": -300.0, "std": 250.0, "percentile_00_5": -950.0, "percentile_99_5": 150.0}
        fingerprint = {
            "spacings": [list(spacing)] * cases,
            "shapes_after_crop": [list(shape)] * cases,
            "foreground_intensity_properties_per_channel": {
                "0": {**statistics, "median": -300, "min": -1024, "max": 900}
            },
            "median_relative_size_after_cropping": 1.0,
        }
        write_json(tmp_path / "preprocessed" / NAME / "dataset_fingerprint.json", fingerprint)
        monkeypatch.setattr(nodule_planning, "nodule_extents_mm", lambda *_, **__: np.asarray(extents_mm, dtype=float))
        own = planner(NAME, **options)
        own.dataset_json["numTraining"] = cases
        read = nodule_planning.read_nodule_table
        with monkeypatch.context() as patch:
            patch.setattr(nodule_planning, "read_nodule_table", lambda *args: repeated(read(*args), nodules))
            return own.plan_experiment()

    return run
