"""How large the nodules of a data set are, from its masks; and whether masks and table tell of the same nodules."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import cc3d
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from dsmt_nnunet.intensities import REACH_MM
from dsmt_nnunet.nodules import NONE_ID, Nodule, NoduleTable
from dsmt_nnunet.parallel import in_processes

logger = logging.getLogger(__name__)
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
    if unknown := [case for case in table.case_ids if case not in masks]:
        raise ValueError(
            f"nodules.csv names {len(unknown)} cases that imagesTr does not hold ({', '.join(unknown[:10])}), whose "
            f"nodules would not be learnt from. Correct case_id, or remove the rows."
        )
    if unnamed := [case for case in masks if case not in table.case_ids]:
        logger.warning(
            "%d cases have no row in nodules.csv and teach the segmentation alone: %s. Of a scan that holds no nodule "
            "a row says so (nodule_id '%s').",
            len(unnamed),
            ", ".join(unnamed[:10]),
            NONE_ID,
        )
    empty = {case.case_id for case in table.empty}
    nodules_of = table.by_case()
    jobs = [(case, path, nodules_of.get(case, ()), case in empty) for case, path in masks.items()]
    found = in_processes(_measure, jobs, processes, "Nodule extents")
    if problems := [problem for _, own in found for problem in own]:
        raise ValueError("Masks and nodules.csv contradict each other:\n  " + "\n  ".join(problems))
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
    problems = []
    if is_empty and len(boxes):
        problems.append(f"case '{case_id}' holds no nodule (nodule_id '{NONE_ID}'), but its mask shows {len(boxes)}.")
    if nodules and not len(boxes):
        problems.append(f"case '{case_id}' has {len(nodules)} rows, but its mask is empty.")
    elif nodules:
        drawn_mm = np.argwhere(labels) * spacing_zyx
        for nodule in nodules:
            index = np.array(image.TransformPhysicalPointToContinuousIndex(nodule.centre_mm))[::-1]
            distance_mm = float(np.linalg.norm(drawn_mm - index * spacing_zyx, axis=1).min())
            if distance_mm > REACH_MM:
                problems.append(
                    f"case '{case_id}', nodule '{nodule.nodule_id}': its position {nodule.centre_mm} lies "
                    f"{distance_mm:.0f} mm from all that is drawn in the mask, more than {REACH_MM:g} mm. Positions "
                    f"are x, y, z in mm, LPS; is it the mask of this scan?"
                )
    return extents, problems
