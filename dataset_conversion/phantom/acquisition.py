"""Acquisition protocols: the grid a phantom is sampled on, the sharpness of the image and its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dsmt_nnunet.dataset_conversion.phantom.grid import FloatVolume, Grid

REFERENCE_SIZE = 112
"""In-plane size in voxels at which a protocol has the spacing that it states."""


@dataclass(frozen=True)
class Protocol:
    """One way to scan.

    Attributes:
        name: "A", "B" or "C".
        spacing_xyz_mm: voxel spacing at `REFERENCE_SIZE`; another size keeps the field of view and scales the spacing.
        slices: number of slices at `REFERENCE_SIZE`.
        blur_mm: standard deviation of the point spread, in-plane and along z.
        noise_hu: standard deviation of the noise.
        noise_grain_voxels: standard deviation of the smoothing of the noise.
        edge_enhancement: share of coarser noise taken away: a sharp kernel has little noise of low frequency.
        offset_hu: calibration error of lung and soft tissue alike.
    """

    name: str
    spacing_xyz_mm: tuple[float, float, float]
    slices: int
    blur_mm: tuple[float, float]
    noise_hu: float
    noise_grain_voxels: float
    edge_enhancement: float
    offset_hu: float

    def grid(self, size: int) -> Grid:
        """The grid of a volume of `size` voxels in-plane."""
        spacing = self.spacing_mm(size)
        return Grid.centred((self.slice_count(size), size, size), spacing[::-1])

    def spacing_mm(self, size: int) -> tuple[float, float, float]:
        """Voxel spacing (x, y, z) for `size` voxels in-plane."""
        x, y, z = (round(value * REFERENCE_SIZE / size, 4) for value in self.spacing_xyz_mm)
        return (x, y, z)

    def slice_count(self, size: int) -> int:
        """Number of slices for `size` voxels in-plane."""
        return round(self.slices * size / REFERENCE_SIZE)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("A", (1.3, 1.3, 1.3), 112, (0.6, 0.6), 20.0, 0.7, 0.0, 0.0),
        Protocol("B", (1.2, 1.2, 1.6), 96, (0.45, 0.8), 32.0, 0.5, 0.5, 6.0),
        Protocol("C", (1.4, 1.4, 2.0), 80, (0.85, 1.1), 16.0, 1.0, 0.0, -10.0),
    )
}
INTERNAL_PROTOCOLS = ("A", "B")
EXTERNAL_PROTOCOL = "C"


def acquire(density_hu: FloatVolume, protocol: Protocol, size: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """Blurs the ideal image, adds correlated noise and rounds it to what a scanner stores.

    Args:
        density_hu: ideal image (Z, Y, X).
        protocol: how to scan.
        size: in-plane size that the image was drawn for.
        rng: source of the noise.

    Returns:
        Image (Z, Y, X) in HU, from -1024 to 3071.
    """
    spacing_x, spacing_y, spacing_z = protocol.spacing_mm(size)
    in_plane, through_plane = protocol.blur_mm
    sigma = (through_plane / spacing_z, in_plane / spacing_y, in_plane / spacing_x)
    image = gaussian_filter(density_hu, sigma, truncate=3.0)
    image += _noise(image.shape, protocol, rng)
    image += np.float32(protocol.offset_hu)
    rounded: NDArray[np.int16] = np.clip(np.rint(image), -1024, 3071).astype(np.int16)
    return rounded


def _noise(shape: tuple[int, ...], protocol: Protocol, rng: np.random.Generator) -> FloatVolume:
    white = rng.standard_normal(shape, dtype=np.float32)
    noise: FloatVolume = gaussian_filter(white, protocol.noise_grain_voxels, truncate=3.0)
    if protocol.edge_enhancement:
        noise -= np.float32(protocol.edge_enhancement) * gaussian_filter(white, 1.5, truncate=2.0)
    return noise * np.float32(protocol.noise_hu / noise.std())
