"""Where nnU-Net keeps a data set, and the files of ours that lie there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

from dsmt_nnunet.files import write_bytes
from dsmt_nnunet.nnunet_files import CaseFiles, DatasetJson
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


@dataclass(frozen=True)
class RawCases:
    """The files of the training cases of a raw data set, of none where the raw data are not at hand.

    Attributes:
        images: image files, one a channel, of each case.
        masks: mask of each case; empty to look at no masks.
        labels: that dataset.json declares.
        endings: of the image files of each case, behind its identifier; empty to look at none.
    """

    images: Mapping[str, Sequence[str]] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[int, ...] = (0, 1)
    endings: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset_name: str) -> RawCases:
        """Those of a data set in nnUNet_raw."""
        raw = os.environ.get("nnUNet_raw")
        folder = Path(raw) / dataset_name if raw else None
        if folder is None or not (folder / "dataset.json").is_file():
            return cls()
        with listed_in_this_process(folder):
            found = get_filenames_of_train_images_and_targets(str(folder))
        cases = {case_id: CaseFiles.parse(files) for case_id, files in found.items()}
        content = DatasetJson.read(folder / "dataset.json")
        return cls(
            {case_id: case.images for case_id, case in cases.items()},
            {case_id: case.mask for case_id, case in cases.items()},
            _label_values(content),
            tuple(f"_{number:04d}{content.file_ending}" for number in range(len(content.channel_names))),
        )

    def check_complete(self) -> None:
        """
        Raises:
            ValueError: a case has no mask, or not the channels that dataset.json names.
        """
        for case_id, files in self.images.items():
            endings = tuple(Path(file).name[len(case_id) :] for file in files)
            if self.endings and endings != self.endings:
                raise ValueError(
                    f"Case '{case_id}' of imagesTr has the files {[Path(file).name for file in files]}, and "
                    f"channel_names in dataset.json asks for {[f'{case_id}{ending}' for ending in self.endings]}."
                )
        without = [case_id for case_id, mask in self.masks.items() if not Path(mask).is_file()]
        if without:
            raise ValueError(
                f"{len(without)} cases of imagesTr have no mask in labelsTr: {', '.join(sorted(without)[:10])}. Add "
                f"them (of a scan without a nodule an empty one), or take the images away."
            )


def _label_values(dataset_json: DatasetJson) -> tuple[int, ...]:
    labels = cast("Mapping[str, Any]", dataset_json.content["labels"])
    values = np.concatenate([np.atleast_1d(value) for value in labels.values()])
    return tuple(sorted({int(value) for value in values}))


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
