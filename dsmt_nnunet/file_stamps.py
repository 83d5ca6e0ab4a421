"""What a derived file remembers of the files that it was made from: their content, found out cheaply."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from dsmt_nnunet.files import write_json

_CHUNK = 1 << 24
Moments: TypeAlias = tuple[tuple[int, ...], ...]
"""Of each file what the system says of it: where it lies, how long it is, and when it was changed."""


@dataclass(frozen=True)
class FileStamp:
    """A file as it was.

    Attributes:
        size: in bytes.
        changed_ns: time of its last change.
        crc32: of its content.
    """

    size: int
    changed_ns: int
    crc32: str

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Reads a file."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, _crc32(path))

    def fits(self, path: Path) -> bool:
        """Whether a file has the content it had; it is read only if size and time do not tell."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        return path.stat().st_mtime_ns == self.changed_ns or _crc32(path) == self.crc32


def moments_of(paths: Iterable[Path]) -> Moments:
    """Sizes and times of files: the same again in one process where nobody has written to them in between.

    Raises:
        OSError: one of them is not there.
    """
    found = [path.stat() for path in paths]
    return tuple((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in found)


def stamps_of(paths: Iterable[Path]) -> dict[str, list[int | str]]:
    """The stamps of files by their names, as JSON holds them."""
    stamps = {path.name: FileStamp.of(path) for path in paths}
    return {name: [stamp.size, stamp.changed_ns, stamp.crc32] for name, stamp in sorted(stamps.items())}


def stamps_fit(stamps: Mapping[str, Any], paths: Iterable[Path]) -> bool:
    """Whether files are those, and have the content, that `stamps_of` noted."""
    by_name = {path.name: path for path in paths}
    if not isinstance(stamps, Mapping) or set(stamps) != set(by_name):
        return False
    try:
        return all(FileStamp(*map(_typed, values, (int, int, str))).fits(by_name[n]) for n, values in stamps.items())
    except (TypeError, ValueError):
        return False


def note_files(note: Path, paths: Iterable[Path]) -> None:
    """Writes the stamps of files into a JSON file."""
    write_json(note, stamps_of(paths))


def note_fits(note: Path, paths: Iterable[Path]) -> bool:
    """Whether the files are those that `note_files` noted; False where there is no note, or a damaged one."""
    try:
        return stamps_fit(json.loads(note.read_text(encoding="utf-8")), paths)
    except (OSError, ValueError):
        return False


def _typed(value: Any, wanted: type) -> Any:
    if not isinstance(value, wanted):
        raise TypeError(f"{value!r} is no {wanted.__name__}")
    return value


def _crc32(path: Path) -> str:
    checksum = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return f"{checksum:08x}"
