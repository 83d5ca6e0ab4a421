"""Simulates every interval and test, and keeps what it finds in docs/results/coverage.csv."""

from __future__ import annotations

import argparse
import csv
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.coverage.cases import SCENARIOS, Cases, Scenario, draw
from benchmarks.coverage.detection import detection_outcomes
from benchmarks.coverage.folds import fold_outcomes
from benchmarks.coverage.grades import class_outcomes, grade_outcomes
from benchmarks.coverage.outcome import Outcome, rates
from benchmarks.coverage.readers import reader_outcomes, seed_outcomes
from benchmarks.coverage.scores import comparison_outcomes, score_outcomes
from dsmt_nnunet.evaluation.settings import EvaluationSettings

TABLE = Path(__file__).resolve().parents[2] / "docs" / "results" / "coverage.csv"
COLUMNS = (
    "scenario",
    "group",
    "what",
    "coverage",
    "type_1_error",
    "undefined",
    "draws",
    "standard_error",
    "resamples",
)
GROUPS: dict[str, Callable[[Scenario, Cases, EvaluationSettings], Iterator[Outcome]]] = {
    "scores": score_outcomes,
    "comparisons": comparison_outcomes,
    "grades": grade_outcomes,
    "classes": class_outcomes,
    "folds": fold_outcomes,
    "readers": reader_outcomes,
    "seeds": seed_outcomes,
    "detection": detection_outcomes,
}
HARD_GROUPS = ("scores", "comparisons")
"""Asked in every scenario; the others in those of a usual size."""
Row = dict[str, str]


def measure(group: str, scenario: Scenario, n_draws: int, n_resamples: int) -> list[Row]:
    """Rows of one group in one scenario; draw k is the same in every group."""
    outcomes: dict[str, list[Outcome]] = {}
    for seed in range(n_draws):
        settings = EvaluationSettings(n_resamples=n_resamples, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for outcome in GROUPS[group](scenario, draw(scenario, np.random.default_rng([seed, 7])), settings):
                outcomes.setdefault(outcome.name, []).append(outcome)
    rows = []
    for name, results in outcomes.items():
        found = rates(results)
        values = (scenario.name, group, name, *map(_shown, (found.coverage, found.type_1_error, found.undefined)))
        error = math.sqrt(0.05 * 0.95 / len(results))
        values += (str(len(results)), f"{error:.4f}", str(n_resamples))
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Writes docs/results/coverage.csv; rows of groups that are not measured anew are kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks coverage", description=__doc__)
    parser.add_argument("--draws", type=int, default=2000, help="of each scenario")
    parser.add_argument("--resamples", type=int, default=500, help="of each bootstrap")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="the others are kept")
    known = [item.name for item in SCENARIOS]
    parser.add_argument("--scenarios", nargs="+", choices=known, default=known, help="the others are kept")
    parser.add_argument("--output", type=Path, default=TABLE)
    args = parser.parse_args(arguments)
    rows = _read(args.output)
    for group in args.only:
        for scenario in SCENARIOS:
            if scenario.name not in args.scenarios or (scenario.is_hard and group not in HARD_GROUPS):
                continue
            fresh = measure(group, scenario, args.draws, args.resamples)
            rows = [row for row in rows if (row["scenario"], row["group"]) != (scenario.name, group)] + fresh
            for row in fresh:
                print("  ".join(row.values()), flush=True)
            _write(args.output, rows)


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return rows if rows and tuple(rows[0]) == COLUMNS else []


def _write(path: Path, rows: list[Row]) -> None:
    scenarios, groups = [item.name for item in SCENARIOS], list(GROUPS)
    rows = sorted(rows, key=lambda row: (scenarios.index(row["scenario"]), groups.index(row["group"])))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _shown(share: float) -> str:
    return "" if math.isnan(share) else f"{share:.3f}"


if __name__ == "__main__":
    main()
