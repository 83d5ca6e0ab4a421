"""Writing an nnU-Net raw data set with a table of nodules: all of it or nothing."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, get_args

import numpy as np
import SimpleITK as sitk

from dsmt_nnunet.covariates import checked
from dsmt_nnunet.dicom.scan_source import SOURCES_FOLDER, ScanSource, write_sources
from dsmt_nnunet.files import clean_leftovers, temporary_folder, write_json, write_text
from dsmt_nnunet.identifiers import case_id_problem, same_person_key
from dsmt_nnunet.image_files import write_image
from dsmt_nnunet.nnunet_files import Json
from dsmt_nnunet.nodules import EmptyCase, Nodule, NoduleTable
from dsmt_nnunet.reader_masks import ReaderMasks, write_reader_masks
from dsmt_nnunet.tasks import FIXED_COLUMNS, NODULE_TABLE_NAME, TEST_NODULE_TABLE_NAME, ClassificationSchema

logger = logging.getLogger(__name__)

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
FILE_ENDING = ".nii.gz"
RAW_FOLDER_VARIABLE = "nnUNet_raw"

_FOLDER_SUFFIX: dict[Split, str] = {"train": "Tr", "test": "Ts"}
_TABLE_NAME: dict[Split, str] = {"train": NODULE_TABLE_NAME, "test": TEST_NODULE_TABLE_NAME}
_DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_OWN_JSON_KEYS = ("channel_names", "labels", "numTraining", "file_ending", "classification")
_OWN_FILES = ("dataset.json", NODULE_TABLE_NAME, TEST_NODULE_TABLE_NAME)


def dataset_folder_name(dataset_id: int, name: str) -> str:
    """`DatasetXXX_Name`.

    Raises:
        ValueError: the id is outside 1 to 999, or the name has characters that a folder name should not have.
    """
    if not 1 <= dataset_id <= 999:
        raise ValueError(f"The data set id must lie between 1 and 999, got {dataset_id}.")
    if not _DATASET_NAME.fullmatch(name):
        raise ValueError(
            f"The data set name may hold letters, digits, '_' and '-' only and must begin with a letter or digit, "
            f"got '{name}'. Give the name alone, without 'Dataset{dataset_id:03d}_'."
        )
    return f"Dataset{dataset_id:03d}_{name}"


class RawDatasetWriter:
    """Writes `nnUNet_raw/DatasetXXX_Name`: images, masks, dataset.json and the nodule tables.

    A context manager. Everything is written to a hidden folder beside the final one, which takes its name at a clean
    exit; after an exception the hidden folder is removed and nothing else has changed.

        with RawDatasetWriter(501, "Nodules", schema) as writer:
            writer.add_case("case1", image, mask, [nodule], "train")

    Args:
        dataset_id: 1 to 999.
        name: letters, digits, `_` and `-`.
        schema: the tasks; goes into dataset.json.
        raw_folder: where data sets live; by default the environment variable nnUNet_raw.
        overwrite: replace a data set of the same id and name (at the end, when the new one is complete).
        dataset_json_extra: further entries of dataset.json (description, licence, ...); no patient data.

    Raises:
        ValueError: bad id, name or entries, or nnUNet_raw is not set.
        FileExistsError: the data set exists and `overwrite` is off, or its id belongs to another name.
    """

    def __init__(
        self,
        dataset_id: int,
        name: str,
        schema: ClassificationSchema,
        raw_folder: Path | None = None,
        overwrite: bool = False,
        dataset_json_extra: Json | None = None,
    ) -> None:
        folder_name = dataset_folder_name(dataset_id, name)
        self.schema = schema
        self.overwrite = overwrite
        self._extra = dict(dataset_json_extra or {})
        clashes = sorted(set(self._extra) & set(_OWN_JSON_KEYS))
        if clashes:
            raise ValueError(f"dataset_json_extra must not hold {clashes}: the writer sets these entries itself.")
        self._raw_folder = _resolve_raw_folder(raw_folder)
        self.folder = self._raw_folder / folder_name
        _recover(self.folder)
        _check_free(self.folder, overwrite, other_roots=_other_nnunet_folders(self._raw_folder))
        self._partial = temporary_folder(self._raw_folder)
        self._cases: dict[str, Split] = {}
        self._lower_case_ids: set[str] = set()
        self._split_of_patient: dict[str, Split] = {}
        self._nodules: dict[Split, list[Nodule]] = {"train": [], "test": []}
        self._empty: dict[Split, list[EmptyCase]] = {"train": [], "test": []}

    def __enter__(self) -> RawDatasetWriter:
        self._raw_folder.mkdir(parents=True, exist_ok=True)
        clean_leftovers(self._raw_folder)
        self._partial.mkdir()
        for split_folder in ("imagesTr", "labelsTr"):
            (self._partial / split_folder).mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def add_case(
        self,
        case_id: str,
        image: sitk.Image,
        mask: sitk.Image,
        nodules: Sequence[Nodule],
        split: Split,
        source: ScanSource | None = None,
        empty: EmptyCase | None = None,
        readings: Mapping[str, ReaderMasks] | None = None,
    ) -> None:
        """Writes one case.

        Args:
            case_id: unique in the data set, safe as a file name.
            image: 3-D, HU. Stored as int16 where all values are whole numbers that fit, otherwise as float32.
            mask: same size as the image; everything above 0 is nodule. It gets exactly the image's geometry.
            nodules: the nodules of this case; none of one that holds none.
            split: "train" or "test".
            source: what of the archive the image is; None where that is not known or stays elsewhere.
            empty: of a case that holds no nodule, what nodules.csv says of it.
            readings: nodule_id -> what each reader drew of it.

        Raises:
            ValueError: any of these rules is broken.
        """
        self._check_case(case_id, image, mask, nodules, split)
        self._check_whether_empty(case_id, mask, nodules, empty, split)
        suffix = _FOLDER_SUFFIX[split]
        for folder in (f"images{suffix}", f"labels{suffix}"):
            (self._partial / folder).mkdir(exist_ok=True)
        clean_image = _as_hu(image)
        clean_mask = sitk.GetImageFromArray((sitk.GetArrayViewFromImage(mask) > 0).astype(np.uint8))
        clean_mask.CopyInformation(clean_image)
        write_image(self._partial / f"images{suffix}" / f"{case_id}_0000{FILE_ENDING}", clean_image)
        write_image(self._partial / f"labels{suffix}" / f"{case_id}{FILE_ENDING}", clean_mask)
        if source is not None:
            write_sources(self._partial / SOURCES_FOLDER, {case_id: source})
        for nodule_id, masks in (readings or {}).items():
            write_reader_masks(self._partial, case_id, nodule_id, masks)
        self._cases[case_id] = split
        self._lower_case_ids.add(case_id.lower())
        table = NoduleTable(tuple(nodules), () if empty is None else (empty,))
        for patient_id in table.patient_ids:
            self._split_of_patient[same_person_key(patient_id)] = split
        self._nodules[split].extend(table.nodules)
        self._empty[split].extend(table.empty)

    def add_file(self, name: str, text: str) -> None:
        """Writes a further text file (UTF-8) beside dataset.json, for instance a description of how it was made."""
        if Path(name).name != name or name.startswith(".") or name in _OWN_FILES:
            raise ValueError(f"'{name}' must be a plain file name other than {list(_OWN_FILES)}.")
        write_text(self._partial / name, text)

    def _check_case(
        self, case_id: str, image: sitk.Image, mask: sitk.Image, nodules: Sequence[Nodule], split: str
    ) -> None:
        if problem := case_id_problem(case_id):
            raise ValueError(f"Case '{case_id}': a case_id {problem}.")
        if case_id.lower() in self._lower_case_ids:
            raise ValueError(f"Case '{case_id}' was added already (case_ids must differ in more than letter case).")
        if split not in SPLITS:
            raise ValueError(f"Case '{case_id}': split must be one of {list(SPLITS)}, got '{split}'.")
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
            raise ValueError(f"Case '{case_id}': the image must be 3-D with one value a voxel.")
        if image.GetSize() != mask.GetSize():
            raise ValueError(f"Case '{case_id}': the mask has size {mask.GetSize()}, the image {image.GetSize()}.")
        reserved = {*FIXED_COLUMNS, *self.schema.task_names, *(own.name for own in self.schema.covariates)}
        seen: set[str] = set()
        for nodule in nodules:
            where = f"Case '{case_id}', nodule '{nodule.nodule_id}'"
            if nodule.case_id != case_id:
                raise ValueError(f"{where}: it belongs to case '{nodule.case_id}'.")
            if nodule.nodule_id in seen:
                raise ValueError(f"{where}: nodule_id must be unique within a case.")
            seen.add(nodule.nodule_id)
            nodule.label_indices(self.schema)
            checked(self.schema.covariates, nodule.covariates)
            if clashes := sorted(reserved & set(nodule.extra)):
                raise ValueError(f"{where}: extra columns {clashes} have the name of a fixed column or of a task.")
            self._check_split(where, nodule.patient_id, split)

    def _check_split(self, where: str, patient_id: str, split: str) -> None:
        if self._split_of_patient.get(same_person_key(patient_id), split) != split:
            raise ValueError(f"{where}: patient '{patient_id}' has cases in train and in test.")

    def _check_whether_empty(
        self, case_id: str, mask: sitk.Image, nodules: Sequence[Nodule], empty: EmptyCase | None, split: str
    ) -> None:
        """A case has nodules, or says that it has none and has no mask."""
        drawn = bool(np.any(sitk.GetArrayViewFromImage(mask)))
        if drawn != bool(nodules) or drawn != (empty is None):
            raise ValueError(
                f"Case '{case_id}': {len(nodules)} nodules, a mask that is {'drawn' if drawn else 'empty'}, and "
                f"{'no word' if empty is None else 'the word'} that there is none. These three must agree."
            )
        if empty is not None:
            if empty.case_id != case_id:
                raise ValueError(f"Case '{case_id}': the row of a case without a nodule names '{empty.case_id}'.")
            self._check_split(f"Case '{case_id}'", empty.patient_id, split)

    def _finish(self) -> None:
        if not self._cases:
            raise ValueError(f"{self.folder.name}: no case was added, so there is no data set to write.")
        self._write_tables()
        dataset_json = {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, "nodule": 1},
            "numTraining": sum(split == "train" for split in self._cases.values()),
            "file_ending": FILE_ENDING,
            "classification": self.schema.to_block(),
            **self._extra,
        }
        write_json(self._partial / "dataset.json", dataset_json, indent=2)
        _check_free(self.folder, self.overwrite)
        _swap_in(self._partial, self.folder)

    def _write_tables(self) -> None:
        tables = {split: NoduleTable(tuple(self._nodules[split]), tuple(self._empty[split])) for split in SPLITS}
        columns = dict.fromkeys(name for table in tables.values() for row in table.rows for name in row.extra)
        for split, table_name in _TABLE_NAME.items():
            if split == "test" and "test" not in self._cases.values():
                continue
            nodules = self._nodules[split]
            complete = tuple(replace(n, extra={name: n.extra.get(name, "") for name in columns}) for n in nodules)
            NoduleTable(complete, tuple(self._empty[split])).write(self._partial / table_name, self.schema)


def _resolve_raw_folder(raw_folder: Path | None) -> Path:
    if raw_folder is not None:
        return Path(raw_folder)
    value = os.environ.get(RAW_FOLDER_VARIABLE)
    if not value:
        raise ValueError(
            "The environment variable nnUNet_raw is not set, so there is no place for the data set. Set it to the "
            'folder of your raw data sets, or run: eval "$(dsmt env)"'
        )
    return Path(value)


def _other_nnunet_folders(raw_folder: Path) -> list[Path]:
    """The preprocessed and the results folder, when `raw_folder` is the one nnU-Net itself uses beside them."""
    configured = os.environ.get(RAW_FOLDER_VARIABLE)
    if not configured or Path(configured).resolve() != raw_folder.resolve():
        return []
    values = (os.environ.get(name) for name in ("nnUNet_preprocessed", "nnUNet_results"))
    return [Path(value) for value in values if value]


def _check_free(folder: Path, overwrite: bool, other_roots: Sequence[Path] = ()) -> None:
    prefix = folder.name.split("_", 1)[0]
    for root in (folder.parent, *other_roots):
        for other in sorted(root.glob(f"{prefix}*")):
            if other.is_dir() and other.name != folder.name:
                raise FileExistsError(
                    f"Data set id {prefix.removeprefix('Dataset')} belongs to {other} already, and nnU-Net refuses two "
                    f"names for one id. Choose another id, or that name, or remove that folder."
                )
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder} exists already. Choose another id, or replace it with --overwrite.")


def _recover(final: Path) -> None:
    """Sets right what a run left that was killed between the two renames of `_swap_in`."""
    old = _set_aside(final)
    if not old.is_dir():
        return
    if final.exists():
        shutil.rmtree(old)
        logger.warning("Removed %s, the earlier data set that a killed run had replaced.", old)
    else:
        old.rename(final)
        logger.warning("Put %s back, which a killed run had set aside.", final)


def _set_aside(final: Path) -> Path:
    return final.with_name(f".{final.name}.old")


def _swap_in(new: Path, final: Path) -> None:
    if not final.exists():
        new.rename(final)
        return
    old = _set_aside(final)
    final.rename(old)
    try:
        new.rename(final)
    except BaseException:
        old.rename(final)
        raise
    shutil.rmtree(old)


def _as_hu(image: sitk.Image) -> sitk.Image:
    """A copy without metadata (which can name the patient), int16 where nothing is lost, otherwise float32."""
    array = sitk.GetArrayViewFromImage(image)
    limits = np.iinfo(np.int16)
    fits = limits.min <= array.min() and array.max() <= limits.max
    whole = np.issubdtype(array.dtype, np.integer) or bool(np.all(array == np.rint(array)))
    clean = sitk.GetImageFromArray(array.astype(np.int16 if fits and whole else np.float32))
    clean.CopyInformation(image)
    return clean
