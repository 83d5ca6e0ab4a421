"""Tables for the tests of `dsmt evaluate table`, and what it makes of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from dsmt_nnunet.cli.main import main


def write_table(path: Path, columns: dict[str, object]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not valid JSON")


def strict(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def evaluate(table: Path, out: Path, *options: str) -> dict:
    assert main(["evaluate", "table", str(table), "-o", str(out), "--bootstrap", "200", *options]) == 0
    strict(out / "curves.json")
    return strict(out / "metrics.json")


def names(metrics: dict) -> set[str]:
    return {item["name"] for item in metrics["warnings"]}
