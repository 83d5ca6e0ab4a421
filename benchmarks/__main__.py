"""Measures against stock nnU-Net, prints one table and keeps it in benchmarks/results/.

On a CPU every figure is processor time of a single thread, ours and stock's taking turns, so that neighbours on the
machine count for little. `python -m benchmarks coverage` judges the statistics instead, by simulation; `growth`
measures time and memory against the size of a data set, `gpu` what needs a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

from benchmarks import gpu, growth, loader, nodule_samples, prediction, training_step
from benchmarks.coverage import run as coverage
from benchmarks.machine import Ratio, description, one_thread

RESULTS = Path(__file__).parent / "results"
GROUPS: dict[str, Callable[[int], list[Ratio]]] = {
    "training": training_step.measure,
    "loader": lambda repeats: loader.measure(20 * repeats),
    "samples": lambda repeats: [nodule_samples.measure(max(1, repeats // 4))],
    "prediction": lambda repeats: prediction.measure(max(1, repeats // 2)),
}


OTHERS: dict[str, Callable[[list[str]], None]] = {
    "coverage": coverage.main,
    "growth": growth.main,
    "gpu": gpu.main,
}


class Group(TypedDict):
    """What one group of measurements leaves in speed.json."""

    where: str
    minutes: float
    rows: list[dict[str, str]]


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in OTHERS:
        OTHERS[sys.argv[1]](sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement; fewer of the slow ones")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="the others are kept")
    args = parser.parse_args()
    path = RESULTS / "speed.json"
    measured: dict[str, Group] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    RESULTS.mkdir(exist_ok=True)
    for name in args.only:
        print(f"Measuring: {name} ...", flush=True)
        start = time.monotonic()
        with one_thread():
            rows = [asdict(row) for row in GROUPS[name](args.repeats)]
        minutes = round((time.monotonic() - start) / 60, 1)
        measured[name] = {"where": description(), "minutes": minutes, "rows": rows}
        # Kept after each, so that an interruption loses little.
        path.write_text(json.dumps(measured, indent=1), encoding="utf-8")
        (RESULTS / "speed.md").write_text(table(measured), encoding="utf-8")
    print(table(measured))


def table(measured: Mapping[str, Group]) -> str:
    """Markdown."""
    groups = [(name, measured[name]) for name in GROUPS if name in measured]
    return "\n".join(
        [
            "# Speed against stock nnU-Net 2.8",
            "",
            "| what | ours | stock | ratio | goal |",
            "|---|---|---|---|---|",
            *(Ratio(**row).row() for _, group in groups for row in group["rows"]),
            "",
            *(f"- {name}: {group['where']} It took {group['minutes']:g} minutes." for name, group in groups),
            "",
        ]
    )


if __name__ == "__main__":
    main()
