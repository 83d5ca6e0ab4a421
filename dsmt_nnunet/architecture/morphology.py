"""Descriptors of a nodule's morphology and density, from the soft mask, the image in HU and the voxel size.

They are measured on an isotropic grid in mm and along rays from the centroid, so that patch, voxel size, order of the
axes and mirroring do not matter, in batches and on the device of the network. Nothing here has parameters or gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsmt_nnunet.architecture.ray_descriptors import along_rays, ray_directions
from dsmt_nnunet.architecture.voxel_descriptors import inside_mask
from dsmt_nnunet.descriptors import DESCRIPTORS

GRID_MM = 0.8
GRID = 56
"""Voxels a side: 45 mm, which holds the largest nodules and what lies around them."""
FALLBACK_RADIUS_MM = 2.0
"""Of the sphere in the middle that is measured where nothing was segmented."""
_OUTSIDE_HU = -850.0
"""Aerated lung, so that filters of texture see no edge where the scan ends."""
_REACH = 24
"""Steps of one voxel over which the component in the middle is followed."""
_NOTHING = 1e-6
"""Of a voxel: smaller shares are none, before they become numbers that processors are slow with (denormal ones)."""


class NoduleDescriptors(nn.Module):
    """Measures the nodule at the centre of a patch: of several components the one nearest to the centre."""

    places: Tensor
    directions: Tensor

    def __init__(
        self,
        names: Sequence[str],
        spacing_mm: Sequence[float],
        intensity_scale: float = 1.0,
        intensity_shift: float = 0.0,
    ) -> None:
        """
        Args:
            names: which descriptors, of `DESCRIPTORS`.
            spacing_mm: voxel size of the patch along its axes.
            intensity_scale, intensity_shift: HU = scale * intensity + shift.

        Raises:
            ValueError: a name is not known.
        """
        super().__init__()
        unknown = [name for name in names if name not in DESCRIPTORS]
        if unknown:
            raise ValueError(f"There are no descriptors {unknown}; there are {list(DESCRIPTORS)}.")
        self.names = tuple(names)
        self.spacing_mm = tuple(float(value) for value in spacing_mm)
        self.intensity_scale, self.intensity_shift = intensity_scale, intensity_shift
        along = (torch.arange(GRID, dtype=torch.float32) - (GRID - 1) / 2) * GRID_MM
        cube = torch.stack(torch.meshgrid(along, along, along, indexing="ij"))
        # Flat, since a change of the network's memory format takes every tensor of four axes for an image.
        self.register_buffer("places", cube.flatten(1), persistent=False)
        self.register_buffer("directions", ray_directions(), persistent=False)

    @property
    def offsets(self) -> Tensor:
        """(3, G, G, G), position of each voxel of the grid in mm from its middle."""
        return self.places.reshape(3, GRID, GRID, GRID)

    @torch.no_grad()
    def forward(self, image: Tensor, nodule_prob: Tensor, valid: Tensor | None = None) -> Tensor:
        """
        Args:
            image: (B, Z, Y, X), normalised.
            nodule_prob: (B, Z, Y, X).
            valid: (B, Z, Y, X), voxels that lie in the scan; None for all. What lies outside is neither tissue nor air.

        Returns:
            (B, D) in the order of the names, always finite.
        """
        with torch.autocast(image.device.type, enabled=False):
            hu = image.float() * self.intensity_scale + self.intensity_shift
            inside = torch.ones_like(hu) if valid is None else valid.float()
            hu, prob, inside = self._on_grid(torch.stack([hu * inside, nodule_prob * inside, inside], dim=1))
            mask, empty = self._nodule(prob)
            measured = inside_mask(hu, mask, self.offsets, GRID_MM)
            centroid = torch.stack([measured[name] for name in ("centroid_z", "centroid_y", "centroid_x")], dim=1)
            measured |= along_rays(hu, mask, inside, centroid, self.directions, GRID_MM)
            measured["empty"] = empty
            table = torch.stack([measured[name] for name in self.names], dim=1)
        return torch.nan_to_num(table, nan=0.0, posinf=0.0, neginf=0.0)

    def _on_grid(self, channels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """HU, probability and whether it lies in the scan, (B, G, G, G) each, about the centre of the patch.

        Args:
            channels: (B, 3, Z, Y, X): HU, probability, 1 in the scan; all 0 outside.
        """
        scale = [2 / (spacing * length) for spacing, length in zip(self.spacing_mm, channels.shape[2:], strict=True)]
        points = torch.stack([own * factor for own, factor in zip(self.offsets, scale, strict=True)][::-1], dim=-1)
        sampled = functional.grid_sample(
            channels, points[None].expand(len(channels), -1, -1, -1, -1), align_corners=False
        )
        hu, prob, inside = sampled.unbind(dim=1)
        # Interpolated among the voxels of the scan alone: what lies outside must not bleed in.
        known = inside > 0.05
        hu = torch.where(known, hu / inside.clamp(min=0.05), _OUTSIDE_HU)
        return hu, prob, (inside > 0.5).float()

    def _nodule(self, prob: Tensor) -> tuple[Tensor, Tensor]:
        """(B, G, G, G) mask of the component nearest to the centre, and (B,) whether there was none."""
        distance = self.offsets.square().sum(0).sqrt()
        hit = prob > 0.5
        nearest = torch.where(hit, distance, torch.inf).flatten(1).argmin(1)
        empty = ~hit.flatten(1).any(1)
        component = functional.one_hot(nearest, hit[0].numel()).reshape(hit.shape).bool()
        for _ in range(_REACH):
            component = _grown(component) & hit
        # The soft border belongs to it: half-filled voxels carry volume and surface.
        own = prob * _grown(_grown(component))
        sphere = torch.sigmoid((FALLBACK_RADIUS_MM - distance) / (0.25 * GRID_MM)).expand_as(own)
        nodule = torch.where(empty[:, None, None, None], sphere, own)
        return torch.where(nodule < _NOTHING, 0.0, nodule), empty.float()


def _grown(mask: Tensor) -> Tensor:
    """(B, G, G, G) bool with each voxel's neighbours, over faces, edges and corners."""
    for axis in (1, 2, 3):
        length = mask.shape[axis]
        grown = mask.clone()
        grown.narrow(axis, 1, length - 1).logical_or_(mask.narrow(axis, 0, length - 1))
        grown.narrow(axis, 0, length - 1).logical_or_(mask.narrow(axis, 1, length - 1))
        mask = grown
    return mask
