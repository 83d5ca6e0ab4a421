"""The voxel grid of a phantom, in mm about the centre of the volume, and smooth random fields on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatVolume = NDArray[np.float32]
Slices = tuple[slice, slice, slice]

FIELD_HALF_WIDTH_MM = 96.0
"""Random fields are defined on a cube of this half-width, whatever the grid they are sampled on."""


@dataclass(frozen=True)
class Grid:
    """Voxel centres along z, y and x in mm (LPS directions), 0 at the centre of the whole volume."""

    z_mm: FloatVolume
    y_mm: FloatVolume
    x_mm: FloatVolume

    @classmethod
    def centred(cls, shape_zyx: Sequence[int], spacing_zyx_mm: Sequence[float]) -> Grid:
        """The grid of a whole volume."""
        z, y, x = (
            ((np.arange(n) - (n - 1) / 2) * spacing).astype(np.float32)
            for n, spacing in zip(shape_zyx, spacing_zyx_mm, strict=True)
        )
        return cls(z, y, x)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self.z_mm), len(self.y_mm), len(self.x_mm))

    @cached_property
    def edge_mm(self) -> float:
        """Width of the linear edge of a painted object: a voxel's mean side."""
        spacing = [float(axis[1] - axis[0]) for axis in self.axes if len(axis) > 1]
        return sum(spacing) / len(spacing) if spacing else 1.0

    @property
    def axes(self) -> tuple[FloatVolume, FloatVolume, FloatVolume]:
        return (self.z_mm, self.y_mm, self.x_mm)

    def open_axes(self) -> tuple[FloatVolume, FloatVolume, FloatVolume]:
        """z (Z, 1, 1), y (1, Y, 1) and x (1, 1, X), which broadcast to the volume."""
        return self.z_mm[:, None, None], self.y_mm[None, :, None], self.x_mm[None, None, :]

    def box(self, low_xyz_mm: Sequence[float], high_xyz_mm: Sequence[float]) -> tuple[Slices, Grid]:
        """The part of the grid within a box: its slices (z, y, x) and its own grid; empty when outside."""
        slices = tuple(
            slice(int(axis.searchsorted(low)), int(axis.searchsorted(high, side="right")))
            for axis, low, high in zip(self.axes, reversed(low_xyz_mm), reversed(high_xyz_mm), strict=True)
        )
        part = Grid(*(axis[where] for axis, where in zip(self.axes, slices, strict=True)))
        return (slices[0], slices[1], slices[2]), part

    def cube(self, centre_xyz_mm: Sequence[float], half_width_mm: float) -> tuple[Slices, Grid]:
        """`box` about a centre."""
        return self.box(
            [value - half_width_mm for value in centre_xyz_mm], [value + half_width_mm for value in centre_xyz_mm]
        )

    def smooth_field(self, rng: np.random.Generator, scale_mm: float) -> FloatVolume:
        """A random field (Z, Y, X) of zero mean and about unit variance, smooth over `scale_mm`.

        Cubic B-spline through random control points `scale_mm` apart. The points do not depend on the grid, so that
        the same generator gives the same field, in mm, at any spacing and on any part of a grid.
        """
        count = int(np.ceil(2 * FIELD_HALF_WIDTH_MM / scale_mm)) + 3
        points = rng.standard_normal((count, count, count), dtype=np.float32)
        weights_z, weights_y, weights_x = (_spline_weights(axis, scale_mm, count) for axis in self.axes)
        field = np.tensordot(points, weights_x, axes=(2, 1))
        field = np.tensordot(field, weights_y, axes=(1, 1)).transpose(0, 2, 1)
        return np.tensordot(weights_z, field, axes=(1, 0)) / np.float32(_SPLINE_DEVIATION)


_SPLINE_DEVIATION = (151 / 315) ** 1.5
"""Standard deviation of a cubic B-spline with unit-variance independent coefficients, averaged over space, in 3-D."""


def _spline_weights(axis_mm: FloatVolume, scale_mm: float, count: int) -> FloatVolume:
    """Cubic B-spline weights (n, count) of the control points for the positions of one axis."""
    position = np.clip((axis_mm.astype(np.float64) + FIELD_HALF_WIDTH_MM) / scale_mm, 0, count - 3 - 1e-6)
    first = np.floor(position).astype(int)
    t = position - first
    basis = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    weights = np.zeros((len(axis_mm), count), dtype=np.float32)
    for offset, values in enumerate(basis):
        weights[np.arange(len(axis_mm)), first + offset] = values / 6
    return weights
