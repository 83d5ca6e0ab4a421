"""Descriptors that are sums over the voxels of a soft mask: size, shape by moments and surface, density, texture."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dsmt_nnunet.descriptors import PERCENTILES

_LOWEST_HU, _HIGHEST_HU, _BIN_HU = -1100.0, 1100.0, 10.0
_SOFTNESS_HU = 15.0
_EPSILON = 1e-6
SOLID_HU, GROUND_GLASS_HU, CALCIUM_HU = -160.0, -600.0, 200.0


def inside_mask(hu: Tensor, mask: Tensor, offsets: Tensor, grid_mm: float) -> dict[str, Tensor]:
    """
    Args:
        hu: (B, G, G, G).
        mask: (B, G, G, G), 0 to 1.
        offsets: (3, G, G, G), position of each voxel in mm.
        grid_mm: voxel size.

    Returns:
        Name -> (B,); the centroid in mm too.
    """
    return {**_size_and_shape(mask, offsets, grid_mm), **_density(hu, mask, grid_mm), **_texture(hu, mask, grid_mm)}


def smoothed(volume: Tensor, sigma_mm: float, grid_mm: float) -> Tensor:
    """(B, G, G, G) after a Gaussian; outside, the border goes on."""
    size, sigma = volume.shape[-1], sigma_mm / grid_mm
    # One matrix for each axis: on a small cube a fraction of the time of long thin convolutions.
    reach = math.ceil(3 * sigma)
    steps = torch.arange(-reach, reach + 1, device=volume.device)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    source = (torch.arange(size, device=volume.device)[:, None] + steps).clamp(0, size - 1)
    matrix = torch.zeros(size, size, device=volume.device)
    matrix.scatter_add_(1, source, (kernel / kernel.sum()).expand(size, -1).contiguous())
    for _ in range(3):
        # Each turn smooths the last axis and brings it to the front.
        volume = torch.movedim(volume @ matrix.T, -1, 1)
    return volume


def _surface(mask: Tensor, sigma_mm: float, grid_mm: float) -> Tensor:
    """(B,) in mm2: the integral of the length of the gradient of the smoothed mask (coarea formula)."""
    gradient = torch.gradient(smoothed(mask, sigma_mm, grid_mm), spacing=grid_mm, dim=(1, 2, 3))
    length = torch.stack(gradient).square().sum(0).sqrt()
    return length.sum(dim=(1, 2, 3)) * grid_mm**3


def _size_and_shape(mask: Tensor, offsets: Tensor, grid_mm: float) -> dict[str, Tensor]:
    total = mask.sum(dim=(1, 2, 3)).clamp(min=_EPSILON)
    volume = total * grid_mm**3
    centroid = torch.einsum("bzyx,azyx->ba", mask, offsets) / total[:, None]
    second = torch.einsum("bzyx,azyx,czyx->bac", mask, offsets, offsets) / total[:, None, None]
    covariance = second - centroid[:, :, None] * centroid[:, None, :]
    # Of a solid ellipsoid with half axes a: variance a^2 / 5. Eigenvalues come rising.
    axes = 2 * (5 * torch.linalg.eigvalsh(covariance.double()).float().clamp(min=_EPSILON)).sqrt()
    surface = _surface(mask, grid_mm, grid_mm).clamp(min=_EPSILON)
    diameter = (6 * volume / math.pi) ** (1 / 3)
    return {
        "centroid_z": centroid[:, 0],
        "centroid_y": centroid[:, 1],
        "centroid_x": centroid[:, 2],
        "diameter_mm": diameter,
        "axis_long_mm": axes[:, 2],
        "axis_middle_mm": axes[:, 1],
        "axis_short_mm": axes[:, 0],
        "log_volume": volume.clamp(min=1.0).log(),
        "sphericity": math.pi * diameter**2 / surface,
        "surface_to_volume": surface / volume,
        "elongation": axes[:, 1] / axes[:, 2],
        "flatness": axes[:, 0] / axes[:, 2],
        "roughness": surface / _surface(mask, 2.0, grid_mm).clamp(min=_EPSILON),
    }


def _density(hu: Tensor, mask: Tensor, grid_mm: float) -> dict[str, Tensor]:
    # The soft border mixes nodule and lung; density is that of the voxels that are nodule for the most part.
    weight = (2 * mask - 1).clamp(min=0.0)
    weight = torch.where(weight.sum(dim=(1, 2, 3), keepdim=True) > 1, weight, mask)
    weight = weight / weight.sum(dim=(1, 2, 3), keepdim=True).clamp(min=_EPSILON)

    def mean(values: Tensor) -> Tensor:
        return (values * weight).sum(dim=(1, 2, 3))

    def share_above(threshold: float) -> Tensor:
        return mean(torch.sigmoid((hu - threshold) / _SOFTNESS_HU))

    average = mean(hu)
    centred = hu - average[:, None, None, None]
    sd = mean(centred**2).clamp(min=1.0).sqrt()
    solid, at_least_ground_glass = share_above(SOLID_HU), share_above(GROUND_GLASS_HU)
    volume = mask.sum(dim=(1, 2, 3)) * grid_mm**3
    percentiles = _percentiles(hu, weight)
    return {
        "hu_mean": average,
        "hu_sd": sd,
        **{f"hu_p{share:02d}": percentiles[:, index] for index, share in enumerate(PERCENTILES)},
        "hu_skewness": mean(centred**3) / sd**3,
        "hu_kurtosis": mean(centred**4) / sd**4 - 3,
        "share_solid": solid,
        "share_part_solid": at_least_ground_glass - solid,
        "share_ground_glass": 1 - at_least_ground_glass,
        "share_calcium": share_above(CALCIUM_HU),
        "log_mass": (volume * (1 + average / 1000)).clamp(min=1.0).log(),
        "log_solid_volume": (volume * solid).log1p(),
    }


def _percentiles(hu: Tensor, weight: Tensor) -> Tensor:
    """(B, P) of the density under weights that add up to 1, from a histogram with linear bins."""
    bins = int((_HIGHEST_HU - _LOWEST_HU) / _BIN_HU) + 1
    position = ((hu.flatten(1) - _LOWEST_HU) / _BIN_HU).clamp(0, bins - 1.001)
    lower = position.floor()
    upper_share = position - lower
    histogram = torch.zeros(len(hu), bins, device=hu.device)
    flat = weight.flatten(1)
    histogram.scatter_add_(1, lower.long(), flat * (1 - upper_share))
    histogram.scatter_add_(1, lower.long() + 1, flat * upper_share)
    # The mass of a bin lies about its centre: half of it below.
    below = histogram.cumsum(1) - histogram / 2
    wanted = torch.tensor(PERCENTILES, device=hu.device, dtype=hu.dtype)[None] / 100
    after = torch.searchsorted(below.contiguous(), wanted.expand(len(hu), -1).contiguous()).clamp(1, bins - 1)
    low, high = below.gather(1, after - 1), below.gather(1, after)
    share = ((wanted - low) / (high - low).clamp(min=_EPSILON)).clamp(0, 1)
    return _LOWEST_HU + _BIN_HU * (after - 1 + share)


def _texture(hu: Tensor, mask: Tensor, grid_mm: float) -> dict[str, Tensor]:
    weight = mask / mask.sum(dim=(1, 2, 3), keepdim=True).clamp(min=_EPSILON)

    def mean(values: Tensor) -> Tensor:
        return (values * weight).sum(dim=(1, 2, 3))

    held = hu.clamp(_LOWEST_HU, _HIGHEST_HU)
    result = {}
    for sigma_mm in (1.0, 2.0, 3.0):
        # Difference of Gaussians, which is sigma^2 / 2 times the Laplacian to first order.
        response = smoothed(held, sigma_mm * math.sqrt(1.5), grid_mm) - smoothed(
            held, sigma_mm * math.sqrt(0.5), grid_mm
        )
        average = mean(response)
        result[f"log_{sigma_mm:.0f}mm_mean"] = average
        result[f"log_{sigma_mm:.0f}mm_sd"] = mean((response - average[:, None, None, None]) ** 2).clamp(min=0.0).sqrt()
    first = smoothed(held, 1.5, grid_mm)
    variance = (smoothed(held**2, 1.5, grid_mm) - first**2).clamp(min=0.0)
    result["local_sd"] = mean(variance.sqrt())
    return result
