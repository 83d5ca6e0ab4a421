"""Time and memory against the number of cases and nodules and the size of scans: `python -m benchmarks growth`.

Each part writes a file of benchmarks/results/, from which docs/performance.md is told. Seconds are processor time of a
command and its children, so that neighbours on the machine count for little.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from benchmarks import growth_nodules
from benchmarks.growth_nodules import Row
from dsmt_nnunet.cli.demo import give_positions
from dsmt_nnunet.environment import FOLDERS, environment

RESULTS = Path(__file__).parent / "results"
ID, DATASET = 902, "Dataset902_Phantom"
CASES, SIZE = (10, 20, 40), 112
SIZES, FEW = (80, 112, 144), 10
TEST_CASES = 4
_MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], check=False).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20)
sys.exit(status)
"""
"""Runs a command from a small process: the peak of a child begins with that of its parent, which has imported torch."""


def of_scans() -> Iterator[Row]:
    """Conversion to prediction with the smallest preset."""
    for cases, size in dict.fromkeys([(cases, SIZE) for cases in CASES] + [(FEW, size) for size in SIZES]):
        print(f"{cases} cases of {size} voxels a side ...", flush=True)
        yield from _whole_way(cases, size)


def _whole_way(cases: int, size: int) -> Iterator[Row]:
    """One row a step: what, cases, voxels a side, seconds, GB."""
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
            printed, seconds, gb = run(command.split(), variables)
            row: Row = {"what": what, "cases": cases, "voxels_a_side": size}
            yield {**row, "seconds": round(seconds, 1), "gb": round(gb, 2)}
            epochs = [float(value) for value in re.findall(r"Epoch time: ([\d.]+) s", printed)]
            if epochs:
                yield {**row, "what": "epoch", "seconds": round(sorted(epochs)[len(epochs) // 2], 1), "gb": ""}


def run(words: Sequence[str], variables: dict[str, str]) -> tuple[str, float, float]:
    """What a command prints, its processor time with that of its children in seconds, and the peak of a process in GB.

    Raises:
        RuntimeError: it failed.
    """
    program, *arguments = words
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    ended = subprocess.run(
        [sys.executable, "-S", "-c", _MEASURE, *command],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{ended.stdout[-2000:]}")
    printed, _, used = ended.stdout.rstrip("\n").rpartition("\n")
    seconds, gb = map(float, used.split())
    return printed, seconds, gb


PARTS: dict[str, tuple[str, Callable[[], Iterator[Row]]]] = {
    "nodules": ("growth_nodules.csv", lambda: growth_nodules.rows(run)),
    "scans": ("growth.csv", of_scans),
}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks growth", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    for part in parser.parse_args(arguments).only:
        name, measured = PARTS[part]
        rows: list[Row] = []
        for row in measured():
            rows.append(row)
            _write(RESULTS / name, rows)
        print((RESULTS / name).read_text(encoding="utf-8"))


def _write(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
