"""Explanations of all nodules of a prediction folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunetv2.utilities.utils import create_lists_from_splitted_dataset_folder
from tqdm import tqdm

from dsmt_nnunet.inference.explain_scan import explain_scan
from dsmt_nnunet.inference.predictor import DSMTPredictor
from dsmt_nnunet.inference.scan_image import ScanImage
from dsmt_nnunet.predictions.explanation import explanation_path
from dsmt_nnunet.predictions.results import CasePrediction, read_folder


def explain_folder(
    predictor: DSMTPredictor, images: Path, predictions: Path, task: str | None = None, only: Sequence[str] = ()
) -> int:
    """Writes the maps of every nodule in the CASE.json files of a folder.

    Args:
        predictor: with the model that made the predictions.
        images: the folder that was predicted.
        predictions: the folder with CASE.json.
        task: whose score; the primary one by default.
        only: case identifiers; all by default.

    Returns:
        Number of maps.

    Raises:
        FileNotFoundError: images of predicted cases are missing; all of them are named.
        ValueError: the model has no such task, a case of `only` has not been predicted, or model or image are not
            those of the prediction.
    """
    plan = predictor.plan
    task = task or plan.schema.primary_task
    if task not in plan.schema.task_names:
        raise ValueError(f"The model has no task '{task}'; it has {list(plan.schema.task_names)}.")
    ending = predictor.dataset_json["file_ending"]
    files_of = {
        Path(files[0]).name[: -len(ending) - 5]: files
        for files in create_lists_from_splitted_dataset_folder(str(images), ending)
    }
    cases = _chosen(read_folder(predictions), predictions, only)
    others = [case.case_id for case in cases if tuple(case.model.get("weights", ())) != predictor.weights]
    if others:
        raise ValueError(
            f"{predictions}: {', '.join(others)} were predicted by another model, other folds or another checkpoint. "
            f"Name those of the prediction (-d, -tr, -p, -c, -f, -chk), or predict again."
        )
    missing = [case.case_id for case in cases if case.case_id not in files_of]
    if missing:
        raise FileNotFoundError(f"{images} lacks the images of {', '.join(missing)}, which {predictions} names.")
    return sum(
        _explain_case(predictor, files_of[case.case_id], case, predictions, task)
        for case in tqdm(cases, desc="Explanations", disable=None)
    )


def _explain_case(
    predictor: DSMTPredictor, files: Sequence[str], case: CasePrediction, predictions: Path, task: str
) -> int:
    """Writes the maps of a case; their number."""
    if not case.nodules:
        return 0
    image = ScanImage.read(files, predictor.plans_manager)
    if case.image_crc32 != image.checksum:
        raise ValueError(
            f"Case '{case.case_id}': {files[0]} is not the image that was predicted (checksum {image.checksum}, not "
            f"{case.image_crc32}). Give the input folder of the prediction, or predict again."
        )
    maps_of = explain_scan(predictor, image, [nodule.centre_mm for nodule in case.nodules], task)
    for nodule, maps in zip(case.nodules, maps_of, strict=True):
        maps.write(explanation_path(predictions, case.case_id, nodule.nodule_id))
    return len(case.nodules)


def _chosen(cases: Sequence[CasePrediction], predictions: Path, only: Sequence[str]) -> list[CasePrediction]:
    unknown = sorted(set(only) - {case.case_id for case in cases})
    if unknown:
        raise ValueError(f"{predictions} holds no prediction of {', '.join(unknown)}.")
    return [case for case in cases if not only or case.case_id in only]
