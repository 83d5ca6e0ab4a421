"""How large the nodules of a data set are, from its masks; and whether masks and table tell of the same nodules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cc3d
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from dsmt_nnunet.dataloading.mask_checks import check_rows, contradictions, refuse
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.parallel import in_processes

Extents = npt.NDArray[np.float64]


def nodule_extents_mm(masks: Mapping[str, Path], table: NoduleTable, processes: int = 1) -> Extents:
    """Edge lengths of the bounding boxes of all nodules.

    Args:
        masks: label image of each case.
        table: of the nodules.
        processes: workers.

    Returns:
        (N, 3) in mm, along the image's axes (z, y, x).

    Raises:
        ValueError: no mask holds a nodule, a row names no case, or a mask and the table contradict each other; all such
            cases are named.
    """
    check_rows(table, list(masks))
    empty = {case.case_id for case in table.empty}
    nodules_of = table.by_case()
    jobs = [(case, path, nodules_of.get(case, ()), case in empty) for case, path in masks.items()]
    found = in_processes(_measure, jobs, processes, "Nodule extents")
    refuse([problem for _, own in found for problem in own])
    boxes = np.concatenate([extents for extents, _ in found]) if found else np.zeros((0, 3))
    if not len(boxes):
        raise ValueError("No mask of labelsTr holds a nodule, so the local patch cannot be sized.")
    return boxes


def _measure(case_id: str, path: Path, nodules: Sequence[Nodule], is_empty: bool) -> tuple[Extents, list[str]]:
    """Extents of the nodules of one mask, and how it contradicts the rows of its case."""
    image = sitk.ReadImage(str(path))
    labels = cc3d.connected_components(sitk.GetArrayFromImage(image) != 0, connectivity=26)
    spacing_zyx = np.asarray(image.GetSpacing())[::-1]
    boxes = cc3d.statistics(labels)["bounding_boxes"][1:]
    sizes = [[axis.stop - axis.start for axis in box] for box in boxes]
    extents: Extents = np.asarray(sizes, dtype=float).reshape(-1, 3) * spacing_zyx
    located = [
        (nodule, np.array(image.TransformPhysicalPointToContinuousIndex(nodule.centre_mm))[::-1]) for nodule in nodules
    ]
    return extents, contradictions(case_id, located, np.argwhere(labels), [float(mm) for mm in spacing_zyx], is_empty)
