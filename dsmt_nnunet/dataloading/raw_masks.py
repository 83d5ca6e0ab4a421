"""Whether a mask of labelsTr is one of its image, before anything is learnt from it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.geometry import GRID_TOLERANCE_MM, component_at, corner_shift_mm, doubts_at
from dsmt_nnunet.identifiers import same_person_key
from dsmt_nnunet.image_files import check_image_file
from dsmt_nnunet.intensities import REACH_MM, check_nodule
from dsmt_nnunet.nodules import NoduleTable

logger = logging.getLogger(__name__)
Voxels = npt.NDArray[Any]


def read_mask(
    file: str, labels: Sequence[int], reader: Any, shape: Sequence[int], properties: Mapping[str, Any]
) -> Voxels:
    """Reads a mask as nnU-Net does, which looks at its voxels alone, and checks that they are those of the image.

    Args:
        file: of the mask.
        labels: that may occur in it.
        reader: nnU-Net's, of the plans.
        shape: (Z, Y, X) of the image.
        properties: of the image, as the reader gives them.

    Returns:
        (Z, Y, X).

    Raises:
        ValueError: the file is damaged, has other voxels than the image, or values that are no labels.
    """
    check_image_file(file)
    array, own = reader.read_seg(file)
    name = Path(file).name
    mask: Voxels = np.asarray(array)[0]
    if mask.shape != tuple(shape):
        raise ValueError(f"its mask {name} has {mask.shape} voxels (z, y, x), its image {tuple(shape)}.")
    shift = corner_shift_mm(properties, own, mask.shape)
    if shift > GRID_TOLERANCE_MM:
        raise ValueError(
            f"its mask {name} does not lie on its image: corners are {shift:.3g} mm apart (other spacing, origin or "
            f"direction), and nnU-Net looks at the order of the voxels alone. Resample the mask onto the image's grid "
            f"(nearest neighbour), or copy the image's header to it if the voxels are in the image's order."
        )
    strange = sorted(set(np.unique(mask[mask != 0]).tolist()) - set(labels))
    if strange:
        raise ValueError(
            f"its mask {name} holds {[float(f'{value:.4g}') for value in strange[:5]]}, but dataset.json declares the "
            f"labels {list(labels)}. Threshold it, or write the nodules as 1."
        )
    return mask


def check_nodules(
    image: Voxels, mask: Voxels, properties: Mapping[str, Any], points_mm: Sequence[Sequence[float]]
) -> list[str]:
    """Checks the tissue under the mask of each nodule, as a conversion does.

    Args:
        image: (Z, Y, X) in HU.
        mask: (Z, Y, X).
        properties: as nnU-Net's reader gives them.
        points_mm: world points (x, y, z) of the nodules.

    Returns:
        What is doubtful, though possible.

    Raises:
        ValueError: a nodule's mask cannot be one, see `intensities.check_nodule`.
    """

    def check(voxel: npt.NDArray[np.float64], spacing_mm: Sequence[float]) -> list[str]:
        drawn = np.argwhere(component_at(mask, voxel, spacing_mm, REACH_MM))
        return check_nodule(image, drawn, spacing_mm) if len(drawn) else []

    return doubts_at("the mask at", points_mm, properties, check)


def check_scans(scans: Mapping[str, str | None], table: NoduleTable) -> None:
    """Checks that no scan is the case of two patients; of one that is two cases of a patient a warning tells.

    Args:
        scans: of each case what tells its scan from others, None where that is not known.
        table: of the nodules.

    Raises:
        ValueError: folds would learn from a scan and validate it.
    """
    patient_of = table.patient_of_case()
    first: dict[str, str] = {}
    for case_id, scan in scans.items():
        other = case_id if scan is None else first.setdefault(scan, case_id)
        if other == case_id:
            continue
        people = [patient_of.get(case, f"case {case}") for case in (other, case_id)]
        if same_person_key(people[0]) != same_person_key(people[1]):
            raise ValueError(
                f"The images of the cases '{other}' (patient '{people[0]}') and '{case_id}' (patient '{people[1]}') "
                f"hold the same voxels. One scan is of one patient: correct patient_id in nodules.csv, or remove one."
            )
        logger.warning(
            "The images of the cases '%s' and '%s' hold the same voxels. One scan is one case.", other, case_id
        )
