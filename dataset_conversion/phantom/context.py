"""The pulmonary context: haze and scarring, which lie far from every nodule.

Both are denser than healthy lung. nnU-Net clips a CT to the range of its foreground, here the nodules, and that range
ends above the density of aerated lung: a context of dark lung would be gone before any network sees it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dsmt_nnunet.dataset_conversion.phantom.anatomy import ThoraxImage
from dsmt_nnunet.dataset_conversion.phantom.grid import FloatVolume, Grid

CONTEXT_FREE_MM = 36.0
"""Half-width of the cube about a nodule in which context leaves no trace."""

CONTEXT_RAMP_MM = 8.0
"""The border of the context wanders over this distance beyond the cube, and context grows over the same distance."""

HAZE_HU = 420.0
SCAR_HU = -180.0
SCAR_DEPTH_MM = 18.0


def far_weight(
    grid: Grid, centres_xyz_mm: Sequence[tuple[float, float, float]], rng: np.random.Generator
) -> FloatVolume:
    """Weight (Z, Y, X) of the context: 0 in the cube about each nodule, 1 beyond an irregular border around it."""
    z, y, x = grid.open_axes()
    nearest = np.full(grid.shape, np.inf, dtype=np.float32)
    for centre in centres_xyz_mm:
        distance = np.maximum(np.maximum(np.abs(x - centre[0]), np.abs(y - centre[1])), np.abs(z - centre[2]))
        np.minimum(nearest, distance, out=nearest)
    border = CONTEXT_FREE_MM + CONTEXT_RAMP_MM * np.clip(0.5 + 0.5 * grid.smooth_field(rng, 12), 0, 1)
    weight: FloatVolume = np.clip((nearest - border) / np.float32(CONTEXT_RAMP_MM), 0, 1)
    return weight


def paint_context(
    image: ThoraxImage,
    grid: Grid,
    centres_xyz_mm: Sequence[tuple[float, float, float]],
    haze: float,
    scarring: float,
    rng: np.random.Generator,
) -> None:
    """Paints haze (patchy ground glass) and scarring (dense mottled bands below the pleura).

    Args:
        image: where to paint; its density is changed in place.
        grid: of the image.
        centres_xyz_mm: nodules to stay away from.
        haze: extent, 0 to 1.
        scarring: extent, 0 to 1.
        rng: of the random fields.
    """
    weight = far_weight(grid, centres_xyz_mm, rng) * image.lung_share
    density = image.density_hu
    haze_field = grid.smooth_field(rng, 14)
    scar_field = grid.smooth_field(rng, 5)
    density += weight * np.float32(HAZE_HU * haze) * np.clip(0.7 + 0.5 * haze_field, 0, 1)
    reach = np.clip((SCAR_DEPTH_MM * np.float32(np.sqrt(scarring)) - image.lung_depth_mm) / 4, 0, 1)
    scars = reach * np.clip(scar_field * 0.9 + np.float32(scarring), 0, 1)
    density += weight * scars * np.maximum(SCAR_HU - density, 0)
