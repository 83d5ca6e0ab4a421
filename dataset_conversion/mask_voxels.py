"""The voxels of a mask, and which of them are the nodule of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cc3d
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dsmt_nnunet.dataset_conversion.case_rows import NoduleRow
from dsmt_nnunet.intensities import TOUCH_MM

POSITION_TOLERANCE_MM = TOUCH_MM
"""How far a given position may lie outside of the nodule it names."""


@dataclass(frozen=True)
class MaskVoxels:
    """The voxels of a mask that are not background.

    Attributes:
        grid: the mask as read; its geometry is used.
        index_zyx: (N, 3).
        flat: (N,), the same as a position in the flattened array.
        value: (N,), label in the mask.
        component: (N,), connected component (26 neighbours), from 1 on.
    """

    grid: sitk.Image
    index_zyx: NDArray[np.intp]
    flat: NDArray[np.intp]
    value: NDArray[np.integer]
    component: NDArray[np.integer]

    @classmethod
    def of(cls, grid: sitk.Image, labels: NDArray[np.integer]) -> MaskVoxels:
        index = np.argwhere(labels > 0)
        return cls(
            grid=grid,
            index_zyx=index,
            flat=np.flatnonzero(labels > 0),
            value=labels[tuple(index.T)],
            component=components_of(index),
        )

    @cached_property
    def points_mm(self) -> NDArray[np.float64]:
        """Centres of the voxels, (N, 3), x, y, z in mm, LPS."""
        direction = np.array(self.grid.GetDirection()).reshape(3, 3)
        offsets_mm = self.index_zyx[:, ::-1] * np.array(self.grid.GetSpacing())
        points: NDArray[np.float64] = offsets_mm @ direction.T + np.array(self.grid.GetOrigin())
        return points

    def select(self, row: NoduleRow) -> NDArray[np.intp]:
        """Which of the N voxels are the nodule of this row.

        Raises:
            ValueError: the mask has no such label, nothing lies at the position, or several labels do.
        """
        if row.mask_label is not None:
            chosen = np.flatnonzero(self.value == row.mask_label)
            if not chosen.size:
                raise ValueError(
                    f"mask_label {row.mask_label} does not occur in mask '{row.mask}'; it holds "
                    f"{np.unique(self.value).tolist()}."
                )
            if row.position_mm is not None:
                self._nearest(row.position_mm, chosen, f"label {row.mask_label} of mask '{row.mask}'")
            return chosen
        chosen = np.arange(len(self.flat))
        if row.position_mm is not None:
            nearest = self._nearest(row.position_mm, chosen, f"the nearest part of mask '{row.mask}'")
            chosen = np.flatnonzero(self.component == self.component[nearest])
        labels = np.unique(self.value[chosen])
        if len(labels) > 1:
            raise ValueError(
                f"mask '{row.mask}' holds the labels {labels.tolist()} there, and nothing says which is the nodule. "
                f"Add a column mask_label, or make the mask one of nodules alone."
            )
        return chosen

    def main_part(self, chosen: NDArray[np.intp]) -> NDArray[np.intp]:
        """Of some voxels the largest connected component, in which a nodule has its centre."""
        component = self.component[chosen]
        main: NDArray[np.intp] = chosen[component == np.bincount(component).argmax()]
        return main

    def farthest_part_mm(self, chosen: NDArray[np.intp]) -> float:
        """How far other parts of some voxels reach from the box around the main one."""
        main, voxels = self.index_zyx[self.main_part(chosen)], self.index_zyx[chosen]
        outside = np.maximum(main.min(axis=0) - voxels, voxels - main.max(axis=0)).clip(min=0)
        return float(np.linalg.norm(outside * np.array(self.grid.GetSpacing()[::-1]), axis=1).max())

    def _nearest(self, position_mm: Sequence[float], among: NDArray[np.intp], what: str) -> int:
        """Of some voxels the one nearest to a position.

        Raises:
            ValueError: it is farther than `POSITION_TOLERANCE_MM`.
        """
        distances = np.linalg.norm(self.points_mm[among] - np.array(position_mm), axis=1)
        nearest = int(distances.argmin())
        if distances[nearest] > POSITION_TOLERANCE_MM:
            raise ValueError(
                f"the position {tuple(position_mm)} lies {distances[nearest]:.1f} mm from {what}, more than "
                f"{POSITION_TOLERANCE_MM:g} mm. Positions are x, y, z in mm, LPS as in DICOM; from RAS (as in NIfTI "
                f"viewers) change the sign of x and y."
            )
        return int(among[nearest])


def components_of(index_zyx: NDArray[np.intp]) -> NDArray[np.integer]:
    """Connected component of each voxel, (N,)."""
    inside = tuple((index_zyx - index_zyx.min(axis=0)).T)
    box = np.zeros(np.ptp(index_zyx, axis=0) + 1, np.uint8)
    box[inside] = 1
    components: NDArray[np.integer] = cc3d.connected_components(box, connectivity=26)[inside]
    return components
