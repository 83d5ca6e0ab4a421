"""From a drawn case to image and mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dsmt_nnunet.dataset_conversion.phantom.acquisition import PROTOCOLS, acquire
from dsmt_nnunet.dataset_conversion.phantom.anatomy import draw_thorax
from dsmt_nnunet.dataset_conversion.phantom.cohort import PhantomCase
from dsmt_nnunet.dataset_conversion.phantom.context import paint_context
from dsmt_nnunet.dataset_conversion.phantom.nodule import paint_nodule
from dsmt_nnunet.dataset_conversion.phantom.vessels import paint_vessels

_CONTEXT, _NOISE = range(2)


@dataclass(frozen=True)
class RenderedCase:
    """Image and mask of a case on one grid.

    Attributes:
        intensity_hu: image (Z, Y, X).
        instances: 0 outside, k in nodule k, counted from 1, (Z, Y, X).
        spacing_xyz_mm: voxel spacing.
        origin_xyz_mm: centre of the first voxel, LPS; the axes are those of the patient.
    """

    intensity_hu: NDArray[np.int16]
    instances: NDArray[np.uint8]
    spacing_xyz_mm: tuple[float, float, float]
    origin_xyz_mm: tuple[float, float, float]

    def image(self) -> sitk.Image:
        """The image in HU, 16-bit."""
        return self._with_geometry(self.intensity_hu)

    def mask(self) -> sitk.Image:
        """1 in every nodule (solid part, ground glass and bubbles), 0 elsewhere."""
        return self._with_geometry((self.instances > 0).astype(np.uint8))

    def centre_mm(self, number: int) -> tuple[float, float, float]:
        """Centroid (x, y, z) in mm, LPS, of nodule `number`, from 1."""
        index_zyx = np.argwhere(self.instances == number).mean(axis=0)
        x, y, z = (
            origin + spacing * float(index)
            for origin, spacing, index in zip(self.origin_xyz_mm, self.spacing_xyz_mm, index_zyx[::-1], strict=True)
        )
        return (x, y, z)

    def diameter_mm(self, number: int) -> float:
        """Diameter of the sphere with the volume of nodule `number`, from 1."""
        volume_mm3 = float(np.count_nonzero(self.instances == number)) * float(np.prod(self.spacing_xyz_mm))
        return float((6 * volume_mm3 / np.pi) ** (1 / 3))

    def _with_geometry(self, array: NDArray[np.int16] | NDArray[np.uint8]) -> sitk.Image:
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(self.spacing_xyz_mm)
        image.SetOrigin(self.origin_xyz_mm)
        return image


def render_case(case: PhantomCase, *, bubble: bool | None = None, retraction: bool | None = None) -> RenderedCase:
    """Renders a case.

    Rendering a case again with a sign changed leaves every voxel that the sign does not touch as it was.

    Args:
        case: what to render.
        bubble: paint bubbles in all nodules (True) or none (False); None paints what was drawn.
        retraction: the same for the pleural retraction.
    """
    protocol = PROTOCOLS[case.protocol]
    grid = protocol.grid(case.size)
    image = draw_thorax(grid, case.thorax)
    paint_vessels(image, grid, case.thorax)
    centres = [nodule.centre_xyz_mm(case.thorax) for nodule in case.nodules]
    context_rng = np.random.default_rng([case.thorax.seed, case.seed, _CONTEXT])
    paint_context(image, grid, centres, case.haze, case.scarring, context_rng)
    instances = np.zeros(grid.shape, dtype=np.uint8)
    for number, nodule in enumerate(case.nodules, start=1):
        with_bubble = nodule.bubble_lucency if bubble is None else bubble
        with_retraction = nodule.pleural_retraction if retraction is None else retraction
        instances[paint_nodule(image, grid, case.thorax, nodule, with_bubble, with_retraction)] = number
    noise_rng = np.random.default_rng([case.seed, _NOISE])
    intensity_hu = acquire(image.density_hu, protocol, case.size, noise_rng)
    return RenderedCase(intensity_hu, instances, protocol.spacing_mm(case.size), case.origin_xyz_mm)
