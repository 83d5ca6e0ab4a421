"""Whether the masks, the table of nodules and the files of a preprocessed case tell of the same nodules."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from batchgenerators.utilities.file_and_folder_operations import load_pickle
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset

from dsmt_nnunet.files import last_line
from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.intensities import REACH_MM
from dsmt_nnunet.nodules import NONE_ID, Nodule, NoduleTable

logger = logging.getLogger(__name__)
Voxels = npt.NDArray[np.generic]
SAMPLED = 10_000
"""Of a mask with fewer voxels, nnU-Net's properties list all."""


def check_rows(table: NoduleTable, case_ids: Sequence[str]) -> None:
    """Checks that each row names a case; of cases without a row a warning tells.

    Raises:
        ValueError: rows name no case.
    """
    there = set(case_ids)
    if unknown := [case for case in table.case_ids if case not in there]:
        raise ValueError(
            f"nodules.csv names {len(unknown)} cases that imagesTr does not hold ({', '.join(unknown[:10])}), or that "
            f"were not preprocessed; their nodules would not be learnt from. Correct case_id, or remove the rows."
        )
    if unnamed := sorted(there - set(table.case_ids)):
        logger.warning(
            "%d cases have no row in nodules.csv and teach the segmentation alone: %s. Of a scan that holds no nodule "
            "a row says so (nodule_id '%s').",
            len(unnamed),
            ", ".join(unnamed[:10]),
            NONE_ID,
        )


def contradictions(
    case_id: str,
    nodules: Sequence[tuple[Nodule, npt.ArrayLike]],
    drawn: Voxels,
    spacing_mm: Sequence[float],
    is_empty: bool,
) -> list[str]:
    """How a mask contradicts the rows of its case.

    Args:
        case_id: of the case.
        nodules: its rows, each with its position in voxels of the mask.
        drawn: (N, 3), voxels of the mask's foreground.
        spacing_mm: voxel size, in the order of the axes.
        is_empty: whether a row says that the case holds no nodule.
    """
    if is_empty and len(drawn):
        return [f"case '{case_id}' holds no nodule (nodule_id '{NONE_ID}'), but its mask shows {len(drawn)} voxels."]
    if nodules and not len(drawn):
        return [f"case '{case_id}' has {len(nodules)} rows, but its mask is empty."]
    problems = []
    spacing = np.asarray(spacing_mm, dtype=float)
    for nodule, voxel in nodules:
        distance_mm = float(np.linalg.norm((drawn - np.asarray(voxel)) * spacing, axis=1).min())
        if distance_mm > REACH_MM:
            problems.append(
                f"case '{case_id}', nodule '{nodule.nodule_id}': its position {nodule.centre_mm} lies "
                f"{distance_mm:.0f} mm from all that is drawn in the mask, more than {REACH_MM:g} mm. Positions "
                f"are x, y, z in mm, LPS; is it the mask of this scan?"
            )
    return problems


def refuse(problems: Sequence[str]) -> None:
    """
    Raises:
        ValueError: there are problems; it names all.
    """
    if problems:
        raise ValueError("Masks and nodules.csv contradict each other:\n  " + "\n  ".join(problems))


def check_preprocessed_masks(
    table: NoduleTable, dataset: nnUNetBaseDataset, geometry_of: Callable[[str], ArrayGeometry]
) -> None:
    """Checks the rows of a table against the masks of preprocessed cases, whoever planned and preprocessed them.

    Args:
        table: of the nodules.
        dataset: nnU-Net's data set of the configuration.
        geometry_of: where the array of a case lies in the world.

    Raises:
        ValueError: a row names no case, or masks and rows contradict each other; all such cases are named.
    """
    check_rows(table, dataset.identifiers)
    empty, nodules_of = {case.case_id for case in table.empty}, table.by_case()
    problems: list[str] = []
    for case_id in table.case_ids:
        drawn = drawn_voxels(load_pickle(str(Path(dataset.source_folder) / f"{case_id}.pkl")))
        if drawn is None:
            continue
        geometry = geometry_of(case_id)
        voxels = [(nodule, geometry.to_voxel(nodule.centre_mm)) for nodule in nodules_of.get(case_id, ())]
        problems += contradictions(case_id, voxels, drawn, geometry.spacing_mm, case_id in empty)
    refuse(problems)


def drawn_voxels(properties: Mapping[str, Any]) -> Voxels | None:
    """(N, 3) foreground voxels of the mask that nnU-Net preprocessed, a sample of large ones; None if it had none."""
    if "class_locations" not in properties:
        return None
    # Of a label without a voxel nnU-Net notes an empty list.
    lists = [np.asarray(own, dtype=int) for label, own in properties["class_locations"].items() if label != -1]
    found = [own.reshape(-1, 4)[:, 1:] for own in lists]
    return np.concatenate(found) if found else np.zeros((0, 3), dtype=int)


def checked_case(dataset: nnUNetBaseDataset, case_id: str) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Reads a preprocessed case to its end.

    Returns:
        Shape of its array (Z, Y, X), and its properties.

    Raises:
        ValueError: a file of it is cut off, damaged or lost, or its mask is another case's; says what to do.
    """
    again = (
        f"Remove the files {Path(dataset.source_folder).name}/{case_id}* of this case and run 'dsmt plan' (or "
        f"nnUNetv2_preprocess) again."
    )
    try:
        data, segmentation, _, properties = dataset.load_case(case_id)
        image, mask = np.asarray(data[:]), np.asarray(segmentation[:])
    except Exception as error:  # whatever blosc2, pickle or numpy say of damaged bytes
        raise ValueError(
            f"its preprocessed files are cut off, damaged or incomplete ({last_line(error)}). {again}"
        ) from error
    if image.ndim != 4 or mask.shape[1:] != image.shape[1:]:
        raise ValueError(
            f"its preprocessed image has the shape {image.shape}, its mask {mask.shape}: they are of two cases. {again}"
        )
    drawn = drawn_voxels(properties)
    if drawn is not None and not _is_drawn(mask[0] > 0, drawn):
        raise ValueError(
            f"its preprocessed mask is not the one that its properties ({case_id}.pkl) were written with: that of "
            f"another case, or changed since. {again}"
        )
    return image.shape[1:], properties


def _is_drawn(foreground: npt.NDArray[np.bool_], drawn: Voxels) -> bool:
    """Whether a mask is that of which voxels were listed."""
    if len(drawn) and (drawn.max(axis=0) >= foreground.shape).any():
        return False
    count = int(np.count_nonzero(foreground))
    fits = count == len(drawn) if len(drawn) < SAMPLED else count >= len(drawn)
    return fits and bool(foreground[tuple(drawn.T)].all())
