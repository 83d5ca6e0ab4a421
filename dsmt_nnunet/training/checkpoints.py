"""Which checkpoint of a fold a training goes on from, and which cases it has learnt from."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from dsmt_nnunet.files import check_archive

TRAINING_CASES = "dsmt_training_cases"
"""Of a checkpoint's `init_args`: the digest of the cases that it learns from."""


def cases_digest(case_ids: Iterable[str]) -> str:
    """A digest of a set of cases, which names none of them."""
    return sha256("\n".join(sorted(case_ids)).encode()).hexdigest()[:16]


def whole_checkpoint(named: Path) -> tuple[Path, str]:
    """The checkpoint that `--c` chose, or, where that is damaged, the one of the same fold that got farthest.

    Args:
        named: the file that nnU-Net chose.

    Returns:
        The file, and what is to be said of it; "" for the one chosen.

    Raises:
        ValueError: no checkpoint of the fold is whole.
    """
    try:
        check_archive(named)
    except ValueError as error:
        found = [
            (epoch, path) for path in sorted(named.parent.glob("checkpoint_*.pth")) if (epoch := _epoch(path)) >= 0
        ]
        if not found:
            raise ValueError(f"{error} No other checkpoint in {named.parent} is whole.") from error
        epoch, path = max(found)
        return path, f"{error} Going on from {path.name}, after epoch {epoch - 1}, the last one that is whole."
    return named, ""


def _epoch(path: Path) -> int:
    """The epoch that comes next, -1 of a file that is damaged or no checkpoint."""
    try:
        check_archive(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=False, mmap=True)
        return int(content["current_epoch"])
    except (ValueError, KeyError, TypeError, RuntimeError, OSError):
        return -1
