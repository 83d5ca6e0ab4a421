"""What drove a score: the change of its log-odds when a place is covered, at both scales.

Occlusion (Zeiler and Fergus, ECCV 2014) rather than gradients: it asks the model itself, needs no smoothness, and what
covers the nodule is what would be there without it, aerated lung. The places are the cells of two lattices of cubes,
the second shifted by half an edge along every axis, so that a map is finer than its cubes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import FeatureAblation
from torch import Tensor

from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.dataloading.context_volumes import ContextVolume
from dsmt_nnunet.dataloading.padding import fill_values
from dsmt_nnunet.geometry import ArrayGeometry, Point, centred_start, crop
from dsmt_nnunet.inference.classifier import NoduleClassifier
from dsmt_nnunet.predictions.explanation import Explanation, ExplanationMap

Array = npt.NDArray[Any]
LOCAL_CELL_MM = 8.0
CONTEXT_CELL_MM = 30.0
REGION_MARGIN_MM = 4.0
"""Around the central region, beyond which features are not pooled."""
_VOXELS_AT_ONCE = 800_000
_MOST_AT_ONCE = 16
Box = tuple[slice, slice, slice]


@torch.no_grad()
def explain_nodule(
    classifier: NoduleClassifier,
    data: Array,
    geometry: ArrayGeometry,
    context: ContextVolume,
    voxel: Point,
    task: str,
    cells_mm: tuple[float, float] = (LOCAL_CELL_MM, CONTEXT_CELL_MM),
) -> Explanation:
    """Covers the nodule and its surroundings piece by piece; the mean over the folds, without mirroring.

    The log-odds are those of the positive class of a binary task, of the last class of another, before calibration.

    Args:
        classifier: of the model.
        data: (C, Z, Y, X) preprocessed case.
        geometry: where it lies in the world.
        context: its coarse copy.
        voxel: centre of the nodule, in voxel coordinates of `data`.
        task: whose score is explained.
        cells_mm: edges of the cubes that cover, in the local and in the context patch.

    Raises:
        KeyError: no such task.
    """
    plan, networks = classifier.plan, classifier.networks
    explained = plan.schema[task]
    position = plan.schema.tasks.index(explained)
    size = [int(length) for length in classifier.patch_size]
    start = centred_start(voxel, size)
    fill = fill_values(plan.padding_value, data)
    local = _tensor(crop(data, start, size, fill), classifier.device)
    centre_mm = geometry.to_world(voxel)
    grid = (plan.context.grid,) * 3
    surroundings = _tensor(context.patch(centre_mm, plan.context.grid), classifier.device)

    region_mm = plan.heads.central_region_mm + 2 * REGION_MARGIN_MM
    box = central_box(size, geometry.spacing_mm, region_mm)
    middle = [(length - 1) / 2 - part.start for length, part in zip(size, box, strict=True)]
    shape = tuple(part.stop - part.start for part in box)
    near = _distance_mm(shape, middle, geometry.spacing_mm) <= region_mm / 2 + cells_mm[0] / 2
    cells = lattices(near, middle, cells_mm[0], geometry.spacing_mm)
    local_values = np.mean(
        [_local_map(network, position, local, surroundings, box, fill, cells) for network in networks], axis=0
    )
    corner = [first + part.start for first, part in zip(start, box, strict=True)]
    local_map = ExplanationMap(local_values, geometry.box(corner, shape))
    if networks[0].context_encoder is None:
        return Explanation(task, explained.classes[-1], local_map, None)

    corner = list(centred_start(context.geometry.to_voxel(centre_mm), grid))
    inside = crop(np.ones((1, *context.array.shape[1:]), np.float32), corner, grid, [0.0])[0] > 0
    cells = lattices(inside, [(length - 1) / 2 for length in grid], cells_mm[1], context.geometry.spacing_mm)
    context_values = np.mean(
        [_context_map(network, position, local, surroundings, inside, cells) for network in networks], axis=0
    )
    context_map = ExplanationMap(context_values, context.geometry.box(corner, grid))
    return Explanation(task, explained.classes[-1], local_map, context_map)


def lattices(
    region: Array, middle: Sequence[float], edge_mm: float, spacing_mm: Sequence[float]
) -> tuple[Array, Array]:
    """Cells of the two lattices, as (Z, Y, X) of their numbers from 1; 0 outside the region.

    Args:
        region: (Z, Y, X), what is covered at all.
        middle: voxel coordinates of the point that is the centre of a cell of the first and a corner of the second.
        edge_mm: edge of a cell; a cell has one voxel at least.
        spacing_mm: of the voxels.
    """
    numbered = []
    for shift in (0.5, 0.0):
        cell = np.zeros((), dtype=int)
        for length, centre, spacing in zip(region.shape, middle, spacing_mm, strict=True):
            along = np.floor((np.arange(length) - centre) * spacing / max(edge_mm, spacing) + shift).astype(int)
            along -= along.min()
            cell = cell[..., None] * (along.max() + 1) + along
        numbers = np.zeros(region.shape, dtype=int)
        numbers[region] = np.unique(cell[region], return_inverse=True)[1].reshape(-1) + 1
        numbered.append(numbers)
    return numbered[0], numbered[1]


def central_box(size: Sequence[int], spacing_mm: Sequence[float], edge_mm: float) -> Box:
    """The cube of an edge in the middle of a patch, rounded outwards, as far as the patch reaches."""
    slices = []
    for length, spacing in zip(size, spacing_mm, strict=True):
        margin = max(0, math.floor((length - edge_mm / spacing) / 2))
        slices.append(slice(margin, length - margin))
    return slices[0], slices[1], slices[2]


def _local_map(
    network: DSMTNet,
    position: int,
    local: Tensor,
    surroundings: Tensor,
    box: Box,
    fill: Sequence[float],
    cells: tuple[Array, Array],
) -> Array:
    """(Z, Y, X) of the box; its places are covered with air."""
    around = network.describe_context(surroundings)

    def score(part: Tensor) -> Tensor:
        patch = local.repeat(len(part), 1, 1, 1, 1)
        patch[(..., *box)] = part
        own_around = None if around is None else around.expand(len(part), -1)
        return _log_odds(network.answer(network.deep_scores(network.describe(patch), own_around), None)[position])

    part = local[(..., *box)]
    air = torch.tensor(fill, device=local.device).reshape(1, -1, 1, 1, 1).expand_as(part)
    return _covered(score, part, air, cells, local.numel())


def _context_map(
    network: DSMTNet, position: int, local: Tensor, surroundings: Tensor, inside: Array, cells: tuple[Array, Array]
) -> Array:
    """(G, G, G) of the context patch; its places are covered with each channel's median in the scan.

    What lies outside the scan stays as it is: there is nothing to cover.
    """
    nodule = network.describe(local)
    within = torch.from_numpy(inside).to(surroundings.device)
    medians = [channel[within].median() for channel in surroundings[0]]
    ordinary = torch.stack(medians).reshape(1, -1, 1, 1, 1).expand_as(surroundings)

    def score(patch: Tensor) -> Tensor:
        deep = network.deep_scores(nodule.expand(len(patch), -1), network.describe_context(patch))
        return _log_odds(network.answer(deep, None)[position])

    return _covered(score, surroundings, ordinary, cells, surroundings.numel())


def _covered(
    score: Callable[[Tensor], Tensor], patch: Tensor, baseline: Tensor, lattices: tuple[Array, Array], voxels: int
) -> Array:
    """(Z, Y, X) fall of a score where a cell is covered, the mean over the lattices; 0 outside all cells."""
    at_once = min(_MOST_AT_ONCE, max(1, _VOXELS_AT_ONCE // voxels))
    total = np.zeros(patch.shape[2:])
    for cells in lattices:
        attributions = FeatureAblation(score).attribute(
            patch,
            baselines=baseline,
            feature_mask=torch.from_numpy(cells).to(patch.device)[None, None].expand_as(patch),
            perturbations_per_eval=at_once,
        )
        total += np.where(cells > 0, attributions[0, 0].float().cpu().numpy(), 0.0)
    return total / len(lattices)


def _distance_mm(shape: Sequence[int], middle: Sequence[float], spacing_mm: Sequence[float]) -> Array:
    """(Z, Y, X) distance of every voxel from a point in voxel coordinates."""
    along = [(np.arange(n) - c) * s for n, c, s in zip(shape, middle, spacing_mm, strict=True)]
    z, y, x = np.ix_(*along)
    distance: Array = np.sqrt(z**2 + y**2 + x**2)
    return distance


def _log_odds(logits: Tensor) -> Tensor:
    """(B,) of the last class against all others, from (B, classes)."""
    return logits[:, -1] - torch.logsumexp(logits[:, :-1], dim=1)


def _tensor(patch: Array, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(patch, dtype=np.float32))[None].to(device)
