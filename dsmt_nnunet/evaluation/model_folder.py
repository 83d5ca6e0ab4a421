"""Finding a trained model and its truth in nnU-Net's folders."""

from __future__ import annotations

import os
from pathlib import Path

from dsmt_nnunet.nnunet_folders import dataset_name, folder_from_environment
from dsmt_nnunet.tasks import NODULE_TABLE_NAME

_TABLE_ROOTS = ("nnUNet_raw", "nnUNet_preprocessed")


def find_model_folder(dataset: str, trainer: str, plans: str, configuration: str) -> Path:
    """`nnUNet_results/DatasetXXX/TRAINER__PLANS__CONFIGURATION`.

    Raises:
        ValueError: nnUNet_results is not set, there is no such data set, or no such model; the models are listed.
    """
    parent = folder_from_environment("nnUNet_results") / dataset_name(dataset)
    folder = parent / f"{trainer}__{plans}__{configuration}"
    if not folder.is_dir():
        present = sorted(path.name for path in parent.glob("*__*__*")) if parent.is_dir() else []
        raise ValueError(
            f"There is no model {folder.name} in {parent}; there are {present or 'none'}. Name another trainer (-tr), "
            f"plans (-p) or configuration (-c), or train it first."
        )
    return folder


def find_truth_table(dataset: str) -> Path:
    """nodules.csv of a data set: the raw one counts; without the raw data, its copy beside the preprocessed data.

    Raises:
        ValueError: there is none.
    """
    name = dataset_name(dataset)
    paths = [Path(os.environ[root]) / name / NODULE_TABLE_NAME for root in _TABLE_ROOTS if root in os.environ]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise ValueError(f"No {NODULE_TABLE_NAME} of {name}; looked for {[str(path) for path in paths]}.")
    return found
