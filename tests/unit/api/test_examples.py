"""The examples of the public names and of the tour run as they stand."""

from __future__ import annotations

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import dsmt_nnunet as dsmt
from dsmt_nnunet import api

MODULES = sorted(path.stem for path in Path(api.__path__[0]).glob("*.py") if path.stem != "__init__")
TOUR = Path(__file__).resolve().parents[3] / "docs" / "python.md"
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None of nnU-Net's variables; what the examples write goes away."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_extTrainer"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    assert doctest.testmod(import_module(f"dsmt_nnunet.api.{name}"), optionflags=OPTIONS).failed == 0


def test_the_tour_runs() -> None:
    text = re.sub(r"^```.*$", "", TOUR.read_text(encoding="utf-8"), flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, {}, TOUR.name, str(TOUR), 0)
    assert len(test.examples) > 10
    assert doctest.DocTestRunner(optionflags=OPTIONS).run(test).failed == 0


def public_functions() -> list[Any]:
    """Functions, classes with behaviour and their public methods."""
    found: list[Any] = []
    for name in dsmt.__all__:
        item = getattr(dsmt, name)
        if inspect.isfunction(item):
            found.append(item)
        elif inspect.isclass(item) and item.__module__.startswith("dsmt_nnunet.api"):
            found += [member for key, member in vars(item).items() if inspect.isfunction(member) and key[0] != "_"]
    return found


def test_every_public_function_has_an_example() -> None:
    functions = public_functions()
    assert len(functions) >= 8
    assert [item.__qualname__ for item in functions if ">>>" not in (item.__doc__ or "")] == []
