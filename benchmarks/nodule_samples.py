"""Labelled, nodule-centred samples a second in training: our plan against nnU-Net's, of the same phantoms.

Stock nnU-Net forces foreground into a third of its patches, at least one a batch; those count as nodule-centred here,
in its favour.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from benchmarks.machine import Ratio, device, medians
from benchmarks.training_step import Problem
from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.nnunet_files import Json, NnunetPlans
from dsmt_nnunet.plan import DSMTPlan

CASES = 12
DATASET = "Dataset901_Phantom"


def measure(repeats: int) -> Ratio:
    with tempfile.TemporaryDirectory() as name:
        stock_plans, own_plans = _planned(Path(name))
    stock, own = (PlansManager(plans).get_configuration("3d_fullres") for plans in (stock_plans, own_plans))
    plan = DSMTPlan.from_plans(own_plans)
    stock_problem = Problem(plan, stock.patch_size, stock.batch_size, device())
    own_problem = Problem(plan, own.patch_size, own.batch_size, device())
    stock_network = get_network_from_plans(
        stock.network_arch_class_name,
        stock.network_arch_init_kwargs,
        stock.network_arch_init_kwargs_req_import,
        1,
        2,
        deep_supervision=True,
    ).to(device())
    network = build_network(plan, own, 1, 2, True).to(device()).use_precision(Precision.choose(device()))
    seconds = medians(
        {
            "theirs": stock_problem.segmentation_step(stock_network),
            "ours": own_problem.whole_step(network),
        },
        repeats,
        warm_up=0,
    )
    ours = own.batch_size * (1 - plan.training.background_share) / seconds["ours"]
    theirs = max(1, round(stock.batch_size / 3)) / seconds["theirs"]
    return Ratio(
        f"nodule-centred labelled samples a second in training: DSMTPlans (batch {own.batch_size}, patch "
        f"{_size(own.patch_size)}) against nnUNetPlans (batch {stock.batch_size}, patch {_size(stock.patch_size)})",
        f"{ours:.2f} / s",
        f"{theirs:.3f} / s",
        f"{ours / theirs:.1f} times",
        "at least 10 times",
    )


def _size(patch: Sequence[int]) -> str:
    return " x ".join(str(int(length)) for length in patch)


def _planned(folder: Path) -> tuple[Json, Json]:
    """nnU-Net's plans and ours."""
    variables = dict(os.environ)
    for kind in ("raw", "preprocessed", "results"):
        (folder / kind).mkdir()
        variables[f"nnUNet_{kind}"] = str(folder / kind)
    for command in (
        f"dsmt convert phantom -d 901 --cases {CASES} --seed 1 -np 2",
        "nnUNetv2_extract_fingerprint -d 901 -np 2",
        "nnUNetv2_plan_experiment -d 901",
        "dsmt plan -d 901 -pl DSMTPlanner --no_pp",
    ):
        program, *arguments = command.split()
        beside = str(Path(sys.executable).with_name(program))
        subprocess.run([beside, *arguments], env=variables, check=True, capture_output=True)
    plans = [folder / "preprocessed" / DATASET / f"{name}.json" for name in ("nnUNetPlans", "DSMTPlans")]
    stock, own = (NnunetPlans.read(path).content for path in plans)
    return stock, own


if __name__ == "__main__":
    torch.manual_seed(0)
    print(measure(1).row())
