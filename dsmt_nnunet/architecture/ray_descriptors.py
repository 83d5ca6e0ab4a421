"""Descriptors along rays from the centroid of a nodule: radius, margin, spicules, and what lies around."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

HALF_RAYS = 96
_STEP_MM = 0.4
_REACH_MM = 30.0
TISSUE_HU = -500.0
_PEAK_HU = 150.0
_EPSILON = 1e-6
_SMOOTH_DEGREES, _NEARBY_DEGREES = 30.0, 35.0


def ray_directions() -> Tensor:
    """(R, 3) unit vectors spread evenly over the sphere, the second half opposite to the first.

    Points of a Fibonacci lattice on the half sphere (Gonzalez, Mathematical Geosciences 42:49, 2010).
    """
    index = torch.arange(HALF_RAYS, dtype=torch.float64)
    height = 1 - (index + 0.5) / HALF_RAYS
    angle = index * math.pi * (3 - math.sqrt(5))
    ring = (1 - height**2).sqrt()
    half = torch.stack([height, ring * angle.cos(), ring * angle.sin()], dim=1).float()
    return torch.cat([half, -half])


def along_rays(
    hu: Tensor, mask: Tensor, inside: Tensor, centroid: Tensor, directions: Tensor, grid_mm: float
) -> dict[str, Tensor]:
    """
    Args:
        hu: (B, G, G, G).
        mask: (B, G, G, G), 0 to 1.
        inside: (B, G, G, G), 1 in the scan, 0 outside.
        centroid: (B, 3) in mm from the middle of the grid.
        directions: (R, 3), see `ray_directions`.
        grid_mm: voxel size.

    Returns:
        Name -> (B,).
    """
    steps = torch.arange(0, _REACH_MM, _STEP_MM, device=hu.device)
    points = centroid[:, None, None] + directions[None, :, None] * steps[None, None, :, None]
    along = _sample(torch.stack([hu, mask, inside], dim=1), points, grid_mm)
    density, occupied, there = along.unbind(dim=1)
    # The nodule as it is seen from its centroid: what is left once a ray has left it does not count.
    radius = (occupied.cummin(dim=2).values.sum(dim=2) * _STEP_MM).clamp(min=_STEP_MM)
    rays = _Rays(density, (there > 0.5).float(), radius, steps)
    return {**_radii(radius, directions), **_margin(rays), **_surroundings(rays), **_spicules(rays, directions)}


def _sample(channels: Tensor, points: Tensor, grid_mm: float) -> Tensor:
    """(B, C, R, S) of volumes (B, C, G, G, G) at points (B, R, S, 3) in mm from the middle; 0 outside."""
    size = channels.shape[2]
    places = (2 * points / (grid_mm * size)).flip(-1)[:, :, :, None]
    return functional.grid_sample(channels, places, align_corners=False)[..., 0]


class _Rays:
    """Densities along rays, read at distances from the border."""

    def __init__(self, density: Tensor, there: Tensor, radius: Tensor, steps: Tensor) -> None:
        """`density` and `there` (B, R, S), `radius` (B, R), `steps` (S,)."""
        self.density, self.there, self.radius, self.steps = density, there, radius, steps

    def between(self, low_mm: float, high_mm: float) -> tuple[Tensor, Tensor]:
        """(B, R) mean density of each ray from one distance outside the border to another, and its weight: how much of
        it lies in the scan."""
        distance = self.steps - self.radius[..., None]
        return self._mean((distance >= low_mm) & (distance < high_mm))

    def within(self, low: float, high: float) -> tuple[Tensor, Tensor]:
        """The same between two shares of the radius."""
        share = self.steps / self.radius[..., None]
        return self._mean((share >= low) & (share < high))

    def _mean(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        weight = chosen.float() * self.there
        total = weight.sum(dim=2)
        return (self.density * weight).sum(dim=2) / total.clamp(min=_EPSILON), total / chosen.sum(dim=2).clamp(min=1)


def _weighted(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) mean and standard deviation over directions."""
    total = weight.sum(dim=1).clamp(min=_EPSILON)
    mean = (values * weight).sum(dim=1) / total
    variance = ((values - mean[:, None]) ** 2 * weight).sum(dim=1) / total
    return mean, variance.clamp(min=0.0).sqrt()


def _near(directions: Tensor, degrees: float) -> Tensor:
    """(R, R) weights that average over the directions within an angle."""
    close = (directions @ directions.T > math.cos(math.radians(degrees))).float()
    return close / close.sum(dim=1, keepdim=True)


def _radii(radius: Tensor, directions: Tensor) -> dict[str, Tensor]:
    half = radius.shape[1] // 2
    mean = radius.mean(dim=1)
    # The support function of the star-shaped body: how far the hull reaches in each direction.
    hull = (radius[:, None, :] * (directions @ directions.T)[None]).amax(dim=2)
    smooth = radius @ _near(directions, _SMOOTH_DEGREES).T
    opposite = radius[:, :half] - radius[:, half:]
    return {
        "feret_mm": (radius[:, :half] + radius[:, half:]).amax(dim=1),
        "solidity": mean / hull.mean(dim=1).clamp(min=_EPSILON),
        "radius_variation": radius.std(dim=1) / mean,
        "lobulation": smooth.std(dim=1) / mean,
        "off_centre": opposite.abs().mean(dim=1) / (2 * mean),
    }


def _margin(rays: _Rays) -> dict[str, Tensor]:
    (core, core_weight), (rim, rim_weight) = rays.within(0.0, 0.5), rays.between(-1.5, 0.0)
    (inner, inner_weight), (outer, outer_weight) = rays.between(-2.0, -0.8), rays.between(1.0, 2.0)
    core_mean, rim_mean = _weighted(core, core_weight)[0], _weighted(rim, rim_weight)[0]
    drop, drop_sd = _weighted(inner - outer, torch.minimum(inner_weight, outer_weight))
    step = rays.steps[1] - rays.steps[0]
    fall = (rays.density[..., :-2] - rays.density[..., 2:]) / (2 * step)
    distance = rays.steps[1:-1] - rays.radius[..., None]
    near = (distance.abs() <= 2.0) & (rays.there[..., 2:] > 0)
    steepest = torch.where(near, fall, -torch.inf).amax(dim=2)
    known = torch.isfinite(steepest).float()
    slope, slope_sd = _weighted(torch.where(known > 0, steepest, 0.0), known)
    return {
        "hu_core": core_mean,
        "hu_rim": rim_mean,
        "rim_minus_core": rim_mean - core_mean,
        "edge_drop": drop,
        "edge_drop_sd": drop_sd,
        "edge_slope": slope,
        "edge_slope_sd": slope_sd,
    }


def _surroundings(rays: _Rays) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for low in (0, 3, 6):
        values, weight = rays.between(low + 0.8 if low == 0 else low, low + 3)
        mean, sd = _weighted(values, weight)
        tissue, _ = _weighted(torch.sigmoid((values - TISSUE_HU) / 30.0), weight)
        result |= {
            f"around_{low}_{low + 3}_hu": mean,
            f"around_{low}_{low + 3}_sd": sd,
            f"around_{low}_{low + 3}_tissue": tissue,
        }
    return result


def _spicules(rays: _Rays, directions: Tensor) -> dict[str, Tensor]:
    values, weight = rays.between(1.5, 3.0)
    mean, sd = _weighted(values, weight)
    standardised = (values - mean[:, None]) / sd.clamp(min=1.0)[:, None]
    near = _near(directions, _NEARBY_DEGREES)
    nearby = (values * weight) @ near.T / (weight @ near.T).clamp(min=_EPSILON)
    peak = torch.sigmoid((values - nearby - _PEAK_HU) / 30.0)
    return {
        "spicule_sd": sd,
        "spicule_peaks": _weighted(peak, weight)[0],
        "spicule_skewness": _weighted(standardised**3, weight)[0],
    }
