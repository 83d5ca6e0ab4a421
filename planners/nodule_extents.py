"""How large the nodules of a data set are, from its masks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cc3d
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from tqdm import tqdm


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
    progress = {"total": len(masks), "desc": "Nodule extents", "disable": None}
    if processes <= 1 or len(masks) < 8:
        extents = [_extents_of(path) for path in tqdm(masks, **progress)]
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            extents = list(tqdm(pool.map(_extents_of, masks, chunksize=4), **progress))
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
    return np.asarray(sizes, dtype=float).reshape(-1, 3) * spacing_zyx
