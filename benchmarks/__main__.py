"""Prints one table and keeps it in benchmarks/results/."""

from __future__ import annotations

import argparse
import os
import platform
from datetime import date
from pathlib import Path

import torch

from benchmarks.training_step import measure
from dsmt_nnunet import __version__
from dsmt_nnunet.architecture.precision import Precision

RESULTS = Path(__file__).parent / "results" / "training_step.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    seconds = measure(device, repeats)
    machine = torch.cuda.get_device_name() if device.type == "cuda" else f"{os.cpu_count()} cores, {platform.machine()}"
    bf16 = "bfloat16, channels last" if Precision.choose(device).use_bf16 else "as nnU-Net"
    lines = [
        "# One training step, smallest preset (8 patches of 32 x 40 x 40)",
        "",
        f"{date.today()}, dsmt-nnunet {__version__}, torch {torch.__version__}, {machine}; ours in {bf16}; median of "
        f"{repeats} steps, the variants taking turns in one process.",
        "",
        "| step | ms | ratio |",
        "|---|---|---|",
        f"| stock nnU-Net network, segmentation | {1000 * seconds['stock']:.0f} | |",
        f"| our network, segmentation alone | {1000 * seconds['segmentation']:.0f} | "
        f"{seconds['stock'] / seconds['segmentation']:.2f} times as fast as stock |",
        f"| our network, context and heads too | {1000 * seconds['dsmt']:.0f} | "
        f"{seconds['dsmt'] / seconds['segmentation']:.2f} times the segmentation-only step |",
        "",
    ]
    print("\n".join(lines))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
