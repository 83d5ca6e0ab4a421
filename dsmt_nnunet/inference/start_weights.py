"""Weights to start a training from: of stock nnU-Net, of nnssl, of DSMT, or shipped with the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dsmt_nnunet.inference.model_files import DEFAULT_CHECKPOINT, checkpoint_paths, read_json, read_plain
from dsmt_nnunet.inference.model_zip import holds_model, opened_model
from dsmt_nnunet.inference.weights import check_weights, weights_digest
from dsmt_nnunet.plan import PLAN_KEY, DSMTPlan
from dsmt_nnunet.shipped_models import model_place
from dsmt_nnunet.tasks import Task
from dsmt_nnunet.training.checkpoints import TRAINING_CASES

_WEIGHTS = "network_weights"
_ADVICE = (
    "If you know who made it, keep its weights alone: "
    "torch.save({'network_weights': torch.load(FILE, weights_only=False)['network_weights']}, NEW_FILE)."
)


@dataclass(frozen=True)
class StartWeights:
    """Weights to start from.

    Attributes:
        name: of the file or model, and who trained it, without its folder.
        state: tensor names -> values.
        tasks: those of a DSMT network, in the order of its heads; None where they are not known.
        dataset: of its training; "" where that is not known.
        fold: of its training; "" where that is not known.
        training_cases: digest of the cases it learnt from, see `cases_digest`; "" where that is not known.
    """

    name: str
    state: dict[str, Tensor]
    tasks: tuple[Task, ...] | None
    dataset: str = ""
    fold: str = ""
    training_cases: str = ""


def read_start_weights(name_or_path: str | Path) -> StartWeights:
    """Reads a checkpoint, the first fold of a model's folder or zip file, or of a model that comes with the package.

    Raises:
        FileNotFoundError: there is no such file or model.
        ValueError: it is damaged, holds no weights or NaN, or more than weights and plain values.
    """
    place = model_place(name_or_path)
    if place.is_file() and not holds_model(place):
        return _read(place, place.name)
    with opened_model(place) as folder:
        path = checkpoint_paths(folder, None, DEFAULT_CHECKPOINT)[0]
        return _read(path, f"{place.name}, {path.parent.name}")


def _read(path: Path, name: str) -> StartWeights:
    content = read_plain(path, trust=False, advice=_ADVICE)
    state = content.get(_WEIGHTS)
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no weights: '{_WEIGHTS}' must be a state dict.")
    try:
        check_weights(state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    trainer = content.get("trainer_name", "an unnamed trainer")
    told = content.get("init_args") or {}
    return StartWeights(
        f"{name} of {trainer} (SHA-256 {weights_digest(state)}...)",
        state,
        _tasks(path, content),
        dataset=str(told.get("plans", {}).get("dataset_name", "")),
        fold=str(told.get("fold", "")),
        training_cases=str(told.get(TRAINING_CASES, "")),
    )


def _tasks(path: Path, content: Mapping[str, Any]) -> tuple[Task, ...] | None:
    """Of the plans in the checkpoint, or of those of the model folder that it lies in."""
    plans = (content.get("init_args") or {}).get("plans")
    folder = path.parent.parent
    if plans is None and (folder / "plans.json").is_file():
        plans = read_json(folder / "plans.json", folder)
    return DSMTPlan.from_plans(plans).schema.tasks if plans is not None and PLAN_KEY in plans else None
