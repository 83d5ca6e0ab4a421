"""Cases whose nodules are given: their positions, read and checked, and the patches around them put into one scan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from dsmt_nnunet.covariates import Covariate
from dsmt_nnunet.inference.classifier import NoduleOutput
from dsmt_nnunet.nodules import Nodule, NoduleTable, at_one_place
from dsmt_nnunet.tasks import NODULE_TABLE_NAME

Array = npt.NDArray[Any]
BACKGROUND_LOGIT = 10.0
"""Of background where nothing was segmented; of every other class its negative."""


class Grid(Protocol):
    """What a SimpleITK image, and a reader that has read a header, tell of voxels."""

    def GetSize(self) -> tuple[int, ...]: ...
    def GetSpacing(self) -> tuple[float, ...]: ...
    def GetOrigin(self) -> tuple[float, ...]: ...
    def GetDirection(self) -> tuple[float, ...]: ...


@dataclass(frozen=True)
class GivenCase:
    """A case whose nodules are known.

    Attributes:
        files: one a channel.
        output: where its results go, without ending; None for none.
        nodules: with their positions.
        save_probabilities: whether nnU-Net's .npz is wanted too.
    """

    files: tuple[str, ...]
    output: str | None
    nodules: tuple[Nodule, ...]
    save_probabilities: bool


def read_positions(
    folder: Path,
    inputs: Sequence[Sequence[str]],
    file_ending: str,
    cases: Sequence[str],
    covariates: Sequence[Covariate] = (),
) -> list[tuple[Nodule, ...]]:
    """Nodules of the input folder's table, for each case at hand; none where it has no row, or there is no table.

    Args:
        folder: with the images, and with nodules.csv or without.
        inputs: files of each case at hand, one a channel.
        file_ending: of the images.
        cases: identifiers of all cases of the folder.
        covariates: of the model, read where the table has their columns.

    Raises:
        ValueError: a covariate is of another type, rows name cases that the folder does not hold, positions lie
            outside their scans, or two rows of a case name one place; before anything is predicted.
    """
    if not (folder / NODULE_TABLE_NAME).is_file():
        return [()] * len(inputs)
    table = NoduleTable.read(folder / NODULE_TABLE_NAME, covariates=covariates).by_case()
    problems = [f"there is no image of case '{case_id}'" for case_id in table if case_id not in cases]
    given = []
    for files in inputs:
        case_id = Path(files[0]).name[: -len(file_ending) - 5]
        given.append(table.get(case_id, ()))
        if case_id not in table:
            print(f"{NODULE_TABLE_NAME} names no nodule of case {case_id}: the whole scan will be searched.")
        problems += at_one_place(given[-1])
        grid = _header(files[0])
        if grid is not None:
            problems += positions_outside(os.path.basename(files[0]), grid, given[-1])
    if problems:
        raise ValueError(
            f"{folder / NODULE_TABLE_NAME}: each row names a case of the folder and a place of its own, in mm, LPS, "
            f"inside the scan, but:\n  " + "\n  ".join(problems)
        )
    return given


def paste_patches(outputs: Sequence[NoduleOutput], shape: Sequence[int]) -> Array:
    """(K, Z, Y, X) logits of a scan that is background but for the patches; where they overlap, their mean."""
    classes = outputs[0].segmentation.shape[0]
    logits = np.zeros((classes, *shape), dtype=np.float32)
    counts = np.zeros(tuple(shape), dtype=np.uint16)
    for output in outputs:
        size = output.segmentation.shape[1:]
        low = [max(0, s) for s in output.start]
        high = [max(lo, min(n, s + k)) for lo, n, s, k in zip(low, shape, output.start, size, strict=True)]
        target = tuple(slice(lo, h) for lo, h in zip(low, high, strict=True))
        source = tuple(slice(lo - s, h - s) for lo, h, s in zip(low, high, output.start, strict=True))
        logits[(slice(None), *target)] += output.segmentation[(slice(None), *source)]
        counts[target] += 1
    logits /= np.maximum(counts, 1)
    background = np.full(classes, -BACKGROUND_LOGIT, dtype=np.float32)
    background[0] = BACKGROUND_LOGIT
    logits[:, counts == 0] = background[:, None]
    return logits


def _header(image: str) -> Grid | None:
    """None for what is no volume; that is told of when the case's turn comes."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(image)
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    return cast(Grid, reader) if reader.GetDimension() == 3 else None


def positions_outside(name: str, grid: Grid, nodules: Sequence[Nodule]) -> list[str]:
    """A sentence for each position that lies outside an image.

    Args:
        name: of the image, for the sentences.
        grid: the image, or a reader that has read its header.
        nodules: with their positions.
    """
    size, spacing, origin = (np.asarray(values) for values in (grid.GetSize(), grid.GetSpacing(), grid.GetOrigin()))
    direction = np.asarray(grid.GetDirection()).reshape(len(size), len(size))
    problems = []
    for nodule in nodules:
        index = np.linalg.solve(direction * spacing[None, :], np.asarray(nodule.centre_mm) - origin)
        if np.any(index < -0.5) or np.any(index > size - 0.5):
            problems.append(
                f"{name}, nodule '{nodule.nodule_id}': {nodule.centre_mm} mm is voxel "
                f"(x, y, z) {np.round(index, 1).tolist()} of an image of {size.tolist()} voxels"
            )
    return problems
