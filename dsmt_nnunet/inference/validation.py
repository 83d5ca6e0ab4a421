"""Classification of the validation cases at the end of training, by the code that prediction uses."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsmt_nnunet import __version__
from dsmt_nnunet.files import write_json
from dsmt_nnunet.inference.classifier import NoduleClassifier
from dsmt_nnunet.inference.preprocessed_cases import PreprocessedCases
from dsmt_nnunet.inference.weights import weights_digest
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.predictions.results import is_case_file, read_case, write_case
from dsmt_nnunet.predictions.table import CLASSIFICATION_TABLE_NAME, write_table

SUMMARY_NAME = "summary.json"
"""What nnU-Net writes of the masks of a validation."""


def classify_validation_cases(trainer: Any, case_ids: Sequence[str], table: NoduleTable) -> int:
    """Writes CASE.json and classification.csv into the trainer's `validation` folder.

    Nodules are classified at their true positions. Probabilities are as the network gives them: the operating point is
    chosen from them later.

    Args:
        trainer: a DSMTTrainer whose network is trained.
        case_ids: validation cases.
        table: all nodules.

    Returns:
        Number of nodules.
    """
    plan = trainer.dsmt_plan
    folder = Path(trainer.output_folder) / "validation"
    classifier = NoduleClassifier(
        networks=[trainer._bare_network()],
        plan=plan,
        patch_size=trainer.configuration_manager.patch_size,
        mirror_axes=trainer.inference_allowed_mirroring_axes or (),
        device=trainer.device,
        batch_size=trainer.configuration_manager.batch_size,
    )
    cases = PreprocessedCases(
        trainer.dataset_class(trainer.preprocessed_dataset_folder, sorted(case_ids)), trainer._context_store(), table
    )
    model = {
        "trainer": type(trainer).__name__,
        "plans": trainer.plans_manager.plans_name,
        "configuration": trainer.configuration_name,
        "dataset": trainer.plans_manager.dataset_name,
        "folds": [trainer.fold],
        "weights": [weights_digest(trainer._bare_network().state_dict())],
        "dsmt_nnunet_version": __version__,
        "temperatures": {},
    }
    _remove_others(folder, set(case_ids))
    predictions = [prediction for prediction, _ in cases.classify(classifier, case_ids, model)]
    for prediction in predictions:
        write_case(prediction, folder / f"{prediction.case_id}.json")
    if predictions:
        write_table(predictions, folder / CLASSIFICATION_TABLE_NAME)
    return sum(len(prediction.nodules) for prediction in predictions)


def leave_out_validation(folder: Path, weights: str) -> str:
    """What a `validation` folder becomes where the networks are not validated.

    Answers of an earlier network would be taken for those of this one, and are removed. nnU-Net's
    `nnUNetv2_export_model_to_zip` wants a summary.json, without which it breaks off and leaves half a zip file: it
    gets one without cases.

    Args:
        folder: `fold_k/validation`.
        weights: digest of the trained network.

    Returns:
        What was done, in words; "" where the folder holds answers of this network.
    """
    own = [path for path in folder.glob("*.json") if is_case_file(path)]
    if own and all(read_case(path).model.get("weights") == [weights] for path in own):
        return ""
    had_answers = folder.is_dir()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / SUMMARY_NAME, {"metric_per_case": [], "mean": {}, "foreground_mean": {}})
    return f"What {folder.name}/ held of an earlier training was removed." if had_answers else ""


def _remove_others(folder: Path, case_ids: set[str]) -> None:
    """Takes away predictions of cases that this fold does not validate: under an earlier split it did."""
    for path in folder.glob("*.json"):
        if path.stem not in case_ids and is_case_file(path):
            path.unlink()
