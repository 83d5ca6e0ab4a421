"""Measures against stock nnU-Net, prints one table and keeps it in benchmarks/results/.

`python -m benchmarks coverage` judges the statistics instead, by simulation; `python -m benchmarks gpu` measures what
needs a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

from benchmarks import gpu, loader, nodule_samples, prediction, training_step
from benchmarks.coverage import run as coverage
from benchmarks.machine import Ratio, description

RESULTS = Path(__file__).parent / "results"
GROUPS: dict[str, Callable[[int], list[Ratio]]] = {
    "training": training_step.measure,
    "loader": lambda repeats: loader.measure(20 * repeats),
    "samples": lambda repeats: [nodule_samples.measure(max(1, repeats // 3))],
    "prediction": lambda repeats: prediction.measure(max(1, repeats // 3)),
}


class Group(TypedDict):
    """What one group of measurements leaves in speed.json."""

    where: str
    repeats: int
    rows: list[dict[str, str]]


def main() -> None:
    if sys.argv[1:2] == ["coverage"]:
        coverage.main(sys.argv[2:])
        return
    if sys.argv[1:2] == ["gpu"]:
        gpu.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="of each measurement; the slow ones take a third")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="the others are kept")
    args = parser.parse_args()
    path = RESULTS / "speed.json"
    measured: dict[str, Group] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    RESULTS.mkdir(exist_ok=True)
    for name in args.only:
        print(f"Measuring: {name} ...", flush=True)
        rows = [asdict(row) for row in GROUPS[name](args.repeats)]
        measured[name] = {"where": description(), "repeats": args.repeats, "rows": rows}
        # Kept after each, so that an interruption loses little.
        path.write_text(json.dumps(measured, indent=1), encoding="utf-8")
        (RESULTS / "speed.md").write_text(table(measured), encoding="utf-8")
    print(table(measured))


def table(measured: Mapping[str, Group]) -> str:
    """Markdown."""
    lines = ["# Speed against stock nnU-Net 2.8.1", ""]
    for name in (name for name in GROUPS if name in measured):
        group = measured[name]
        lines += [
            f"{name.capitalize()}: {group['where']} Medians of {group['repeats']} runs (a third for the slow ones), "
            f"taking turns.",
            "",
            "| what | ours | stock | ratio | wanted |",
            "|---|---|---|---|---|",
            *(Ratio(**row).row() for row in group["rows"]),
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
