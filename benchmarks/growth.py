"""Time and memory against the number of cases and the size of scans: conversion to prediction, smallest preset.

`python -m benchmarks.growth` writes benchmarks/results/growth.csv, from which docs/performance.md is told.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from dsmt_nnunet.cli.demo import give_positions
from dsmt_nnunet.environment import FOLDERS, environment

RESULTS = Path(__file__).parent / "results" / "growth.csv"
ID, DATASET = 902, "Dataset902_Phantom"
CASES, SIZE = (10, 20, 40), 112
SIZES, FEW = (80, 112, 144), 10
TEST_CASES = 4


def measure(cases: int, size: int) -> list[dict[str, object]]:
    """One row a step: what, cases, voxels a side, seconds, GB."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variables = {**os.environ, **environment(folder), **{kind: str(folder / kind) for kind in FOLDERS}}
        variables |= {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "2"}
        for kind in FOLDERS:
            (folder / kind).mkdir()
        raw = folder / "nnUNet_raw" / DATASET
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = f"-d {ID} -c 3d_fullres -f 0 -tr DSMTTrainer_5epochs -p DSMTPlansXS -device {device} -npp 1 -nps 1"
        commands = {
            "convert": f"dsmt convert phantom -d {ID} --cases {cases} --test-cases {TEST_CASES} --size {size} -np 2",
            "plan": f"dsmt plan -d {ID} -pl DSMTPlannerXS -np 2 --no_pp",
            "preprocess": f"dsmt plan -d {ID} -pl DSMTPlannerXS -np 2",
            "train 5 epochs, validate": f"nnUNetv2_train {ID} 3d_fullres 0 -tr DSMTTrainer_5epochs -p DSMTPlansXS "
            f"-device {device}",
            f"search {TEST_CASES} scans": f"nnUNetv2_predict -i {raw / 'imagesTs'} -o {folder / 'found'} {model}",
            f"classify {TEST_CASES} scans": f"nnUNetv2_predict -i {folder / 'in'} -o {folder / 'given'} {model}",
        }
        for what, command in commands.items():
            if what.startswith("classify"):
                shutil.copytree(raw / "imagesTs", folder / "in")
                give_positions(raw / "nodulesTs.csv", folder / "in" / "nodules.csv")
            program, *arguments = command.split()
            start = time.monotonic()
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name(program)), *arguments],
                env=variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert process.stdout is not None
            printed = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise RuntimeError(f"{command} failed:\n{printed[-2000:]}")
            row: dict[str, object] = {"what": what, "cases": cases, "voxels_a_side": size}
            rows.append({**row, "seconds": round(time.monotonic() - start, 1), "gb": round(usage.ru_maxrss / 2**20, 2)})
            epochs = [float(value) for value in re.findall(r"Epoch time: ([\d.]+) s", printed)]
            if epochs:
                rows.append({**row, "what": "epoch", "seconds": round(sorted(epochs)[len(epochs) // 2], 1), "gb": ""})
    return rows


def main() -> None:
    rows: list[dict[str, object]] = []
    for cases, size in dict.fromkeys([(cases, SIZE) for cases in CASES] + [(FEW, size) for size in SIZES]):
        print(f"{cases} cases of {size} voxels a side ...", flush=True)
        rows += measure(cases, size)
        RESULTS.parent.mkdir(exist_ok=True)
        with RESULTS.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
