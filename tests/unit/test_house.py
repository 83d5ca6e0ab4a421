"""The picture of the house: files and functions that are read at a sight, and no room that has become a house."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
SHIPPED = ("dsmt_nnunet", "trainers", "planners", "dataset_conversion")
LONGEST_FILE = 350
LONGEST_FUNCTION = 60
LARGEST_ROOM = 0.15


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((HOUSE / folder).rglob("*.py"))]


def room_of(path: Path) -> str:
    top, *others = path.relative_to(HOUSE).parts
    return others[0] if top == "dsmt_nnunet" and len(others) > 1 else top


@pytest.mark.parametrize("folder", [*SHIPPED, "benchmarks", "tests"])
def test_files_and_functions_are_short(folder: str) -> None:
    long = []
    for path in sources(folder):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(HOUSE).as_posix()
        if (lines := len(text.splitlines())) > LONGEST_FILE:
            long.append(f"{name}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    long.append(f"{name}: {node.name} has {length} lines")
    assert not long


def test_no_room_is_a_house() -> None:
    lines = Counter[str]()
    for path in sources(*SHIPPED):
        lines[room_of(path)] += len(path.read_text(encoding="utf-8").splitlines())
    assert {room for room, count in lines.items() if count > LARGEST_ROOM * lines.total()} == set()
    assert len(lines) > 10
