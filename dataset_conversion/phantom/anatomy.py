"""The half thorax of a phantom: lung, chest wall with ribs, mediastinum with heart, diaphragm, fissure.

Positions are in mm about the centre of the volume, LPS. Drawing uses u = side * x, which grows from the mediastinum
towards the lateral chest wall in either lung.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsmt_nnunet.dataset_conversion.phantom.grid import FloatVolume, Grid

AIR_HU = -1000.0
FAT_HU = -90.0
MUSCLE_HU = 45.0
BLOOD_HU = 40.0
BONE_HU = 230.0
LUNG_DEPTH_NOISE_MM = 1.2


@dataclass(frozen=True)
class Thorax:
    """Shape of one hemithorax; lengths in mm.

    Attributes:
        side: 1 for the left lung (x grows laterally), -1 for the right.
        half_width: of the lung, medial to lateral.
        half_depth: of the lung, front to back.
        wall: thickness of the chest wall.
        heart: scale of the heart.
        diaphragm_z: height of the rim of the diaphragm.
        rib_phase: where the first rib lies, in rib distances.
        fissure_z: height of the fissure.
        fissure_tilt: its slope, front to back.
        lung_hu: density of the parenchyma.
        seed: of the random fields.
    """

    side: int
    half_width: float
    half_depth: float
    wall: float
    heart: float
    diaphragm_z: float
    rib_phase: float
    fissure_z: float
    fissure_tilt: float
    lung_hu: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Thorax:
        """Draws a patient."""
        return cls(
            side=1 if rng.random() < 0.5 else -1,
            half_width=rng.uniform(44, 50),
            half_depth=rng.uniform(50, 57),
            wall=rng.uniform(13, 20),
            heart=rng.uniform(0.85, 1.1),
            diaphragm_z=rng.uniform(-66, -60),
            rib_phase=rng.random(),
            fissure_z=rng.uniform(-10, 10),
            fissure_tilt=rng.uniform(0.5, 0.9),
            lung_hu=rng.uniform(-875, -845),
            seed=int(rng.integers(2**31)),
        )

    def costal_point(self, angle: float, z_mm: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """A point (x, y) of the costal pleura and its inward normal; angle 0 is lateral, positive to the back."""
        scale = float(self._taper(np.asarray(z_mm, dtype=np.float32)))
        a, b = self.half_width * scale, self.half_depth * scale
        u, y = a * np.cos(angle), b * np.sin(angle)
        normal = np.array([-u / a**2, -y / b**2])
        normal /= np.linalg.norm(normal)
        return (self.side * float(u + _LUNG_CENTRE_U), float(y)), (self.side * float(normal[0]), float(normal[1]))

    def costal_depth(self, grid: Grid) -> FloatVolume:
        """Depth (Z, Y, X) below the costal pleura in mm, negative outside; exact only near the pleura."""
        z, y, x = grid.open_axes()
        scale = self._taper(z)
        u = self.side * x - _LUNG_CENTRE_U
        inv_a2 = 1 / (self.half_width * scale) ** 2
        inv_b2 = 1 / (self.half_depth * scale) ** 2
        along_u, along_y = u**2 * inv_a2, y**2 * inv_b2
        radius = along_u + along_y
        gradient = np.sqrt(along_u * inv_a2 + along_y * inv_b2 + np.float32(1e-9))
        root = np.sqrt(radius)
        depth: FloatVolume = ((1 - root) * root / gradient).astype(np.float32, copy=False)
        return depth

    def inner_depth(self, grid: Grid) -> FloatVolume:
        """Depth (Z, Y, X) of lung from mediastinum, heart and diaphragm in mm, negative inside them."""
        z, y, x = grid.open_axes()
        u = self.side * x
        mediastinum = u - (_MEDIASTINUM_U + 5 * np.cos(y / 22) + 3 * np.sin(z / 25))
        heart_axes = [value * self.heart for value in (46.0, 40.0, 42.0)]
        heart = np.sqrt(
            ((u + 62) / heart_axes[0]) ** 2 + ((y + 14) / heart_axes[1]) ** 2 + ((z + 30) / heart_axes[2]) ** 2
        )
        depth: FloatVolume = np.minimum(
            np.minimum(mediastinum, (heart - 1) * np.float32(36)), self.diaphragm_depth(grid)
        )
        return depth

    def diaphragm_depth(self, grid: Grid) -> FloatVolume:
        """Height (Z, Y, X) above the diaphragm in mm."""
        z, y, x = grid.open_axes()
        dome = np.exp(-((self.side * x - 2) ** 2 / (2 * 30**2)) - y**2 / (2 * 34**2))
        return (z - (self.diaphragm_z + 16 * dome)).astype(np.float32, copy=False)

    @staticmethod
    def _taper(z_mm: FloatVolume) -> FloatVolume:
        """Scale of the lung's cross-section, which narrows towards the apex."""
        height: FloatVolume = np.clip((z_mm - 5) / 75, 0, 1.2)
        return (1 - 0.28 * height**2).astype(np.float32, copy=False)


_LUNG_CENTRE_U = 2.0
_MEDIASTINUM_U = -37.0


@dataclass(frozen=True)
class ThoraxImage:
    """What is drawn of a thorax.

    Attributes:
        density_hu: ideal image (Z, Y, X), without vessels and nodules.
        lung_depth_mm: depth (Z, Y, X) below the nearest lung surface, negative outside the lung.
        lung_share: share (Z, Y, X) of each voxel inside the lung.
    """

    density_hu: FloatVolume
    lung_depth_mm: FloatVolume
    lung_share: FloatVolume


def draw_thorax(grid: Grid, thorax: Thorax) -> ThoraxImage:
    """Draws the thorax with a healthy lung."""
    rng = np.random.default_rng(thorax.seed)
    costal = thorax.costal_depth(grid)
    depth = np.minimum(costal, thorax.inner_depth(grid))
    depth += np.float32(LUNG_DEPTH_NOISE_MM) * grid.smooth_field(rng, 22)
    share = coverage(depth, grid.edge_mm)
    density = _soft_tissue(grid, thorax, costal, rng)
    density += share * (_parenchyma(grid, thorax, rng) - density)
    return ThoraxImage(density, depth, share)


def coverage(inside_mm: FloatVolume, edge_mm: float) -> FloatVolume:
    """Share of a voxel inside a surface, from the signed distance to it (positive inside)."""
    share: FloatVolume = np.clip(inside_mm / np.float32(edge_mm) + np.float32(0.5), 0, 1)
    return share


def _soft_tissue(grid: Grid, thorax: Thorax, costal: FloatVolume, rng: np.random.Generator) -> FloatVolume:
    z, y, x = grid.open_axes()
    u = thorax.side * x
    density = np.full(grid.shape, MUSCLE_HU, dtype=np.float32)
    density += 12 * grid.smooth_field(rng, 5)
    body = np.maximum(costal + thorax.wall, np.minimum(-u, thorax.half_depth + thorax.wall - np.abs(y)))
    fat = coverage(8 - body, 4) * (costal < -6)
    density += fat * (FAT_HU - density)
    _paint_bones(density, grid, thorax, costal)
    aorta = coverage(11 - np.hypot(u + 50, y - 34), grid.edge_mm)
    density += aorta * (60 - MUSCLE_HU) + np.zeros_like(z)
    outside = coverage(-body, grid.edge_mm)
    density += outside * (AIR_HU - density)
    return density


def _paint_bones(density: FloatVolume, grid: Grid, thorax: Thorax, costal: FloatVolume) -> None:
    z, y, x = grid.open_axes()
    u = thorax.side * x
    height = (z + 0.55 * y) / 26 + np.float32(thorax.rib_phase)
    height = (height - np.rint(height)) * 26
    rib = np.sqrt(((costal + 6.5) / 3.4) ** 2 + (height / 6) ** 2)
    rib = rib + 10 * (u < -30)
    density += coverage((1 - rib) * 3, 1) * (BONE_HU - density)
    cortex = coverage(0.75 - np.abs((1 - rib) * 3 - 0.75), 0.8)
    density += cortex * (520 - density)
    vertebra = 17 - np.hypot(u + 70, (y - 52) * 1.15)
    gap = np.abs((z / 28 - np.rint(z / 28)) * 28) < 2.5
    spine_hu = np.where(gap, np.float32(90), np.float32(BONE_HU))
    density += coverage(vertebra, grid.edge_mm) * (spine_hu - density)


def _parenchyma(grid: Grid, thorax: Thorax, rng: np.random.Generator) -> FloatVolume:
    """Lung density: denser towards the back, mottled, with a faint fissure."""
    z, y, x = grid.open_axes()
    density = np.float32(thorax.lung_hu) + np.float32(0.35) * y
    density = density + 14 * grid.smooth_field(rng, 4)
    fissure = z - (thorax.fissure_z - thorax.fissure_tilt * y + 4 * np.sin(thorax.side * x / 20))
    slope = np.sqrt(1 + thorax.fissure_tilt**2)
    density += 110 * coverage(0.6 - np.abs(fissure) / slope, grid.edge_mm)
    return density
