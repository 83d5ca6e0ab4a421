"""A cohort of tiny scans with predictions, evaluated: what the page is tested on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from dsmt_nnunet.dicom.scan_source import SOURCES_FOLDER, ScanSource, write_sources
from dsmt_nnunet.evaluation.group_bands import GroupColumn
from dsmt_nnunet.evaluation.predicted import PredictionInputs, evaluate_predictions
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.task_cases import TaskOptions
from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.predictions.explanation import Explanation, ExplanationMap, explanation_path
from dsmt_nnunet.predictions.results import CasePrediction, NodulePrediction, TaskPrediction, write_case
from dsmt_nnunet.report.image_folders import ImageFolders
from dsmt_nnunet.report.page import ReportOptions
from dsmt_nnunet.tasks import ClassificationSchema, Task

SCHEMA = ClassificationSchema(
    (
        Task("invasiveness", ("non-invasive", "<b>invasive</b>")),
        Task("texture", ("ground-glass", "part-solid", "solid")),
    ),
    "invasiveness",
)
SETTINGS = EvaluationSettings(n_resamples=100)
SPACING_MM = 2.0
SIZE = 32
CENTRE_VOXEL = 15.0


@dataclass(frozen=True)
class Cohort:
    """Folders of a cohort, as a user has them."""

    images: Path
    labels: Path
    predictions: Path
    truth: Path
    metrics: Path


def make_cohort(folder: Path, n_cases: int = 12) -> Cohort:
    """Writes images, masks and predictions, and evaluates them.

    The last case is missed, and its scan holds an extra finding; cases 3 and 8 are decided wrongly, 8 by far.
    """
    cohort = Cohort(*(folder / name for name in ("imagesTs", "labelsTs", "predictions", "nodulesTs.csv", "metrics")))
    for path in (cohort.images, cohort.labels, cohort.predictions):
        path.mkdir(parents=True)
    rng = np.random.default_rng(0)
    nodules = [_write_case(cohort, index, n_cases, rng) for index in range(n_cases)]
    write_sources(cohort.predictions / SOURCES_FOLDER, {"case_08": scan_source()})
    NoduleTable(tuple(nodules)).write(cohort.truth, SCHEMA)
    options = TaskOptions(
        groups=(GroupColumn("cohort"), GroupColumn("diameter_mm", (12.0,))),
        cluster="patient_id",
        readers={"": ("junior", "senior")},
    )
    inputs = PredictionInputs(cohort.predictions, cohort.truth, cohort.labels, options=options)
    evaluate_predictions(inputs, cohort.metrics, SETTINGS)
    return cohort


def scan_source() -> ScanSource:
    """A series with the grid of the cohort's scans, its images counted from the head."""
    heights = [SPACING_MM * index for index in range(SIZE)]
    return ScanSource(
        study_uid="1.2.3",
        series_uid="1.2.3.4",
        frame_of_reference_uid="1.2.9",
        series_number="4",
        sop_uids=tuple(f"1.2.3.4.{index}" for index in range(SIZE)),
        numbers=tuple(SIZE - index for index in range(SIZE)),
        table_mm=tuple(height - 1000 for height in heights),
        positions_mm=tuple((0.0, 0.0, height) for height in heights),
    )


def page_options(cohort: Cohort) -> ReportOptions:
    """A page with pictures and a title that must be escaped."""
    folders = ImageFolders((cohort.images,), (cohort.labels,), (cohort.predictions,))
    return ReportOptions("<script>alert(1)</script>", folders)


def explain_case(cohort: Cohort, index: int, class_name: str = "<b>invasive</b>") -> Path:
    """Writes maps of a case's nodule: 8 mm towards head and left speaks for the class, 40 mm away against it."""
    centre = np.full(3, CENTRE_VOXEL * SPACING_MM)
    parts = []
    for spacing, count, place_mm, value in ((2.0, 20, (8.0, 0.0, 8.0), 2.5), (5.0, 32, (40.0, 0.0, 0.0), -0.75)):
        world_to_voxel = np.hstack([np.eye(3) / spacing, ((count - 1) / 2 - centre / spacing)[:, None]])[::-1]
        geometry = ArrayGeometry((spacing,) * 3, (count,) * 3, world_to_voxel)
        values = np.zeros((count,) * 3, dtype=np.float32)
        low = np.floor(geometry.to_voxel(centre + place_mm)).astype(int)
        values[tuple(slice(first, first + 2) for first in low)] = value
        parts.append(ExplanationMap(values, geometry))
    path = explanation_path(cohort.predictions, f"case_{index:02d}", "1")
    Explanation("invasiveness", class_name, *parts).write(path)
    return path


def write_volume(array: np.ndarray, path: Path) -> None:
    """Writes a (Z, Y, X) array with `SPACING_MM` and its first voxel at the origin."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((SPACING_MM,) * 3)
    sitk.WriteImage(image, str(path))


def _write_case(cohort: Cohort, index: int, n_cases: int, rng: np.random.Generator) -> Nodule:
    case_id, positive = f"case_{index:02d}", index % 2 == 1
    radius = 4.0 + index % 4
    grid = np.indices((SIZE,) * 3) - CENTRE_VOXEL
    distance = np.sqrt((grid**2).sum(axis=0)) * SPACING_MM
    image = np.where(distance <= radius, 0, -850) + rng.normal(0, 30, distance.shape)
    write_volume(image.astype(np.int16), cohort.images / f"{case_id}_0000.nii.gz")
    write_volume((distance <= radius).astype(np.uint8), cohort.labels / f"{case_id}.nii.gz")
    write_volume((distance <= radius + 2).astype(np.uint8), cohort.predictions / f"{case_id}.nii.gz")
    centre = (CENTRE_VOXEL * SPACING_MM,) * 3
    missed = index == n_cases - 1
    place = (centre[0] - 20, centre[1], centre[2]) if missed else centre
    predicted = NodulePrediction("1", place, 2 * radius + 4, 500.0, _answers(index, positive))
    write_case(CasePrediction(case_id, SCHEMA, (predicted,)), cohort.predictions / f"{case_id}.json")
    return Nodule(
        case_id=case_id,
        nodule_id="1",
        patient_id=f"P{index // 2}",
        centre_mm=centre,
        diameter_mm=2 * radius,
        labels={"invasiveness": SCHEMA["invasiveness"].classes[positive], "texture": _textures()[index % 3]},
        extra={
            "cohort": "external" if index < 4 else "internal",
            "junior": str(int(index % 3 == 0)),
            "senior": str(1 + 2 * positive + index % 2 + index % 3),
        },
    )


def _answers(index: int, positive: bool) -> dict[str, TaskPrediction]:
    probability = {3: 0.4, 8: 0.95}.get(index, 0.7 + index / 50 if positive else 0.3 - index / 50)
    names = SCHEMA["invasiveness"].classes
    binary = TaskPrediction(
        {names[0]: 1 - probability, names[1]: probability},
        {names[0]: 0.05, names[1]: 0.05},
        names[int(probability >= 0.5)],
        0.5,
    )
    shares = np.full(3, 0.2)
    shares[(index + (index == 5)) % 3] = 0.6
    texture = TaskPrediction(
        dict(zip(_textures(), shares.tolist(), strict=True)), {}, _textures()[int(shares.argmax())], None
    )
    assert math.isclose(shares.sum(), 1)
    return {"invasiveness": binary, "texture": texture}


def _textures() -> tuple[str, ...]:
    return SCHEMA["texture"].classes
