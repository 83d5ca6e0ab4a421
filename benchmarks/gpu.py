"""Every measurement that needs a GPU, in one call: `python -m benchmarks gpu` writes benchmarks/results/gpu.json.

Each part is kept as soon as it is measured; parts for which no time is left are named as such. On a machine without a
GPU the same code runs with `--device cpu`, which shows that it runs, and writes nothing unless `-o` says where.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from benchmarks import loader, prediction
from benchmarks.machine import Ratio, description, device, medians
from benchmarks.training_step import Problem
from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.environment import FOLDERS, environment
from dsmt_nnunet.plan import DSMTPlan
from planners.dsmt_planner import DSMTPlanner, DSMTPlannerXS

RESULTS = Path(__file__).parent / "results" / "gpu.json"
LONGEST_MINUTES = 9.0
ID, DATASET, CONFIGURATION = 903, "Dataset903_Phantom", "3d_fullres"
CASES = 12
PLANNERS = {"DSMTPlans": DSMTPlanner, "DSMTPlansXS": DSMTPlannerXS}


@dataclass(frozen=True)
class Workplace:
    """Where a call measures.

    Attributes:
        folder: of nnU-Net's three folders, with a planned cohort of phantoms.
        plans: names of the plans to measure.
        repeats: of each measurement.
    """

    folder: Path
    plans: tuple[str, ...]
    repeats: int

    def prepare(self) -> None:
        """Makes the phantoms, plans and preprocesses them."""
        for kind in FOLDERS:
            (self.folder / kind).mkdir(exist_ok=True)
        self.run("dsmt", f"convert phantom -d {ID} --cases {CASES} --test-cases 1 -np {_processes()}")
        for name in self.plans:
            self.run("dsmt", f"plan -d {ID} -pl {PLANNERS[name].__name__} -np {_processes()}")

    def content(self, plans: str) -> dict[str, object]:
        """The plans file."""
        path = self.folder / "nnUNet_preprocessed" / DATASET / f"{plans}.json"
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def run(self, program: str, words: str) -> str:
        """What a command prints.

        Raises:
            RuntimeError: it failed.
        """
        own = {kind: str(self.folder / kind) for kind in FOLDERS}
        command = [str(Path(sys.executable).with_name(program)), *words.split()]
        done = subprocess.run(
            command, env={**os.environ, **environment(self.folder), **own}, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
        return done.stdout


def _processes() -> int:
    return min(8, os.cpu_count() or 1)


def _steps(place: Workplace, plans: str) -> dict[str, Callable[[], float]]:
    """A step of stock nnU-Net's segmentation on the same plans, one of DSMT, and one of DSMT compiled."""
    content = place.content(plans)
    settings = PlansManager(deepcopy(content)).get_configuration(CONFIGURATION)
    plan = DSMTPlan.from_plans(content)
    problem = Problem(plan, settings.patch_size, settings.batch_size, device())

    def network() -> DSMTNet:
        torch.manual_seed(0)
        return build_network(plan, settings, 1, 2, True).to(device())

    def own_network() -> nn.Module:
        return network().use_precision(Precision.choose(device()))

    steps = {
        "stock": problem.segmentation_step(network().use_precision(Precision.plain())),
        "eager": problem.whole_step(own_network()),
    }
    if device().type == "cuda":  # nnU-Net compiles on no other device
        compiled = torch.compile(own_network())
        assert isinstance(compiled, nn.Module)
        steps["compiled"] = problem.whole_step(compiled)
    return steps


def step(place: Workplace) -> list[Ratio]:
    """Milliseconds and samples a second of the plans' own patch and batch, compiled and not."""
    rows = []
    for plans in place.plans:
        seconds = medians(_steps(place, plans), place.repeats, warm_up=2)
        stock = seconds.pop("stock")
        rows += [
            Ratio(
                f"whole DSMT step against stock's segmentation step, {plans}, {name}",
                f"{1000 * own:.1f} ms",
                f"{1000 * stock:.1f} ms",
                f"{own / stock:.2f}",
                "1.25",
            )
            for name, own in seconds.items()
        ]
    return rows


def memory(place: Workplace) -> list[Ratio]:
    """The allocator's peak over three steps beside what the planner was told to stay within."""
    if device().type != "cuda":
        return [Ratio("peak memory of a step", "not measured on a CPU", "", "", "1")]
    rows = []
    for plans in place.plans:
        whole = _steps(place, plans)["eager"]
        torch.cuda.reset_peak_memory_stats()
        for _ in range(3):
            whole()
        peak, target = torch.cuda.max_memory_allocated() / 2**30, PLANNERS[plans].default_memory_gb
        what = f"peak memory of a step against the plan's target, {plans}"
        rows.append(Ratio(what, f"{peak:.2f} GB", f"{target:g} GB", f"{peak / target:.2f}", "at most 1"))
        torch.cuda.empty_cache()
    return rows


def supply(place: Workplace) -> list[Ratio]:
    """Samples a second of all of nnU-Net's workers beside what the steps take."""
    from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

    workers = max(1, get_allowed_n_proc_DA())
    one = float(loader.measure(place.repeats)[0].ours.split()[0])
    rows = []
    for plans in place.plans:
        content = place.content(plans)
        batch = PlansManager(content).get_configuration(CONFIGURATION).batch_size
        demand = batch / medians({"eager": _steps(place, plans)["eager"]}, place.repeats, warm_up=2)["eager"]
        what = f"samples a second of {workers} workers (patch of 64) against a step's demand, {plans}"
        rows.append(Ratio(what, f"{workers * one:.1f} / s", f"{demand:.1f} / s", f"{workers * one / demand:.2f}", "1"))
    return rows


def whole_training(place: Workplace) -> list[Ratio]:
    """nnU-Net's command with `-num_gpus 1`: five epochs of the smallest plans that are measured, and validation."""
    start = time.perf_counter()
    words = f"{ID} {CONFIGURATION} 0 -tr DSMTTrainer_5epochs -p {place.plans[-1]} -device {device().type} -num_gpus 1"
    printed = place.run("nnUNetv2_train", words)
    epochs = [float(seconds) for seconds in re.findall(r"Epoch time: ([\d.]+) s", printed)]
    taken = f"{time.perf_counter() - start:.0f} s, an epoch {statistics.median(epochs):.1f} s"
    return [Ratio(f"nnUNetv2_train -num_gpus 1, five epochs and validation, {place.plans[-1]}", taken, "", "", "")]


PARTS: dict[str, Callable[[Workplace], list[Ratio]]] = {
    "step": step,
    "memory": memory,
    "supply": supply,
    "prediction": lambda place: prediction.measure(max(1, place.repeats // 3)),
    "num_gpus": whole_training,
}


def measure(place: Workplace, parts: Sequence[str], minutes: float, kept: Path | None) -> dict[str, object]:
    """Measures part by part, and keeps what there is after each.

    Args:
        place: prepared.
        parts: of `PARTS`.
        minutes: after which no further part begins.
        kept: file, or None to keep nothing.
    """
    end = time.monotonic() + 60 * minutes
    done: dict[str, object] = {}
    found: dict[str, object] = {"where": description(), "device": device().type, "parts": done}
    for name in parts:
        if time.monotonic() > end:
            done[name] = f"not measured: {minutes:g} minutes were over"
        else:
            print(f"Measuring: {name} ...", flush=True)
            done[name] = _part(name, place)
        if kept is not None:
            kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def _part(name: str, place: Workplace) -> dict[str, object] | str:
    """Seconds and rows of a part, or why it failed: the others go on."""
    start = time.monotonic()
    try:
        rows = [asdict(row) for row in PARTS[name](place)]
    except (RuntimeError, subprocess.SubprocessError) as error:
        return f"failed: {error}"
    finally:
        gc.collect()
    return {"seconds": round(time.monotonic() - start, 1), "rows": rows}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu only shows that this runs")
    parser.add_argument("--minutes", type=float, default=LONGEST_MINUTES, help="no part begins after these")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--plans", nargs="+", choices=list(PLANNERS), default=list(PLANNERS))
    parser.add_argument("-o", "--output", type=Path, help="default on a GPU: benchmarks/results/gpu.json")
    args = parser.parse_args(arguments)
    if args.device != device().type:
        parser.error(f"--device {args.device}: torch finds {device().type} here.")
    kept = args.output or (RESULTS if args.device == "cuda" else None)
    with tempfile.TemporaryDirectory() as name:
        place = Workplace(Path(name), tuple(args.plans), args.repeats)
        place.prepare()
        found = measure(place, args.only, args.minutes, kept)
    print(json.dumps(found, indent=1))
