"""The nodules of a phantom study as patches in memory, for `benchmarks.variants`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from torch import Tensor

from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.dataloading.context_volumes import ContextStore
from dsmt_nnunet.dataloading.padding import fill_values
from dsmt_nnunet.geometry import centred_start, crop
from dsmt_nnunet.nnunet_files import NnunetPlans
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.study.data_sets import DATASET

PLANS, CONFIGURATION = "DSMTPlansXS", "3d_fullres"
MARGIN = 4
"""Voxels around the patch, for shifts: 5 mm."""
LARGEST_CONTEXT = 42
"""Voxels a side of the context patch that is kept: 200 mm, and one around it for shifts."""
Float = npt.NDArray[np.float32]
Voxel = TypeVar("Voxel", np.float16, np.bool_)


@dataclass(frozen=True)
class Patches:
    """Nodule-centred patches in memory.

    Attributes:
        local: (N, Z, Y, X), larger than the network's patch by `MARGIN` on each side.
        masks: of the same shape.
        context: (N, G, G, G), G being `LARGEST_CONTEXT`.
        labels: (N, T).
        probability: (N,) true probability of the primary task.
    """

    local: npt.NDArray[np.float16]
    masks: npt.NDArray[np.bool_]
    context: npt.NDArray[np.float16]
    labels: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float64]

    def batch(
        self,
        indices: Sequence[int],
        patch: Sequence[int],
        context_grid: int,
        jitter: int,
        rng: np.random.Generator | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Local patches, masks and context patches, augmented if there is a generator.

        Args:
            indices: of the nodules.
            patch: (z, y, x) voxels.
            context_grid: voxels a side of the context patch; 0 for none, which gives the smallest.
            jitter: voxels by which patches are shifted, at most.
            rng: None for no augmentation.

        Returns:
            (B, 1, Z, Y, X) twice and (B, 1, G, G, G), float32.
        """
        parts: list[list[Float]] = [[], [], []]
        for index in indices:
            shift = rng.integers(-jitter, jitter + 1, 3) if rng is not None else np.zeros(3, dtype=int)
            grid = max(context_grid, 8)
            arrays = [
                _middle(self.local[index], patch, shift).astype(np.float32),
                _middle(self.masks[index], patch, shift).astype(np.float32),
                _middle(self.context[index], (grid,) * 3, shift // 4).astype(np.float32),
            ]
            for part, array in zip(parts, _augmented(arrays, rng), strict=True):
                part.append(np.ascontiguousarray(array)[None])
        local, masks, context = (torch.from_numpy(np.stack(part)) for part in parts)
        return local, masks, context


def _middle(array: npt.NDArray[Voxel], size: Sequence[int], shift: npt.NDArray[np.int64]) -> npt.NDArray[Voxel]:
    low = [(have - want) // 2 + int(off) for have, want, off in zip(array.shape, size, shift, strict=True)]
    return array[tuple(slice(start, start + want) for start, want in zip(low, size, strict=True))]


def _augmented(arrays: list[Float], rng: np.random.Generator | None) -> list[Float]:
    if rng is None:
        return arrays
    for axis in range(3):
        if rng.random() < 0.5:
            arrays = [np.flip(array, axis) for array in arrays]
    local, mask, context = arrays
    if rng.random() < 0.2:
        local = local * np.float32(rng.uniform(0.85, 1.15))
    if rng.random() < 0.15:
        local = local + rng.normal(0, rng.uniform(0, 0.3), local.shape).astype(np.float32)
    if rng.random() < 0.15:
        context = context * np.float32(rng.uniform(0.85, 1.15))
    return [local, mask, context]


def read_patches(study: Path) -> tuple[Patches, Patches, NnunetPlans]:
    """Training patches of fold 0, patches of the unseen cases, and the plans."""
    raw, folder = study / "nnUNet_raw" / DATASET, study / "nnUNet_preprocessed" / DATASET
    plans = NnunetPlans.read(folder / f"{PLANS}.json")
    learnt = set(json.loads((folder / "splits_final.json").read_text(encoding="utf-8"))[0]["train"])
    data = folder / plans.configuration(CONFIGURATION).data_identifier
    training = _patches(raw, raw / "nodules.csv", data, plans, learnt)
    unseen = _patches(raw, raw / "nodulesTs.csv", data.with_name(f"{data.name}_test"), plans, None)
    return training, unseen, plans


def _patches(raw: Path, table: Path, folder: Path, plans: NnunetPlans, wanted: set[str] | None) -> Patches:
    plan = DSMTPlan.from_plans(plans.content)
    size = [length + 2 * MARGIN for length in plans.configuration(CONFIGURATION).patch_size]
    truth = {
        (row.get("case_id"), row.get("nodule_id")): float(row.get("true_probability"))
        for row in read_csv(raw / "phantom_truth.csv").rows
    }
    dataset, store = infer_dataset_class(str(folder))(str(folder)), ContextStore.beside(folder, plan.context)
    rows = []
    for nodule in NoduleTable.read(table, plan.schema).nodules:
        if wanted is not None and nodule.case_id not in wanted:
            continue
        image, mask, _, _ = dataset.load_case(nodule.case_id)
        start = centred_start(store.local_geometry(nodule.case_id).to_voxel(nodule.centre_mm), size)
        row = (
            crop(image, start, size, fill_values(plan.padding_value, image))[0].astype(np.float16),
            crop(mask, start, size, [-1])[0] > 0,
            store.load(nodule.case_id).patch(nodule.centre_mm, LARGEST_CONTEXT)[0],
            nodule.label_indices(plan.schema),
            truth[nodule.case_id, nodule.nodule_id],
        )
        rows.append(row)
    return Patches(*(np.stack(column) for column in zip(*rows, strict=True)))
