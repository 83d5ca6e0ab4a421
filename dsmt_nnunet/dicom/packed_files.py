"""The files of an export, whether they lie in folders, in zips, or in zips within these."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

DEEPEST = 3
"""Zips within zips that are looked into: a hospital's of a patient's of a study's."""


@dataclass(frozen=True)
class PackedFile:
    """One file of an export.

    Attributes:
        path: the file, or the zip that holds it.
        members: its name inside the zip; before it those of the zips in between.
    """

    path: Path
    members: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Where it lies, for messages."""
        return ":".join((str(self.path), *self.members))

    @property
    def suffix(self) -> str:
        """Ending of its own name, in lower case."""
        return Path(self.members[-1] if self.members else self.path).suffix.lower()

    def read(self) -> bytes:
        """What it holds."""
        if not self.members:
            return self.path.read_bytes()
        *zips, member = self.members
        outer = io.BytesIO(_inner(self.path, tuple(zips), _state(self.path))) if zips else self.path
        with zipfile.ZipFile(outer) as archive:
            return archive.read(member)


@lru_cache(maxsize=1)
def _inner(path: Path, members: tuple[str, ...], state: tuple[int, int]) -> bytes:
    """A zip within a zip; kept while the outer one is the same, since its files are read one after the other."""
    return PackedFile(path, members).read()


def _state(path: Path) -> tuple[int, int]:
    """Size and time of change: another export may come to lie at the same place."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def walk(path: Path) -> Iterator[PackedFile]:
    """Every file of a folder, a zip or of what is one file alone, in the order of their names.

    Raises:
        ValueError: a zip is damaged, has a password, or holds zips within zips deeper than `DEEPEST`.
    """
    for file in [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file()):
        if zipfile.is_zipfile(file):
            yield from _of_zip(PackedFile(file))
        else:
            yield PackedFile(file)


def _of_zip(packed: PackedFile) -> Iterator[PackedFile]:
    if len(packed.members) >= DEEPEST:
        raise ValueError(f"{packed.name}: it holds zips within zips within zips. Unpack the outer ones.")
    try:
        with zipfile.ZipFile(packed.path if not packed.members else io.BytesIO(packed.read())) as archive:
            names = sorted(item.filename for item in archive.infolist() if not item.is_dir())
        for name in names:
            inner = PackedFile(packed.path, (*packed.members, name))
            if inner.suffix == ".zip":
                yield from _of_zip(inner)
            else:
                yield inner
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"{packed.name}: the zip cannot be read ({error}). Export it again, without password."
        ) from error
