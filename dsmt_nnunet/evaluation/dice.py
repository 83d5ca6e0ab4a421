"""Dice of predicted masks against reference masks."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from dsmt_nnunet.image_files import read_mask
from dsmt_nnunet.statistics.named_warnings import EmptyMaskWarning

MASK_ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")
_GRID_TOLERANCE_MM = 1e-2
"""Headers store float32 and round; a hundredth of a millimetre is far below a voxel."""


def dice_score(reference: npt.NDArray[np.bool_], predicted: npt.NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|); NaN with an `EmptyMaskWarning` where both are empty."""
    size = int(reference.sum()) + int(predicted.sum())
    if size == 0:
        warnings.warn("Reference and prediction are both empty; Dice is not defined.", EmptyMaskWarning, stacklevel=2)
        return math.nan
    return 2.0 * int((reference & predicted).sum()) / size


def find_mask(folder: str | Path, case_id: str) -> Path | None:
    """The mask of a case in a folder, whatever its format; None where there is none."""
    return next((path for path in (Path(folder) / f"{case_id}{end}" for end in MASK_ENDINGS) if path.is_file()), None)


def same_grid(first: sitk.Image, second: sitk.Image) -> bool:
    """Whether each voxel of one image lies where that of the other does."""
    return first.GetSize() == second.GetSize() and all(
        np.allclose(one, other, atol=_GRID_TOLERANCE_MM)
        for one, other in (
            (first.GetSpacing(), second.GetSpacing()),
            (first.GetOrigin(), second.GetOrigin()),
            (first.GetDirection(), second.GetDirection()),
        )
    )


def dice_of_files(reference_path: Path, predicted_path: Path) -> float:
    """Dice of the foreground (every label but 0) of two mask files.

    Raises:
        ValueError: the masks do not lie on the same grid, are not whole, or are no masks.
    """
    reference, predicted = read_mask(reference_path), read_mask(predicted_path)
    if not same_grid(reference, predicted):
        raise ValueError(
            f"{reference_path.name}: reference and prediction must lie on the same grid; the reference has size "
            f"{reference.GetSize()}, spacing {_rounded(reference.GetSpacing())}, origin "
            f"{_rounded(reference.GetOrigin())}, the prediction {predicted.GetSize()}, "
            f"{_rounded(predicted.GetSpacing())}, {_rounded(predicted.GetOrigin())}. Give the reference masks the "
            f"predictions were made for."
        )
    return dice_score(sitk.GetArrayFromImage(reference) > 0, sitk.GetArrayFromImage(predicted) > 0)


def _rounded(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in values)
