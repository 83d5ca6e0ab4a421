"""The commands that the documentation's pages for a start tell people to type are ones that `dsmt` knows."""

from __future__ import annotations

import argparse
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from dsmt_nnunet.cli.main import COMMANDS

DOCS = Path(__file__).resolve().parents[3] / "docs"
COMMAND = re.compile(r"^dsmt .+$", re.MULTILINE)


def commands(page: str) -> list[str]:
    return COMMAND.findall((DOCS / page).read_text(encoding="utf-8"))


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(exit_on_error=False)
    subparsers = whole.add_subparsers(dest="command", required=True)
    for name in COMMANDS:
        import_module(f"dsmt_nnunet.cli.{name}").add_parser(subparsers)
    return whole


@pytest.mark.parametrize("line", [*commands("tutorial.md"), *commands("dicom.md")])
def test_a_line_is_understood(line: str) -> None:
    words = shlex.split(line.split("  #")[0])[1:]
    assert parser().parse_args(words).command == words[0]


def test_the_tutorial_has_its_steps() -> None:
    told = {shlex.split(line)[1] for line in commands("tutorial.md")}
    assert {"convert", "plan", "train", "evaluate", "report", "predict", "export", "model"} <= told


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_stay_within_the_site(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (DOCS / page).read_text(encoding="utf-8")):
        assert target.startswith("https://") or ((DOCS / target).exists() and ".." not in target), target
