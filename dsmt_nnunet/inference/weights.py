"""Which weights a network has: what predictions, operating points and explanations are tied to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

_LETTERS = 16
PLAIN_NUMBERS: list[Any] = [
    np.float32(0).__reduce__()[0],
    np.dtype,
    *(type(np.dtype(name)) for name in ("float16", "float32", "float64", "int32", "int64", "bool")),
]
"""What nnU-Net's log of losses in a checkpoint is made of, beside what torch allows anyway."""


def weights_digest(state: Mapping[str, torch.Tensor]) -> str:
    """The first letters of the SHA-256 of a state dict: names, types, shapes and bytes, whatever file it lay in."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:_LETTERS]


def check_weights(state: Mapping[str, torch.Tensor]) -> None:
    """
    Raises:
        ValueError: a weight is NaN or infinite.
    """
    broken = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ValueError(f"{len(broken)} of its tensors hold NaN or infinity (such as {broken[0]}). It is damaged.")


def check_no_copies(digests: Mapping[str, str]) -> None:
    """
    Raises:
        ValueError: two networks are one, whose answer would count twice.
    """
    first: dict[str, str] = {}
    for name, digest in digests.items():
        if (earlier := first.setdefault(digest, name)) != name:
            raise ValueError(f"{name} holds the same weights as {earlier}, and a fold counts once. Remove the copy.")


def checkpoint_files(folder: Path, folds: Sequence[int | str] | str | None, name: str) -> list[Path]:
    """The files that nnU-Net's predictor reads, in its order: those of `folds`, or of all that hold one."""
    if folds is None:
        return [path for path in sorted(folder.glob(f"fold_*/{name}")) if path.parent.name != "fold_all"]
    listed = [folds] if isinstance(folds, str) else folds
    return [path for fold in listed if (path := folder / f"fold_{fold}" / name).is_file()]
