"""Explanations of all nodules of a prediction folder."""

from __future__ import annotations

from pathlib import Path

from nnunetv2.utilities.utils import create_lists_from_splitted_dataset_folder
from tqdm import tqdm

from dsmt_nnunet.dataloading.context_volumes import coarse_copy
from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.inference.explanation import EXPLANATION_FOLDER, explain_nodule
from dsmt_nnunet.inference.predictor import DSMTPredictor
from dsmt_nnunet.inference.results import read_folder


def explanation_path(predictions: Path, case_id: str, nodule_id: str) -> Path:
    """Where the maps of a nodule lie."""
    return predictions / EXPLANATION_FOLDER / f"{case_id}__{nodule_id}.npz"


def explain_folder(predictor: DSMTPredictor, images: Path, predictions: Path, task: str | None = None) -> int:
    """Writes the maps of every nodule in the CASE.json files of a folder.

    Args:
        predictor: with the model that made the predictions.
        images: the folder that was predicted.
        predictions: the folder with CASE.json.
        task: whose score; the primary one by default.

    Returns:
        Number of maps.

    Raises:
        FileNotFoundError: images of predicted cases are missing; all of them are named.
        ValueError: the model has no such task.
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
    cases = read_folder(predictions)
    missing = [case.case_id for case in cases if case.case_id not in files_of]
    if missing:
        raise FileNotFoundError(f"{images} lacks the images of {', '.join(missing)}, which {predictions} names.")
    manager, configuration = predictor.plans_manager, predictor.configuration_manager
    preprocessor = configuration.preprocessor_class(verbose=False)
    written = 0
    for case in tqdm(cases, desc="Explanations", disable=None):
        if not case.nodules:
            continue
        files = list(files_of[case.case_id])
        data, _, properties = preprocessor.run_case(files, None, manager, configuration, predictor.dataset_json)
        geometry = ArrayGeometry.from_properties(
            properties, manager.transpose_forward, configuration.spacing, data.shape[1:]
        )
        image, image_properties = manager.image_reader_writer_class().read_images(files)
        context = coarse_copy(image, image_properties, manager.transpose_forward, plan.context)
        for nodule in case.nodules:
            voxel = geometry.to_voxel(nodule.centre_mm)
            maps = explain_nodule(predictor.classifier, data, geometry, context, voxel, task)
            maps.write(explanation_path(predictions, case.case_id, nodule.nodule_id))
            written += 1
    return written
