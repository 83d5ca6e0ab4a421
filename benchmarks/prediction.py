"""From file to JSON and mask: a known nodule, the search of a whole chest, and what classification adds.

Stock nnU-Net is measured with the same network, mirroring and plans: its preprocessing, and its sliding window
extrapolated from some tiles. Its export is left out, in its favour. Our window is extrapolated likewise.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from benchmarks.machine import Ratio, chest, clock, device, medians, one_thread, peak_memory_gb
from benchmarks.training_step import configuration, smallest_preset_plan
from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.dataloading.context_volumes import coarse_copy
from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.inference.folder_run import FolderRun
from dsmt_nnunet.inference.given_nodules import GivenCase
from dsmt_nnunet.inference.lung_region import RIM, lung_region, on_grid, tiles_that_touch
from dsmt_nnunet.inference.predictor import DSMTPredictor
from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.plan import PLAN_KEY, DSMTPlan

TILES = {"standard": 1, "smallest": 10}
"""A tile of the standard preset takes a quarter of a minute: eight mirrorings of a full-size network."""
CANDIDATES = 3


def plans(preset: str) -> dict[str, object]:
    """As DSMTPlanner and DSMTPlannerXS make them for chests with nodules of 10 to 20 mm."""
    small = preset == "smallest"
    spacing = 1.25 if small else 1.0
    plan = replace(smallest_preset_plan(), mirror_scans=False)
    if not small:
        context = replace(plan.context, spacing_mm=2.5, grid=64, features=(32, 64, 128, 256))
        heads = replace(plan.heads, lateral_features=32, hidden_features=128)
        plan = replace(plan, context=context, heads=heads, mirror_scans=True)
    features = (8, 16, 32, 64) if small else (32, 64, 128, 256, 320)
    settings = configuration(features, spacing)
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    ct = {"mean": -300.0, "std": 250.0, "percentile_00_5": -950.0, "percentile_99_5": 150.0}
    return {
        "dataset_name": "Dataset900_Benchmark",
        "plans_name": "DSMTPlansXS" if small else "DSMTPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": ct},
        PLAN_KEY: plan.to_block(),
        "configurations": {
            "3d_fullres": {
                "data_identifier": "benchmark",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 8,
                "patch_size": [32, 40, 40] if small else [64, 64, 64],
                "spacing": [spacing] * 3,
                "normalization_schemes": ["CTNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
                "architecture": {
                    "network_class_name": settings.network_arch_class_name,
                    "arch_kwargs": settings.network_arch_init_kwargs,
                    "_kw_requires_import": settings.network_arch_init_kwargs_req_import,
                },
                "batch_dice": False,
            }
        },
    }


def predictors(preset: str) -> tuple[nnUNetPredictor, DSMTPredictor]:
    """Stock and ours, with the same random weights; without a trained model the time is the same."""
    own_plans = plans(preset)
    block = smallest_preset_plan().schema.to_block()
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "nodule": 1},
        "file_ending": ".nii.gz",
        "classification": block,
    }
    made = []
    # Stock mirrors all or nothing; ours mirrors the nodules of the smallest preset, not its scans.
    for mirroring in (preset != "smallest", True):
        manager = PlansManager(deepcopy(own_plans))
        settings = manager.get_configuration("3d_fullres")
        torch.manual_seed(0)
        network = build_network(DSMTPlan.from_plans(own_plans), settings, 1, 2, False)
        predictor = nnUNetPredictor(device=device(), use_mirroring=mirroring, allow_tqdm=False)
        predictor.manual_initialization(
            network, manager, settings, [network.state_dict()], dataset, "DSMTTrainer", (0, 1, 2)
        )
        made.append(predictor)
    stock, own = made
    # Without its own precision, the network computes as nnU-Net would.
    stock.network = stock.network.use_precision(Precision.plain()).to(device())
    return stock, DSMTPredictor.adopt(own, None)


def known_nodule(preset: str, file: Path, position_mm: Sequence[float], repeats: int) -> dict[str, float]:
    """Seconds a nodule after start-up, median, and the peak memory of the process in GB."""
    _, own = predictors(preset)
    x, y, z = (float(value) for value in position_mm)
    seconds = []
    with tempfile.TemporaryDirectory() as out:
        case = GivenCase((str(file),), str(Path(out) / "chest"), (Nodule("chest", "1", "p", (x, y, z)),), False)
        for _ in range(repeats + 1):
            start = clock()
            FolderRun.of(own).predict_given(case)
            seconds.append(clock() - start)
    return {"seconds": float(np.median(seconds[1:])), "peak_gb": peak_memory_gb()}


def whole_scan(preset: str, file: Path) -> dict[str, float]:
    """Seconds of stock's preprocessing and window, of our search and of one classification; numbers of tiles."""
    stock, own = predictors(preset)
    classifier = own.classifier
    manager, settings = stock.plans_manager, stock.configuration_manager
    start = clock()
    data, _, properties = settings.preprocessor_class(verbose=False).run_case(
        [str(file)], None, manager, settings, stock.dataset_json
    )
    preprocessing = clock() - start
    image, image_properties = manager.image_reader_writer_class().read_images([str(file)])
    geometry = ArrayGeometry.from_properties(properties, manager.transpose_forward, settings.spacing, data.shape[1:])
    start = clock()
    context = coarse_copy(image, image_properties, manager.transpose_forward, own.plan.context)
    lungs = lung_region(context, own.plan.context.windows[0])
    region = np.ones(data.shape[1:], dtype=bool) if lungs is None else on_grid(lungs, context.geometry, geometry)
    tiles = nnUNetPredictor._internal_get_sliding_window_slicers(stock, data.shape[1:])
    kept = tiles_that_touch(tiles, region, RIM)
    finding = clock() - start
    own.network = own.networks[0]
    per_tile = _seconds_of_a_tile(stock, own, torch.from_numpy(data), tiles, TILES[preset])
    centre = np.array(data.shape[1:]) / 2
    classification = medians({"own": lambda: classifier(data, geometry, context, centre)}, 1, warm_up=0)["own"]
    return {
        "preprocessing": preprocessing,
        "tiles": len(tiles),
        "kept": len(kept),
        "stock_window": per_tile["stock"] * len(tiles),
        "our_window": per_tile["ours"] * len(kept) + finding,
        "classification": classification,
    }


def _seconds_of_a_tile(
    stock: nnUNetPredictor, own: DSMTPredictor, data: torch.Tensor, tiles: Sequence[tuple[slice, ...]], count: int
) -> dict[str, float]:
    """Mean of some tiles in stock's sliding window and in ours, without what either does around the network."""
    own.use_mirroring = own.use_mirroring and own.plan.mirror_scans
    some = [tiles[i] for i in np.linspace(0, len(tiles) - 1, count).astype(int)]
    turns = 1 if count == 1 else 2
    seconds: dict[str, float] = {}
    # As nnU-Net's own sliding window does around this method.
    with torch.inference_mode(), torch.autocast("cuda", enabled=device().type == "cuda"):
        for _ in range(turns):
            for name, answers in (
                ("stock", (stock._internal_maybe_mirror_and_predict(data[t][None].to(device())) for t in some)),
                ("ours", own._in_batches(data, some)),
            ):
                start = clock()
                assert len(list(answers)) == count
                seconds[name] = min(seconds.get(name, np.inf), (clock() - start) / count)
    return seconds


def measure(repeats: int) -> list[Ratio]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        file, position, what = chest(Path(name))
        for preset in ("standard", "smallest"):
            known = _in_its_own_process(preset, file, position, repeats)
            scan = whole_scan(preset, file)
            stock = scan["preprocessing"] + scan["stock_window"]
            rows += _rows(preset, what, known, scan, stock)
    return rows


def _rows(preset: str, what: str, known: dict[str, float], scan: dict[str, float], stock: float) -> list[Ratio]:
    mirrored = "8 mirrorings" if preset == "standard" else "8 mirrorings (stock: none)"
    classifying = CANDIDATES * scan["classification"]
    whole = scan["preprocessing"] + scan["our_window"]
    return [
        Ratio(
            f"known nodule, {preset} preset, {mirrored}, {what}, from file to JSON and mask",
            f"{known['seconds']:.2f} s, {known['peak_gb']:.2f} GB",
            f"{stock:.0f} s ({scan['tiles']:.0f} tiles)",
            f"{stock / known['seconds']:.0f} times faster",
            "2000 times (standard)",
        ),
        Ratio(
            f"search of the whole scan, {preset} preset: sliding window near the lungs against everywhere",
            f"{scan['our_window']:.0f} s ({scan['kept']:.0f} tiles)",
            f"{scan['stock_window']:.0f} s ({scan['tiles']:.0f} tiles)",
            f"{scan['stock_window'] / scan['our_window']:.1f} times faster",
            "at least 6 times",
        ),
        Ratio(
            f"the same with preprocessing, {preset} preset",
            f"{whole:.0f} s",
            f"{stock:.0f} s",
            f"{stock / whole:.1f} times faster",
            "at least 6 times",
        ),
        Ratio(
            f"classification of {CANDIDATES} candidates on top of that, {preset} preset",
            f"{classifying:.2f} s",
            f"{whole:.0f} s (our search)",
            f"{100 * classifying / whole:.1f} % more",
            "at most 5 %",
        ),
    ]


def _in_its_own_process(preset: str, file: Path, position: Sequence[float], repeats: int) -> dict[str, float]:
    # So that the peak memory is its own.
    command = [
        sys.executable,
        "-m",
        "benchmarks.prediction",
        preset,
        str(file),
        json.dumps(list(position)),
        str(repeats),
    ]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(printed.strip().splitlines()[-1]))


if __name__ == "__main__":
    _, own_preset, own_file, own_position, own_repeats = sys.argv
    with one_thread():
        print(json.dumps(known_nodule(own_preset, Path(own_file), json.loads(own_position), int(own_repeats))))
