"""What each reader drew of a nodule, kept beside a raw data set: `readers/CASE__NODULE__readerK.nii.gz`.

Each file holds the surroundings of the nodule alone, all readers of it on one grid, which is part of the image's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dsmt_nnunet.identifiers import nodule_in_file_name
from dsmt_nnunet.image_files import check_image_file, write_image

READERS_FOLDER = "readers"
_RIM = 1
_READER = re.compile(r".*__reader([0-9]+)\.nii\.gz")

ReaderMasks = Mapping[int, sitk.Image]
"""Reader, from 1 on -> 0 and 1."""


def cropped_masks(voxels_zyx: Mapping[int, NDArray[np.intp]], image: sitk.Image) -> dict[int, sitk.Image]:
    """Masks of what readers drew of one nodule, cut to the box around all of it and one voxel more.

    Args:
        voxels_zyx: reader -> (N, 3), indices of voxels of `image`.
        image: the grid.
    """
    everything = np.concatenate(list(voxels_zyx.values()))
    low = np.maximum(everything.min(axis=0) - _RIM, 0)
    high = np.minimum(everything.max(axis=0) + _RIM + 1, image.GetSize()[::-1])
    masks = {}
    for reader, voxels in voxels_zyx.items():
        array = np.zeros(high - low, np.uint8)
        array[tuple((voxels - low).T)] = 1
        mask = sitk.GetImageFromArray(array)
        mask.SetSpacing(image.GetSpacing())
        mask.SetDirection(image.GetDirection())
        mask.SetOrigin(image.TransformIndexToPhysicalPoint(low[::-1].tolist()))
        masks[reader] = mask
    return masks


def write_reader_masks(data_set: Path, case_id: str, nodule_id: str, masks: ReaderMasks) -> None:
    """Writes the masks of one nodule into `READERS_FOLDER` of a raw data set."""
    folder = data_set / READERS_FOLDER
    folder.mkdir(exist_ok=True)
    for reader, mask in masks.items():
        write_image(folder / f"{_stem(case_id, nodule_id)}{reader}.nii.gz", mask)


def read_reader_masks(data_set: Path, case_id: str, nodule_id: str) -> dict[int, sitk.Image]:
    """The masks of one nodule; empty where no reader's is kept.

    Raises:
        ValueError: a file is damaged.
    """
    masks = {}
    stem = _stem(case_id, nodule_id)
    for path in sorted((data_set / READERS_FOLDER).glob("*.nii.gz")):
        if path.name.startswith(stem) and (found := _READER.fullmatch(path.name)):
            check_image_file(path)
            masks[int(found[1])] = sitk.ReadImage(str(path))
    return dict(sorted(masks.items()))


def _stem(case_id: str, nodule_id: str) -> str:
    return f"{case_id}__{nodule_in_file_name(nodule_id)}__reader"
