"""Where nnU-Net keeps a data set, and the files of ours that lie there."""

from __future__ import annotations

import os
from pathlib import Path

from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

from dsmt_nnunet.files import write_bytes
from dsmt_nnunet.nnunet_listing import listed_in_this_process
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.tasks import NODULE_TABLE_NAME, ClassificationSchema


def folder_from_environment(variable: str) -> Path:
    """The folder that one of nnU-Net's environment variables names.

    Raises:
        ValueError: the variable is not set.
    """
    value = os.environ.get(variable)
    if not value:
        raise ValueError(f'The environment variable {variable} is not set. Run: eval "$(dsmt env)"')
    return Path(value)


def dataset_name(dataset: str) -> str:
    """Full name of a data set given as name or number.

    Raises:
        ValueError: no such data set, or several.
    """
    try:
        return str(maybe_convert_to_dataset_name(int(dataset) if dataset.isdigit() else dataset))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"-d {dataset}: {' '.join(str(error).split())}") from error


def training_images(dataset_name: str) -> dict[str, list[str]]:
    """Image files of each training case of the raw data set; empty where the raw data are not at hand."""
    raw = os.environ.get("nnUNet_raw")
    folder = Path(raw) / dataset_name if raw else None
    if folder is None or not (folder / "dataset.json").is_file():
        return {}
    with listed_in_this_process(folder):
        cases = get_filenames_of_train_images_and_targets(str(folder))
    return {case_id: list(case["images"]) for case_id, case in cases.items()}


def read_nodule_table(dataset_name: str, schema: ClassificationSchema) -> NoduleTable:
    """The nodule table of a data set.

    The raw data set's table counts, and is copied beside the preprocessed data; where the raw data are not at hand (a
    cluster that has the preprocessed data alone), that copy is read.

    Raises:
        FileNotFoundError: there is neither.
    """
    preprocessed = folder_from_environment("nnUNet_preprocessed") / dataset_name / NODULE_TABLE_NAME
    if os.environ.get("nnUNet_raw"):
        raw = Path(os.environ["nnUNet_raw"]) / dataset_name / NODULE_TABLE_NAME
        if raw.is_file():
            table = NoduleTable.read(raw, schema)
            outdated = not preprocessed.is_file() or preprocessed.read_bytes() != raw.read_bytes()
            if outdated and os.access(preprocessed.parent, os.W_OK):
                write_bytes(preprocessed, raw.read_bytes())
            return table
    if preprocessed.is_file():
        return NoduleTable.read(preprocessed, schema)
    raise FileNotFoundError(
        f"{dataset_name} has no {NODULE_TABLE_NAME}, neither in nnUNet_raw nor beside its preprocessed data. "
        f"'dsmt convert table' writes it into the raw data set."
    )
