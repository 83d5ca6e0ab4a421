"""What drove a score: the change of its log-odds when a place is covered, at both scales.

Occlusion (Zeiler and Fergus, ECCV 2014) rather than gradients: it asks the model itself, needs no smoothness, and what
covers the nodule is what would be there without it, aerated lung.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import Occlusion
from torch import Tensor, nn

from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.dataloading.context_volumes import ContextVolume
from dsmt_nnunet.dataloading.dual_scale_loader import fill_values
from dsmt_nnunet.geometry import ArrayGeometry, Point, centred_start, crop
from dsmt_nnunet.inference.classifier import NoduleClassifier

Array = npt.NDArray[Any]
EXPLANATION_FOLDER = "explanations"
LOCAL_WINDOW_MM = 8.0
CONTEXT_WINDOW_MM = 30.0


@dataclass(frozen=True)
class ExplanationMap:
    """One scale.

    Attributes:
        values: (Z, Y, X), by how much the log-odds of the positive class fall when the place is covered; positive where
            the place speaks for the positive class.
        geometry: where the map lies in the world.
    """

    values: Array
    geometry: ArrayGeometry


@dataclass(frozen=True)
class Explanation:
    """Maps of one task at one nodule, at both scales; `context` is None for a model without a context encoder."""

    task: str
    local: ExplanationMap
    context: ExplanationMap | None

    def write(self, path: str | Path) -> None:
        """Writes a compressed .npz, under a temporary name first."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {"task": self.task}
        for name, part in (("local", self.local), ("context", self.context)):
            if part is not None:
                content[f"{name}_values"] = part.values.astype(np.float16)
                content[f"{name}_spacing_mm"] = np.asarray(part.geometry.spacing_mm)
                content[f"{name}_world_to_voxel"] = part.geometry.world_to_voxel
        partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
        np.savez_compressed(partial, **content)
        partial.replace(path)

    @classmethod
    def read(cls, path: str | Path) -> Explanation:
        """Reads what `write` wrote."""
        with np.load(path) as content:
            maps: dict[str, ExplanationMap | None] = {"local": None, "context": None}
            for name in maps:
                if f"{name}_values" in content:
                    values = content[f"{name}_values"].astype(np.float32)
                    z, y, x = (float(value) for value in content[f"{name}_spacing_mm"])
                    geometry = ArrayGeometry((z, y, x), values.shape, content[f"{name}_world_to_voxel"])
                    maps[name] = ExplanationMap(values, geometry)
            local = maps["local"]
            if local is None:
                raise ValueError(f"{path} holds no map of the local patch.")
            return cls(str(content["task"]), local, maps["context"])


class _LogOdds(nn.Module):
    """(B,) log-odds of the positive class of a binary task; of a multi-class one, of its last class."""

    def __init__(self, network: DSMTNet, position: int) -> None:
        super().__init__()
        self.network = network
        self.position = position

    def forward(self, local: Tensor, context: Tensor) -> Tensor:
        logits = self.network(local, context).tasks[self.position]
        return logits[:, -1] - torch.logsumexp(logits[:, :-1], dim=1)


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
    """Covers the nodule and its surroundings piece by piece; the mean over the folds.

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
    plan = classifier.plan
    position = plan.schema.tasks.index(plan.schema[task])
    size = [int(length) for length in classifier.patch_size]
    start = centred_start(voxel, size)
    fill = fill_values(plan.padding_value, data)
    local = _tensor(crop(data, start, size, fill), classifier.device)
    grid = plan.context.grid
    centre_mm = geometry.to_world(voxel)
    surroundings = _tensor(context.patch(centre_mm, grid), classifier.device)
    windows = [
        _window(local, windows_mm[0], geometry.spacing_mm),
        _window(surroundings, windows_mm[1], context.geometry.spacing_mm),
    ]
    baselines = (
        torch.tensor(fill, device=local.device).reshape(1, -1, 1, 1, 1).expand_as(local),
        surroundings.median().expand_as(surroundings),
    )
    maps = []
    for network in classifier.networks:
        network.eval()
        attributions = Occlusion(_LogOdds(network, position)).attribute(
            (local, surroundings),
            sliding_window_shapes=tuple(windows),
            strides=tuple((window[0], *(max(1, edge // 2) for edge in window[1:])) for window in windows),
            baselines=baselines,
            perturbations_per_eval=4,
        )
        maps.append([part[0].sum(0).float().cpu().numpy() for part in attributions])
    local_map, context_map = (np.mean(parts, axis=0) for parts in zip(*maps, strict=True))
    context_start = centred_start(context.geometry.to_voxel(centre_mm), (grid,) * 3)
    has_context = classifier.networks[0].context_encoder is not None
    return Explanation(
        task,
        ExplanationMap(local_map, _moved(geometry, start, size)),
        ExplanationMap(context_map, _moved(context.geometry, context_start, (grid,) * 3)) if has_context else None,
    )


def _tensor(patch: Array, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(patch, dtype=np.float32))[None].to(device)


def _window(patch: Tensor, edge_mm: float, spacing_mm: tuple[float, float, float]) -> tuple[int, ...]:
    """Channels and edges, in voxels, of the cube that covers."""
    edges = [
        min(length, max(1, math.ceil(edge_mm / spacing)))
        for length, spacing in zip(patch.shape[2:], spacing_mm, strict=True)
    ]
    return (patch.shape[1], *edges)


def _moved(geometry: ArrayGeometry, start: tuple[int, ...], shape: Any) -> ArrayGeometry:
    """Geometry of a box of an array."""
    affine = geometry.world_to_voxel.copy()
    affine[:, 3] -= np.asarray(start)
    return ArrayGeometry(geometry.spacing_mm, (int(shape[0]), int(shape[1]), int(shape[2])), affine)
