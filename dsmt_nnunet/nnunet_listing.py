"""The one thing of nnU-Net's listing of folders that is patched: by how many processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from pathlib import Path

from nnunetv2.utilities import utils

MOST_FILES = 1000
"""A folder of so many is listed within half a second; the time grows with the square."""


@contextmanager
def listed_in_this_process(raw_dataset: Path) -> Iterator[None]:
    """While it lasts, nnU-Net lists folders in threads, unless the data set has very many images.

    nnU-Net starts twelve processes to list a folder, each a fork of this one. Beside torch that takes a second, and
    planning lists six times.

    Args:
        raw_dataset: folder of the raw data set.
    """
    images = raw_dataset / "imagesTr"
    if not images.is_dir() or sum(1 for _ in images.iterdir()) > MOST_FILES:
        yield
        return
    processes, utils.Pool = utils.Pool, ThreadPool
    try:
        yield
    finally:
        utils.Pool = processes
