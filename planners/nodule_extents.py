"""How large the nodules of a data set are, from its masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cc3d
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from dsmt_nnunet.parallel import in_processes


def nodule_extents_mm(masks: Sequence[Path], processes: int = 1) -> npt.NDArray[np.float64]:
    """Edge lengths of the bounding boxes of all nodules.

    Args:
        masks: label images.
        processes: workers.

    Returns:
        (N, 3) in mm, along the image's axes (z, y, x).

    Raises:
        ValueError: no mask holds a nodule.
    """
    extents = in_processes(_extents_of, [(path,) for path in masks], processes, "Nodule extents")
    boxes = np.concatenate(extents) if extents else np.zeros((0, 3))
    if not len(boxes):
        raise ValueError("No mask of labelsTr holds a nodule, so the local patch cannot be sized.")
    return boxes


def _extents_of(path: Path) -> npt.NDArray[np.float64]:
    image = sitk.ReadImage(str(path))
    labels = cc3d.connected_components(sitk.GetArrayFromImage(image) != 0, connectivity=26)
    spacing_zyx = np.asarray(image.GetSpacing())[::-1]
    boxes = cc3d.statistics(labels)["bounding_boxes"][1:]
    sizes = [[axis.stop - axis.start for axis in box] for box in boxes]
    extents: npt.NDArray[np.float64] = np.asarray(sizes, dtype=float).reshape(-1, 3) * spacing_zyx
    return extents
