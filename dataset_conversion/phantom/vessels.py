"""Branching pulmonary vessels and the central airways that run along them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsmt_nnunet.dataset_conversion.phantom.anatomy import AIR_HU, BLOOD_HU, Thorax, ThoraxImage, coverage
from dsmt_nnunet.dataset_conversion.phantom.grid import FloatVolume, Grid

Vector = NDArray[np.float64]

TRUNKS = 9
GENERATIONS = 7
AIRWAY_GENERATIONS = 3
AIRWAY_WALL_HU = -80.0
AIRWAY_WALL_MM = 1.0


@dataclass(frozen=True)
class Segment:
    """A tapering tube; positions (x, y, z) and radii in mm."""

    start: Vector
    end: Vector
    start_radius: float
    end_radius: float
    generation: int


def grow_tree(thorax: Thorax) -> list[Segment]:
    """Vessels from the hilum towards the costal pleura, each splitting in two."""
    rng = np.random.default_rng([thorax.seed, 1])
    hilum = np.array([-34.0 * thorax.side, 4.0, 2.0])
    segments: list[Segment] = []
    for number in range(TRUNKS):
        angle = 2 * np.pi * (number + rng.uniform(-0.3, 0.3)) / TRUNKS
        direction = _unit(np.array([0.75 * thorax.side, np.cos(angle) * 0.8, np.sin(angle)]))
        segments.extend(_branch(rng, hilum, direction, rng.uniform(18, 26), rng.uniform(3.0, 4.2), 0))
    return segments


def _branch(
    rng: np.random.Generator, start: Vector, direction: Vector, length: float, radius: float, generation: int
) -> Iterator[Segment]:
    end = start + length * direction
    yield Segment(start, end, radius, radius * 0.85, generation)
    if generation + 1 == GENERATIONS:
        return
    across = _unit(_cross(direction, rng.standard_normal(3)))
    for sign in (1, -1):
        turn = np.tan(np.radians(rng.uniform(18, 42)))
        child = _unit(direction + sign * turn * across)
        yield from _branch(
            rng, end, child, length * rng.uniform(0.62, 0.92), radius * rng.uniform(0.68, 0.84), generation + 1
        )


def paint_vessels(image: ThoraxImage, grid: Grid, thorax: Thorax) -> None:
    """Paints vessels and airways into the image, inside the lung only."""
    segments = grow_tree(thorax)
    vessels = np.zeros(grid.shape, dtype=np.float32)
    walls = np.zeros(grid.shape, dtype=np.float32)
    lumina = np.zeros(grid.shape, dtype=np.float32)
    for segment in segments:
        _paint_tube(vessels, grid, segment, segment.start_radius, segment.end_radius)
        if segment.generation < AIRWAY_GENERATIONS:
            airway = _beside(segment, thorax.side)
            _paint_tube(walls, grid, airway, airway.start_radius + AIRWAY_WALL_MM, airway.end_radius + AIRWAY_WALL_MM)
            _paint_tube(lumina, grid, airway, airway.start_radius, airway.end_radius)
    density = image.density_hu
    inside = coverage(image.lung_depth_mm - 2, 2)
    density += inside * vessels * (np.float32(BLOOD_HU) - density)
    density += image.lung_share * walls * (np.float32(AIRWAY_WALL_HU) - density)
    density += image.lung_share * lumina * (np.float32(AIR_HU) - density)


def _beside(segment: Segment, side: int) -> Segment:
    """The airway that runs beside a vessel: as wide, shifted by both radii and the wall."""
    shift = np.array([0.3 * side, -0.9, 0.3])
    start_shift = shift * (2 * segment.start_radius + AIRWAY_WALL_MM)
    end_shift = shift * (2 * segment.end_radius + AIRWAY_WALL_MM)
    return Segment(
        segment.start + start_shift,
        segment.end + end_shift,
        segment.start_radius * 0.8,
        segment.end_radius * 0.75,
        segment.generation,
    )


def _paint_tube(target: FloatVolume, grid: Grid, segment: Segment, start_radius: float, end_radius: float) -> None:
    """Raises `target` to the coverage of a tapering tube with round ends."""
    margin = max(start_radius, end_radius) + grid.edge_mm
    low = np.minimum(segment.start, segment.end) - margin
    high = np.maximum(segment.start, segment.end) + margin
    slices, part = grid.box(low.tolist(), high.tolist())
    if 0 in part.shape:
        return
    z, y, x = part.open_axes()
    dx, dy, dz = x - segment.start[0], y - segment.start[1], z - segment.start[2]
    axis = segment.end - segment.start
    along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / (axis @ axis), 0, 1)
    squared = (dx - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2 + (dz - along * axis[2]) ** 2
    radius = start_radius + along * (end_radius - start_radius)
    covered = coverage((radius - np.sqrt(squared)).astype(np.float32), grid.edge_mm)
    thin = np.minimum(1, radius / (0.5 * grid.edge_mm)) ** 2
    np.maximum(target[slices], covered * thin, out=target[slices])


def _unit(vector: Vector) -> Vector:
    return vector / np.sqrt(vector @ vector)


def _cross(first: Vector, second: Vector) -> Vector:
    """np.cross of two vectors (3,), in a tenth of its time."""
    (x, y, z), (u, v, w) = first, second
    return np.array([y * w - z * v, z * u - x * w, x * v - y * u])
