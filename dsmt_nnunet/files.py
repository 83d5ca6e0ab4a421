"""What a whole file is: written elsewhere, flushed to the disk, read back, and only then given its name.

A file is written in a hidden folder beside its place, `.dsmt-HOST-PID-NUMBER.tmp`, under its own name (many writers
choose the format by the ending), and renamed. A reader sees the old file or the new one, never half of one. A run that
was killed leaves such a folder; the next one that writes there takes it away and says so.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
import shutil
import socket
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

logger = logging.getLogger(__name__)

STALE_AFTER_S = 24 * 3600.0
"""After so long without a change, what another machine left is taken for the rest of a killed run."""

FORMULA_STARTS = "=+-@\t\r"
"""With these, what a spreadsheet program runs begins."""

_ENCRYPTED = 1
"""The bit that says so of a file in a zip."""
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]*[.,]?[0-9]+(?:[eE][+-]?[0-9]+)?|[+-]|-?inf|-?nan")
_looked_at: set[str] = set()
_LEFTOVER = re.compile(r"\.dsmt-(?P<host>[0-9a-f]{8})-(?P<pid>[0-9]+)-[0-9a-f]{8}\.tmp")


@contextmanager
def whole_file(path: str | Path, check: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """A place to write a file to; at a clean exit it becomes `path`.

    Args:
        path: where the file belongs. Its folder must be there.
        check: reads the written file back and raises OSError where it is not what was to be written.

    Raises:
        FileNotFoundError: its folder is not there.
        OSError: the file was not written whole; what stood at `path` before is still there.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}.")
    _clean_once(path.parent)
    hidden = temporary_folder(path.parent)
    hidden.mkdir()
    try:
        written = hidden / path.name
        yield written
        flush(written)
        if check is not None:
            check(written)
        written.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # of a write: the system does not say to which file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes a whole file and compares what can be read back with what was to be written.

    Raises:
        OSError: the disk is full, or what was read back differs.
    """
    with whole_file(path, lambda written: _check_bytes(written, content)) as place:
        place.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Writes a whole text file, UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, content: Any, indent: int | None = 1) -> None:
    """Writes a whole JSON file that every parser reads.

    Raises:
        ValueError: the content holds NaN or an infinite number.
        OSError: see `write_bytes`.
    """
    write_text(path, json.dumps(content, indent=indent, allow_nan=False, ensure_ascii=False) + "\n")


def write_rows(path: str | Path, rows: Iterable[Sequence[object]], line_end: str = "\r\n") -> None:
    """Writes a whole CSV file (UTF-8, commas), the header being the first row; see `write_bytes` and `harmless`."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=line_end).writerows([harmless(cell) for cell in row] for row in rows)
    write_text(path, stream.getvalue())


def harmless(cell: object) -> object:
    """A cell that a spreadsheet program would take for a formula, behind a quote; `csv_table` takes the quote away."""
    if not isinstance(cell, str) or _PLAIN_NUMBER.fullmatch(cell):
        return cell
    start = cell[1:2] if cell.startswith("'") else cell[:1]
    return f"'{cell}" if start and start in FORMULA_STARTS else cell


def write_array(path: str | Path, array: npt.NDArray[np.generic]) -> None:
    """Writes a whole .npy file, and reads it back."""

    def check(written: Path) -> None:
        if checksum(np.load(written)) != checksum(array):
            raise OSError(f"{path}: other values were read back than were written. Is the disk full or failing?")

    with whole_file(path, check) as place:
        np.save(place, array)


def check_archive(path: Path, look: Callable[[zipfile.ZipFile], None] | None = None) -> None:
    """Checks a zip file, such as a checkpoint of torch, against the checksums it was written with.

    Args:
        path: the file.
        look: raises ValueError where the list of what it holds is not as it should be; before anything is unpacked.

    Raises:
        ValueError: it is damaged, cut off or locked, or holds a name twice, of which readers take one or the other.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.casefold() for name in archive.namelist()]
            if (
                twice := sorted({name for name in names if names.count(name) > 1})
                if len(set(names)) < len(names)
                else []
            ):
                raise ValueError(f"{path} holds '{twice[0]}' twice (letter case does not count). Make it anew.")
            if any(entry.flag_bits & _ENCRYPTED for entry in archive.infolist()):
                raise ValueError(f"{path} is locked with a password. Unpack it, and pack it again without one.")
            if look is not None:
                look(archive)
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{path} is damaged or cut off ({error}). Take it from a copy, or train anew.") from error
    if broken is not None:
        raise ValueError(f"{path} is damaged: its part {broken} does not fit its checksum. Take it from a copy.")


def flush(path: Path) -> None:
    """Has the system put a file on the disk; a full disk shows here at the latest."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def temporary_folder(parent: Path) -> Path:
    """A name for a hidden folder of this process that `clean_leftovers` recognises."""
    return parent / f".dsmt-{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"


def clean_leftovers(folder: Path) -> list[Path]:
    """Takes away what killed runs left in a folder, and says so; what running processes write is left alone."""
    removed = []
    for path in folder.glob(".dsmt-*.tmp"):
        if is_leftover(path.name, path):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
            logger.warning("Removed %s, left by a run that was killed.", path)
    return removed


def _clean_once(folder: Path) -> None:
    """`clean_leftovers`, once a process: listing a folder for each of thousands of files takes longer than these."""
    place = os.path.abspath(folder)
    if place not in _looked_at:
        clean_leftovers(folder)
        _looked_at.add(place)


def is_leftover(name: str, path: Path) -> bool:
    """Whether a temporary folder's process is gone: known on the same machine, taken for so by age on others."""
    parts = _LEFTOVER.fullmatch(name)
    if parts is None:
        return False
    if parts["host"] == _host():
        return int(parts["pid"]) != os.getpid() and not _is_alive(int(parts["pid"]))
    try:
        return time.time() - path.stat().st_mtime > STALE_AFTER_S
    except FileNotFoundError:
        return False


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _check_bytes(path: Path, expected: bytes) -> None:
    found = path.read_bytes()
    if found != expected:
        raise OSError(
            f"{path.name}: {len(found)} bytes were read back, {len(expected)} written, or they differ. "
            f"Is the disk full or failing?"
        )


def checksum(array: npt.NDArray[np.generic]) -> tuple[tuple[int, ...], int]:
    """Shape and CRC-32 of an array's values."""
    return array.shape, zlib.crc32(np.ascontiguousarray(array).data)


def last_line(error: Exception) -> str:
    """Of an error's message: libraries put their stack before the reason."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems know no fsync of a folder
        logger.debug("%s cannot be flushed.", folder)
    finally:
        os.close(descriptor)
