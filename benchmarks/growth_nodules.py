"""What grows with the number of nodules where the scans stay small: the table, the statistics, the page."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import SimpleITK as sitk

from benchmarks.machine import clock
from dsmt_nnunet.predictions.results import CasePrediction, NodulePrediction, TaskPrediction, write_case
from dsmt_nnunet.tasks import ClassificationSchema

Row: TypeAlias = dict[str, object]
Run: TypeAlias = Callable[[Sequence[str], dict[str, str]], tuple[str, float, float]]

NODULES = (100, 1000, 10000)
ID, DATASET = 904, "Dataset904_Growth"
SIDE, RADIUS = 20, 5
APART = 1.0
"""Distance between the classes' mean scores in standard deviations: an AUC of about 0.76."""


def rows(run: Run) -> Iterator[Row]:
    """Conversion of a table, evaluation with 2,000 resamples and the page, one process and one thread each."""
    for count in NODULES:
        print(f"{count} nodules ...", flush=True)
        with tempfile.TemporaryDirectory() as name:
            yield from _of(count, Path(name), run)


def _of(count: int, folder: Path, run: Run) -> Iterator[Row]:
    invasive = np.random.default_rng(0).random(count) < 0.5
    table, found, page = _write_cohort(folder, invasive), folder / "found", folder / "page.html"
    variables = {**os.environ, "nnUNet_raw": str(folder / "raw"), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    convert = f"dsmt convert table {table} --images {folder / 'images'} --masks {folder / 'masks'} -d {ID} -n Growth"
    truth = folder / "raw" / DATASET / "nodulesTs.csv"
    yield _row("read images and masks twice, write them once", count, _files_alone(folder), 0.0)
    yield _timed("convert the table, the images with it", count, run, convert, variables)
    _write_answers(found, truth, invasive)
    evaluate = f"dsmt evaluate predictions {found} --truth {truth} -o {folder / 'evaluated'}"
    yield _timed("evaluate, 2,000 resamples", count, run, evaluate, variables)
    yield {
        **_timed("page", count, run, f"dsmt report {folder / 'evaluated'} -o {page}", variables),
        "page_mb": round(page.stat().st_size / 1e6, 1),
    }


def _timed(what: str, count: int, run: Run, command: str, variables: dict[str, str]) -> Row:
    _, seconds, gb = run(command.split(), variables)
    return _row(what, count, seconds, gb)


def _row(what: str, count: int, seconds: float, gb: float) -> Row:
    return {"what": what, "nodules": count, "seconds": round(seconds, 1), "gb": round(gb, 2), "page_mb": ""}


def _write_cohort(folder: Path, invasive: np.ndarray) -> Path:
    """A table and its files: a ball of tissue in noisy lung for each nodule, two nodules a patient, all for testing."""
    rng = np.random.default_rng(1)
    ball = np.linalg.norm(np.indices((SIDE,) * 3) - (SIDE - 1) / 2, axis=0) <= RADIUS
    for kind in ("images", "masks", "raw"):
        (folder / kind).mkdir()
    mask = sitk.GetImageFromArray(ball.astype(np.uint8))
    for number in range(len(invasive)):
        lung = rng.normal(-850, 30, size=ball.shape)
        image = sitk.GetImageFromArray(np.where(ball, 20.0, lung).astype(np.int16))
        sitk.WriteImage(image, str(folder / "images" / f"N{number:05d}.nii.gz"))
        sitk.WriteImage(mask, str(folder / "masks" / f"N{number:05d}.nii.gz"))
    table = folder / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["patient_id", "case_id", "pathology", "split"])
        for number, positive in enumerate(invasive):
            writer.writerow([f"P{number // 2:05d}", f"N{number:05d}", "IAC" if positive else "AIS", "test"])
    return table


def _files_alone(folder: Path) -> float:
    """Processor seconds of what no conversion can spare: each file read to be checked and again to be written."""
    start = clock()
    for kind in ("images", "masks"):
        for path in sorted((folder / kind).iterdir()):
            sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
            sitk.WriteImage(sitk.ReadImage(str(path)), str(folder / "copy.nii.gz"))
    return clock() - start


def _write_answers(found: Path, truth: Path, invasive: np.ndarray) -> None:
    """CASE.json of a model that tells the classes apart somewhat."""
    found.mkdir()
    content = json.loads((truth.parent / "dataset.json").read_text(encoding="utf-8"))
    schema = ClassificationSchema.from_dataset_json(content)
    (task,) = schema.tasks
    negative, positive = task.classes
    scores = np.random.default_rng(2).normal(size=len(invasive)) + APART * (invasive - 0.5)
    with truth.open(encoding="utf-8") as stream:
        for row, score in zip(csv.DictReader(stream), scores, strict=True):
            prob = float(1 / (1 + np.exp(-score)))
            decision = positive if prob >= 0.5 else negative
            answer = TaskPrediction({negative: 1 - prob, positive: prob}, {}, decision, 0.5)
            centre_mm = (float(row["x_mm"]), float(row["y_mm"]), float(row["z_mm"]))
            nodule = NodulePrediction("1", centre_mm, 10.0, 523.6, {task.name: answer})
            case = CasePrediction(row["case_id"], schema, (nodule,), {"weights": ["growth"]})
            write_case(case, found / f"{row['case_id']}.json")
