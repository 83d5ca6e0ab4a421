"""Whether plans are those with which a checkpoint was trained: its weights mean nothing under others."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dsmt_nnunet.inference.weights import PLAIN_NUMBERS, check_weights
from dsmt_nnunet.nnunet_files import resolve_configuration
from dsmt_nnunet.plan import PLAN_KEY, DSMTPlan

_OF_PLANS = ("foreground_intensity_properties_per_channel", "transpose_forward", "transpose_backward")
_SHARED = {"trainer_name": "trainers", "inference_allowed_mirroring_axes": "axes of mirroring"}
"""What all folds of a model have alike."""
_FREE_OF_CONFIGURATION = ("batch_size", "batch_dice", "data_identifier", "preprocessor_name")
_FREE_OF_BLOCK = ("training", "decisions", "min_diameter_mm", "max_candidates", "mirror_scans")
"""What concerns training alone, is told to people, or may be chosen at prediction; the rest decides the answers."""
_NEEDED = ("trainer_name", "network_weights", "optimizer_state", "init_args", "current_epoch", "logging")
"""Of a checkpoint from which a training goes on."""


def check_trained_with(checkpoint: Path, plans: Mapping[str, Any], place: str = "lie in its model's folder") -> None:
    """Compares plans with those that a checkpoint keeps of its training.

    Plans change in a model's folder when another fold is trained after planning anew, with classes in another order
    perhaps: nnU-Net writes the new ones over them.

    Args:
        checkpoint: of nnU-Net's trainer, or of `export_model`; one that keeps no plans fits any.
        plans: of the model folder, or of a training.
        place: of the plans, in words.

    Raises:
        ValueError: they differ in what an answer rests on; says in what.
    """
    own = _content(checkpoint).get("init_args", {})
    if "plans" not in own:
        return
    name = str(own["configuration"])
    then, now = (dict(_read_by_prediction(some, name)) for some in (own["plans"], plans))
    if changed := sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key)):
        raise ValueError(
            f"{checkpoint} was trained with other plans than {place}: they differ in "
            f"{', '.join(changed)}. Were the data planned anew between two folds, or was plans.json edited? Put the "
            f"plans of the training back, or train this fold again."
        )


def check_trained_by(checkpoint: Path, trainer: str) -> None:
    """Checks that a training goes on from, or validates, what it wrote itself.

    Args:
        checkpoint: a whole file.
        trainer: name of the trainer's class.

    Raises:
        ValueError: another trainer wrote it, it is no checkpoint, or its weights hold NaN.
    """
    content = torch.load(checkpoint, map_location="cpu", weights_only=False, mmap=True)
    lacking = [key for key in _NEEDED if not isinstance(content, dict) or key not in content]
    if lacking:
        raise ValueError(f"{checkpoint} is no checkpoint of a training: it lacks {', '.join(lacking)}.")
    if content["trainer_name"] != trainer:
        raise ValueError(
            f"{checkpoint} was trained by {content['trainer_name']}, not by {trainer}. Name that trainer (-tr), or "
            f"start a training of this one from its weights (-pretrained_weights, without --c)."
        )
    try:
        check_weights(content["network_weights"])
    except ValueError as error:
        raise ValueError(f"{checkpoint}: {error} Go on from another checkpoint, or train anew.") from error


def check_one_training(checkpoints: Sequence[Path]) -> None:
    """Compares what the folds of a model say of their training, beside the plans.

    Raises:
        ValueError: they were trained by several trainers, or mirrored over different axes.
    """
    for key, what in _SHARED.items():
        told = {path: content[key] for path in checkpoints if key in (content := _content(path))}
        first = next(iter(told), None)
        if first and (other := next((path for path in told if told[path] != told[first]), None)):
            raise ValueError(
                f"{first} and {other} have different {what} ({told[first]} and {told[other]}): they are no folds of "
                f"one model. Keep each model in a folder of its own."
            )


def _content(checkpoint: Path) -> Mapping[str, Any]:
    """Of a checkpoint, its weights left on the disk; nothing of one that would run code, or of an old format."""
    try:
        with torch.serialization.safe_globals(PLAIN_NUMBERS):
            found = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_by_prediction(plans: Mapping[str, Any], configuration: str) -> Iterator[tuple[str, Any]]:
    """What an answer rests on, name and value as JSON has it."""
    content = json.loads(json.dumps(plans))
    yield from ((key, content.get(key)) for key in _OF_PLANS)
    resolved = resolve_configuration(content, configuration)
    yield from ((key, value) for key, value in resolved.items() if key not in _FREE_OF_CONFIGURATION)
    # An entry that an earlier release did not write has its default.
    block = DSMTPlan.from_plans(content).to_block() if PLAN_KEY in content else {}
    yield from ((f"{PLAN_KEY}.{key}", value) for key, value in block.items() if key not in _FREE_OF_BLOCK)
