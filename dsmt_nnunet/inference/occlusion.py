"""What drove a score: the change of its log-odds when a place is covered, at both scales.

Occlusion (Zeiler and Fergus, ECCV 2014) rather than gradients: it asks the model itself, needs no smoothness, and what
covers the nodule is what would be there without it, aerated lung.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import Occlusion
from torch import Tensor

from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.dataloading.context_volumes import ContextVolume
from dsmt_nnunet.dataloading.dual_scale_loader import fill_values
from dsmt_nnunet.geometry import ArrayGeometry, Point, centred_start, crop
from dsmt_nnunet.inference.classifier import NoduleClassifier
from dsmt_nnunet.inference.explanation import Explanation, ExplanationMap

Array = npt.NDArray[Any]
LOCAL_WINDOW_MM = 8.0
CONTEXT_WINDOW_MM = 30.0
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
    windows_mm: tuple[float, float] = (LOCAL_WINDOW_MM, CONTEXT_WINDOW_MM),
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
        windows_mm: edges of the cube that covers, in the local and in the context patch; it moves by half of that.

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

    box = central_box(size, geometry.spacing_mm, plan.heads.central_region_mm + 2 * REGION_MARGIN_MM)
    window = _window(local[(..., *box)], windows_mm[0], geometry.spacing_mm)
    local_values = np.mean(
        [_local_map(network, position, local, surroundings, box, fill, window) for network in networks], axis=0
    )
    corner = [first + part.start for first, part in zip(start, box, strict=True)]
    local_map = ExplanationMap(local_values, _moved(geometry, corner, local_values.shape))
    if networks[0].context_encoder is None:
        return Explanation(task, explained.classes[-1], local_map, None)

    window = _window(surroundings, windows_mm[1], context.geometry.spacing_mm)
    corner = list(centred_start(context.geometry.to_voxel(centre_mm), grid))
    inside = _tensor(crop(np.ones((1, *context.array.shape[1:]), np.float32), corner, grid, [0.0]), classifier.device)
    context_values = np.mean(
        [_context_map(network, position, local, surroundings, inside > 0, window) for network in networks], axis=0
    )
    context_map = ExplanationMap(context_values, _moved(context.geometry, corner, grid))
    return Explanation(task, explained.classes[-1], local_map, context_map)


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
    window: tuple[int, ...],
) -> Array:
    """(Z, Y, X) of the box; its places are covered with air."""

    def score(part: Tensor) -> Tensor:
        patch = local.repeat(len(part), 1, 1, 1, 1)
        patch[(..., *box)] = part
        return _log_odds(network(patch, surroundings.expand(len(part), -1, -1, -1, -1)).tasks[position])

    part = local[(..., *box)]
    air = torch.tensor(fill, device=local.device).reshape(1, -1, 1, 1, 1).expand_as(part)
    return _covered(score, part, air, window, local.numel())


def _context_map(
    network: DSMTNet, position: int, local: Tensor, surroundings: Tensor, inside: Tensor, window: tuple[int, ...]
) -> Array:
    """(G, G, G) of the context patch; its places are covered with each channel's median in the scan.

    What lies outside the scan stays as it is: there is nothing to cover.
    """
    nodule = network.describe(local)
    medians = [channel[inside[0, 0]].median() for channel in surroundings[0]]
    ordinary = torch.stack(medians).reshape(1, -1, 1, 1, 1).expand_as(surroundings)
    baseline = torch.where(inside, ordinary, surroundings)

    def score(patch: Tensor) -> Tensor:
        return _log_odds(network.answer(nodule.expand(len(patch), -1), patch)[position])

    values = _covered(score, surroundings, baseline, window, surroundings.numel())
    return np.where(inside[0, 0].cpu().numpy(), values, 0.0)


def _covered(
    score: Callable[[Tensor], Tensor], patch: Tensor, baseline: Tensor, window: tuple[int, ...], voxels: int
) -> Array:
    """(Z, Y, X) fall of a score where the window lies, the mean over the windows that hold a voxel."""
    attributions = Occlusion(score).attribute(
        patch,
        sliding_window_shapes=window,
        strides=(window[0], *(math.ceil(edge / 2) for edge in window[1:])),
        baselines=baseline,
        perturbations_per_eval=min(_MOST_AT_ONCE, max(1, _VOXELS_AT_ONCE // voxels)),
    )
    values: Array = attributions[0, 0].float().cpu().numpy()
    return values


def _log_odds(logits: Tensor) -> Tensor:
    """(B,) of the last class against all others, from (B, classes)."""
    return logits[:, -1] - torch.logsumexp(logits[:, :-1], dim=1)


def _tensor(patch: Array, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(patch, dtype=np.float32))[None].to(device)


def _window(patch: Tensor, edge_mm: float, spacing_mm: Sequence[float]) -> tuple[int, ...]:
    """Channels and edges, in voxels, of the cube that covers."""
    edges = [
        min(length, max(1, math.ceil(edge_mm / spacing)))
        for length, spacing in zip(patch.shape[2:], spacing_mm, strict=True)
    ]
    return (patch.shape[1], *edges)


def _moved(geometry: ArrayGeometry, start: Sequence[int], shape: Sequence[int]) -> ArrayGeometry:
    """Geometry of a box of an array."""
    affine = geometry.world_to_voxel.copy()
    affine[:, 3] -= np.asarray(start)
    return ArrayGeometry(geometry.spacing_mm, (int(shape[0]), int(shape[1]), int(shape[2])), affine)
