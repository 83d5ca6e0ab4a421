"""Samples a second: our dual-scale loader against nnU-Net's, same patch, volumes of 512 x 512 x 300 voxels."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from benchmarks.machine import Ratio, in_turn, noisy_lung, one_thread
from benchmarks.training_step import smallest_preset_plan
from dsmt_nnunet.dataloading.augmentation import dual_scale
from dsmt_nnunet.dataloading.context_volumes import ContextStore, ContextVolume
from dsmt_nnunet.dataloading.dual_scale_loader import DualScaleDataLoader
from dsmt_nnunet.dataloading.sampling import SampledNodule
from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.plan import DSMTPlan

VOLUME = (300, 512, 512)
PATCH = (64, 64, 64)
BATCH = 4
CASES = ("one", "two")
SPACING_MM = 1.0
CENTRE = (150.0, 256.0, 256.0)


def measure(repeats: int) -> list[Ratio]:
    """One process each, augmentation included."""
    with one_thread():
        per_second = _samples_per_second(repeats)
    return [
        Ratio(
            f"loader: samples a second of one worker, patch of 64, scans of 512 x 512 x 300, {what}",
            f"{per_second['ours']:.1f} / s",
            f"{per_second[name]:.1f} / s",
            f"{per_second['ours'] / per_second[name]:.2f}",
            "at least 1",
        )
        for name, what in (
            ("theirs", "stock's as it is: a nodule in a third of its patches, and an empty one costs it less"),
            ("theirs, nodules", "stock's with a nodule in all, as ours"),
        )
    ]


def _samples_per_second(repeats: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "plans_3d_fullres"
        plan = smallest_preset_plan()
        plan = replace(plan, context=replace(plan.context, spacing_mm=2.5, grid=64))
        store = ContextStore.beside(folder, plan.context)
        _write_cases(folder, store)
        seconds = in_turn(_loaders(folder, store, plan), repeats)
    # Means: what a worker supplies in the long run, the few that are turned or zoomed being the slow ones.
    return {name: BATCH / statistics.mean(values) for name, values in seconds.items()}


def _write_cases(folder: Path, store: ContextStore) -> None:
    folder.mkdir()
    affine = np.hstack([np.eye(3)[::-1], np.zeros((3, 1))]) / SPACING_MM
    fine = ArrayGeometry((SPACING_MM,) * 3, VOLUME, affine)
    shape = tuple(round(n / 2.5) for n in VOLUME)
    coarse = ArrayGeometry((2.5,) * 3, (shape[0], shape[1], shape[2]), affine / 2.5)
    for number, case_id in enumerate(CASES):
        mask = np.zeros((1, *VOLUME), dtype=np.int8)
        mask[:, 142:158, 248:264, 248:264] = 1
        locations = {1: np.insert(np.argwhere(mask[0])[::8], 0, 0, axis=1)}
        data = noisy_lung(VOLUME, number)
        blocks, chunks = comp_blosc2_params(data.shape, PATCH, data.itemsize)
        blocks_seg, chunks_seg = comp_blosc2_params(mask.shape, PATCH, mask.itemsize)
        nnUNetDatasetBlosc2.save_case(
            data,
            mask,
            {"class_locations": locations},
            str(folder / case_id),
            chunks=chunks,
            blocks=blocks,
            chunks_seg=chunks_seg,
            blocks_seg=blocks_seg,
        )
        surroundings = noisy_lung(shape, number).astype(np.float16)
        store.save(case_id, ContextVolume(surroundings, coarse, (-1.0,)), fine, [])


def _loaders(folder: Path, store: ContextStore, plan: DSMTPlan) -> dict[str, Callable[[], object]]:
    dataset = nnUNetDatasetBlosc2(str(folder))
    labels = LabelManager({"background": 0, "nodule": 1}, None)
    rotation = (-np.pi / 6, np.pi / 6)
    transforms = nnUNetTrainer.get_training_transforms(PATCH, rotation, [[1.0] * 3], (0, 1, 2), False)
    larger = [int(1.2 * n) for n in PATCH]
    theirs, all_nodules = (
        nnUNetDataLoader(
            dataset, BATCH, larger, PATCH, labels, oversample_foreground_percent=share, transforms=transforms
        )
        for share in (0.33, 1.0)
    )
    nodules = [SampledNodule(case_id, CENTRE, (number, 0, 1)) for number, case_id in enumerate(CASES)]
    ours = DualScaleDataLoader(
        dataset,
        BATCH,
        larger,
        PATCH,
        labels,
        transforms=dual_scale(transforms, (SPACING_MM,) * 3, plan.context.grid),
        nodules=nodules,
        store=store,
        plan=plan,
        spacing_mm=(SPACING_MM,) * 3,
        training=True,
    )
    return {
        "ours": lambda: next(ours),
        "theirs": lambda: next(theirs),
        "theirs, nodules": lambda: next(all_nodules),
    }
