"""What an argument must be, told in one sentence before any work is done; `type=` and `action=` of argparse."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_MOST = 2**32
"""Seeds of NumPy's generators lie below."""


def seed(text: str) -> int:
    """A whole number from 0, as random generators take it."""
    if not (text.isascii() and text.isdecimal() and int(text) < _MOST):
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to {_MOST - 1}, got '{text}'")
    return int(text)


def count(text: str) -> int:
    """A whole number from 1."""
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"it must be a whole number from 1, got '{text}'")
    return int(text)


def file_to_read(text: str) -> Path:
    """A file; whoever reads it says where there is none."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; a file is needed")
    return path


def file_to_write(text: str) -> Path:
    """A file, in a folder that is there or can be made."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; give the name of a file in it")
    folder_to_write(str(path.parent))
    return path


def folder_to_write(text: str) -> Path:
    """A folder, there or to be made: neither it nor what it lies in is a file."""
    path = Path(text)
    place = next((place for place in (path, *path.parents) if place.exists()), path)
    if place.exists() and not place.is_dir():
        raise argparse.ArgumentTypeError(f"{place} is a file; results go into a folder")
    return path


class EachOnce(argparse.Action):
    """Several values, each of which counts once."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        given: Sequence[object] = values
        if repeated := sorted({str(value) for value in given if list(given).count(value) > 1}):
            raise argparse.ArgumentError(self, f"each counts once, but {', '.join(repeated)} is given several times")
        setattr(namespace, self.dest, values)
