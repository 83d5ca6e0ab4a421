"""Drawing of a nodule: solid and ground-glass parts, lobes and spikes, bubbles, the tag that retracts the pleura."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dsmt_nnunet.dataset_conversion.phantom.anatomy import Thorax, ThoraxImage, coverage
from dsmt_nnunet.dataset_conversion.phantom.cohort import NoduleFeatures
from dsmt_nnunet.dataset_conversion.phantom.grid import FloatVolume, Grid

Vector = NDArray[np.float64]

LOBES = 8
SPIKES = 7
SPIKE_SHARPNESS = 70.0
SPIKE_HEIGHT = 0.3
BUBBLE_HU = -960.0
BUBBLE_DIAMETER_MM = (3.0, 5.0)
BUBBLE_SHARE = 0.12
MAX_BUBBLES = 5
TAG_HU = 20.0
TAG_RADIUS_MM = 1.4
TENT_HEIGHT_MM = (5.0, 8.0)
TENT_WIDTH_MM = 7.0

_SHAPE, _BUBBLES, _TAG, _TEXTURE = range(4)


@dataclass(frozen=True)
class StarShape:
    """A star-shaped surface: an ellipsoid with spheres (lobes) and spikes growing out of it.

    Attributes:
        axes: relative half-axes (3,).
        lobulation: 0 for the ellipsoid alone, 1 for the deepest notches between lobes.
        lobes: unit vectors (K, 3) towards the lobes.
        spikes: unit vectors (L, 3) towards the spikes.
        spike_heights: of the spikes (L,), relative to the radius.
        scale_mm: one unit.
    """

    axes: Vector
    lobulation: float
    lobes: Vector
    spikes: Vector
    spike_heights: Vector
    scale_mm: float = 1.0

    @classmethod
    def draw(cls, features: NoduleFeatures) -> StarShape:
        """The outline of a nodule, scaled to its volume."""
        rng = np.random.default_rng([features.seed, _SHAPE])
        unscaled = cls(
            axes=rng.uniform(0.9, 1.1, 3),
            lobulation=features.lobulation,
            lobes=_spread(rng, LOBES),
            spikes=_spread(rng, SPIKES),
            spike_heights=features.spiculation * SPIKE_HEIGHT * rng.uniform(0.5, 1, SPIKES),
        )
        sphere = _even_directions(1500).T.astype(np.float32)
        mean_cube = float(np.mean(unscaled.radius(*sphere) ** 3))
        return replace(unscaled, scale_mm=features.diameter_mm / 2 / mean_cube ** (1 / 3))

    @property
    def reach_mm(self) -> float:
        """No point of the surface is further from the centre."""
        lobed = 1 + 0.15 * self.lobulation
        return self.scale_mm * float(self.axes.max()) * lobed * (1 + float(self.spike_heights.sum()))

    def radius(self, x: FloatVolume, y: FloatVolume, z: FloatVolume) -> FloatVolume:
        """Distance of the surface in mm in the direction of the unit vectors (x, y, z)."""
        a, b, c = self.axes.tolist()
        offset, size = 0.65 * self.lobulation, 1 - 0.5 * self.lobulation
        radius = np.full_like(x, 1 - 0.25 * self.lobulation)
        for direction in self.lobes:
            along = offset * _cosine(direction, x, y, z)
            room = np.float32(size**2 - offset**2) + along**2
            np.maximum(radius, along + np.sqrt(np.maximum(room, 0)), out=radius, where=(room > 0) & (along >= 0))
        growth = np.ones_like(x)
        for direction, height in zip(self.spikes, self.spike_heights.tolist(), strict=True):
            growth += height * np.exp(np.float32(SPIKE_SHARPNESS) * (_cosine(direction, x, y, z) - 1))
        ellipsoid: FloatVolume = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
        return np.float32(self.scale_mm) * radius * growth / ellipsoid

    def depth(self, x: FloatVolume, y: FloatVolume, z: FloatVolume, scale: float = 1.0) -> FloatVolume:
        """Radial distance in mm from points (relative to the centre) to the scaled surface, positive inside."""
        distance: FloatVolume = np.sqrt(x**2 + y**2 + z**2) + np.float32(1e-3)
        return np.float32(scale) * self.radius(x / distance, y / distance, z / distance) - distance


def paint_nodule(
    image: ThoraxImage, grid: Grid, thorax: Thorax, features: NoduleFeatures, bubble: bool, retraction: bool
) -> NDArray[np.bool_]:
    """Paints one nodule into the image.

    Bubbles and tag have their own random streams: with or without them everything else is the same.

    Args:
        image: where to paint; its density is changed in place.
        grid: of the image.
        thorax: where the pleura is.
        features: what to paint.
        bubble: whether to paint bubbles.
        retraction: whether to paint the tag and the retracted pleura.

    Returns:
        Mask (Z, Y, X): solid part, ground glass and bubbles; not the tag.
    """
    if retraction:
        _paint_retraction(image, grid, thorax, features)
    centre = features.centre_xyz_mm(thorax)
    shape = StarShape.draw(features)
    slices, part = grid.cube(centre, shape.reach_mm + grid.edge_mm)
    x, y, z = _relative(part, centre)
    depth = shape.depth(x, y, z)
    tissue = _tissue(part, shape, features, x, y, z)
    if bubble:
        for place, radius in _bubbles(features):
            distance = np.sqrt((x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2)
            tissue += coverage(radius - distance, grid.edge_mm) * (BUBBLE_HU - tissue)
    density = image.density_hu[slices]
    density += coverage(depth, grid.edge_mm) * image.lung_share[slices] * (tissue - density)
    mask = np.zeros(grid.shape, dtype=bool)
    mask[slices] = (depth > 0) & (image.lung_share[slices] >= 0.5)
    return mask


def _tissue(
    part: Grid, shape: StarShape, features: NoduleFeatures, x: FloatVolume, y: FloatVolume, z: FloatVolume
) -> FloatVolume:
    """Mottled ground glass with the solid part, of the same outline but smaller and off centre, inside."""
    rng = np.random.default_rng([features.seed, _TEXTURE])
    tissue = np.float32(features.ground_glass_hu) + 35 * part.smooth_field(rng, 4)
    scale = features.solid_fraction ** (1 / 3)
    shift = (0.5 * (1 - scale) * shape.scale_mm * _spread(rng, 1)[0]).tolist()
    solid = coverage(shape.depth(x - shift[0], y - shift[1], z - shift[2], scale), part.edge_mm)
    return tissue + solid * (np.float32(features.solid_hu) - tissue)


def _bubbles(features: NoduleFeatures) -> list[tuple[list[float], float]]:
    """Centres (x, y, z) about the nodule's and radii in mm of air pockets that do not touch one another."""
    rng = np.random.default_rng([features.seed, _BUBBLES])
    radius = features.diameter_mm / 2
    budget_mm3 = BUBBLE_SHARE * 4 / 3 * np.pi * radius**3
    placed: list[tuple[list[float], float]] = []
    for _ in range(60):
        size = rng.uniform(*BUBBLE_DIAMETER_MM) / 2
        room = max(0.75 * radius - size, 0)
        place = (room * rng.random() ** (1 / 3) * _spread(rng, 1)[0]).tolist()
        volume = 4 / 3 * np.pi * size**3
        if placed and volume > budget_mm3:
            continue
        if all(np.linalg.norm(np.subtract(place, other)) > size + other_size + 1 for other, other_size in placed):
            placed.append((place, size))
            budget_mm3 -= volume
        if len(placed) == MAX_BUBBLES:
            break
    return placed


def _paint_retraction(image: ThoraxImage, grid: Grid, thorax: Thorax, features: NoduleFeatures) -> None:
    """A strand from the nodule to the pleura, which is drawn in to a tent around it."""
    rng = np.random.default_rng([features.seed, _TAG])
    height = min(rng.uniform(*TENT_HEIGHT_MM), features.gap_mm)
    centre = features.centre_xyz_mm(thorax)
    _, (normal_x, normal_y) = thorax.costal_point(features.angle, features.z_mm)
    pleura = features.pleura_distance_mm
    slices, part = grid.cube(centre, pleura + TENT_WIDTH_MM)
    x, y, z = _relative(part, centre)
    along = -(x * normal_x + y * normal_y)
    across = np.sqrt(np.maximum(x**2 + y**2 + z**2 - along**2, 0))
    edge = grid.edge_mm
    depth = image.lung_depth_mm[slices]
    tent = coverage(np.float32(height) * np.exp(-(np.abs(across / (TENT_WIDTH_MM / 2)) ** 1.3)) - depth, edge)
    tent = tent * image.lung_share[slices] * (along > 0)
    flare = np.float32(TAG_RADIUS_MM) + 1.5 * np.exp(-np.maximum(along - features.diameter_mm / 2, 0) / 1.5)
    strand = coverage(flare - across, edge) * (along > 0) * (along < pleura + 2)
    density = image.density_hu[slices]
    density += np.maximum(tent, strand * image.lung_share[slices]) * (TAG_HU - density)


def _relative(grid: Grid, centre_xyz_mm: tuple[float, float, float]) -> tuple[FloatVolume, FloatVolume, FloatVolume]:
    """Full arrays (Z, Y, X) of x, y and z about a centre."""
    z, y, x = np.meshgrid(
        *(axis - np.float32(value) for axis, value in zip(grid.axes, reversed(centre_xyz_mm), strict=True)),
        indexing="ij",
    )
    return x, y, z


def _cosine(direction: Vector, x: FloatVolume, y: FloatVolume, z: FloatVolume) -> FloatVolume:
    """Cosine of the angle between a unit vector and the unit vectors (x, y, z)."""
    cosine: FloatVolume = float(direction[0]) * x + float(direction[1]) * y + float(direction[2]) * z
    return cosine


def _spread(rng: np.random.Generator, count: int) -> Vector:
    """Random unit vectors (count, 3) that keep apart: each the best of eight."""
    chosen: list[Vector] = []
    for _ in range(count):
        candidates = rng.standard_normal((8, 3))
        candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
        nearest = np.max(candidates @ np.array(chosen).T, axis=1) if chosen else np.zeros(8)
        chosen.append(candidates[int(np.argmin(nearest))])
    return np.array(chosen)


def _even_directions(count: int) -> Vector:
    """Evenly spread unit vectors (count, 3) on a Fibonacci spiral."""
    number = np.arange(count) + 0.5
    z = 1 - 2 * number / count
    angle = np.pi * (1 + np.sqrt(5)) * number
    return np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], axis=1)
