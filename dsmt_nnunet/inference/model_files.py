"""Loading a model folder without nnU-Net's environment, and without running code that it brings."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.environment import best_device
from dsmt_nnunet.files import check_archive
from dsmt_nnunet.inference.predictor import DSMTPredictor
from dsmt_nnunet.inference.weights import PLAIN_NUMBERS
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.tasks import ClassificationSchema

DEFAULT_CHECKPOINT = "checkpoint_final.pth"
_NETWORKS = "dynamic_network_architectures."
_LAYERS = "torch.nn."
_NEEDED = ("network_weights", "trainer_name", "init_args")


def load_predictor(
    folder: Path,
    folds: Sequence[int | str] | None = None,
    checkpoint: str = DEFAULT_CHECKPOINT,
    device: str | None = None,
    *,
    mirroring: bool = True,
    trust: bool = False,
) -> DSMTPredictor:
    """Loads a model folder.

    Args:
        folder: with plans.json, dataset.json and fold_K.
        folds: numbers, or "all"; None for all that hold the checkpoint.
        checkpoint: file in each fold's folder.
        device: cuda, mps or cpu; None for the first that is there.
        mirroring: whether answers are averaged over mirrorings.
        trust: whether checkpoint and plans may run code of their own.

    Raises:
        FileNotFoundError: no model is there, or a fold lacks the checkpoint.
        ValueError: not a DSMT model, folds of different configurations, no such device, or code would run.
    """
    plans, dataset_json = (read_json(folder / name, folder) for name in ("plans.json", "dataset.json"))
    plan = DSMTPlan.from_plans(plans)
    if ClassificationSchema.from_dataset_json(dataset_json) != plan.schema:
        raise ValueError(f"{folder}: plans.json and dataset.json name different tasks or classes. One was changed.")
    paths = checkpoint_paths(folder, folds, checkpoint)
    checkpoints = [read_checkpoint(path, trust) for path in paths]
    manager = PlansManager(plans)
    configuration = manager.get_configuration(_configuration_name(checkpoints, plans, folder))
    if not trust:
        check_architecture(configuration.configuration["architecture"], folder)
    network = build_network(
        plan,
        configuration,
        determine_num_input_channels(manager, configuration, dataset_json),
        manager.get_label_manager(dataset_json).num_segmentation_heads,
        enable_deep_supervision=False,
    )
    where = usable_device(device)
    with contextlib.redirect_stdout(io.StringIO()):  # it tells that a CPU is no GPU
        stock = nnUNetPredictor(device=where, use_mirroring=mirroring, allow_tqdm=False)
    for path, content in zip(paths, checkpoints, strict=True):
        _check_weights(network, content["network_weights"], path)
    first = checkpoints[0]
    stock.manual_initialization(
        network,
        manager,
        configuration,
        [content["network_weights"] for content in checkpoints],
        dataset_json,
        first["trainer_name"],
        first.get("inference_allowed_mirroring_axes"),
    )
    return DSMTPredictor.adopt(stock, folder, paths)


def usable_device(name: str | None) -> torch.device:
    """The device of that name, the first that is there without one.

    Raises:
        ValueError: there is no such device here.
    """
    kind = (name or best_device()).partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind):
        raise ValueError(f"The device is one of {[own for own in there if there[own]]} here, got '{name}'.")
    return torch.device(name or kind)


def _configuration_name(checkpoints: Sequence[Mapping[str, Any]], plans: Mapping[str, Any], folder: Path) -> str:
    """The configuration with which all folds were trained."""
    names = sorted({str(content["init_args"]["configuration"]) for content in checkpoints})
    if len(names) != 1:
        raise ValueError(f"{folder}: the folds were trained with different configurations, {names}.")
    if names[0] not in plans.get("configurations", {}):
        raise ValueError(f"{folder}: its plans.json has no configuration {names[0]}, which it was trained with.")
    return names[0]


def _check_weights(network: torch.nn.Module, weights: Mapping[str, Any], path: Path) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit its plans.json: {' '.join(str(error).split())[:300]}") from error


def check_model(folder: Path, folds: Sequence[int | str] | None, checkpoint: str = DEFAULT_CHECKPOINT) -> None:
    """Checks that a model's checkpoints and plans can be read without running code that they bring.

    Raises:
        FileNotFoundError: no model is there, or a fold lacks the checkpoint.
        ValueError: a file is damaged, or would run code.
    """
    plans = read_json(folder / "plans.json", folder)
    for path in checkpoint_paths(folder, folds, checkpoint):
        configuration = str(read_checkpoint(path, trust=False)["init_args"]["configuration"])
        architecture = PlansManager(plans).get_configuration(configuration).configuration["architecture"]
        check_architecture(architecture, folder)


def checkpoint_paths(folder: Path, folds: Sequence[int | str] | int | None, checkpoint: str) -> list[Path]:
    """The checkpoints of the fold or folds named, or of all that hold one ("all" only where there is no other).

    Raises:
        FileNotFoundError: there is none, or a fold lacks it.
    """
    trained = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint}"))
    if not trained:
        raise FileNotFoundError(f"{folder} holds no fold_K/{checkpoint}. Was the training finished?")
    folds = [folds] if isinstance(folds, str | int) else folds
    chosen = (
        [str(fold) for fold in folds] if folds is not None else [name for name in trained if name != "all"] or trained
    )
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"A fold counts once, got {chosen}.")
    missing = [fold for fold in chosen if fold not in trained]
    if missing or not chosen:
        raise FileNotFoundError(f"{folder} has no {checkpoint} of the folds {missing}; there are {trained}.")
    return [folder / f"fold_{fold}" / checkpoint for fold in chosen]


def read_checkpoint(path: Path, trust: bool) -> dict[str, Any]:
    """
    Raises:
        ValueError: the file is damaged, or (unless trusted) holds more than weights and plain values.
    """
    content = read_plain(path, trust, "If you know who made it, load it with trust=True (--trust).")
    lacking = [key for key in _NEEDED if key not in content]
    if lacking or not isinstance(content["network_weights"], dict) or "configuration" not in content["init_args"]:
        raise ValueError(f"{path} is no checkpoint of nnU-Net: it lacks {lacking or 'weights or configuration'}.")
    return content


def read_plain(path: Path, trust: bool, advice: str) -> dict[str, Any]:
    """What torch saved to a file.

    Args:
        path: the file.
        trust: whether it may run code of its own.
        advice: what to do where it wants to.

    Raises:
        ValueError: it is damaged, or (unless trusted) holds more than weights and plain values.
    """
    check_archive(path)
    try:
        with torch.serialization.safe_globals(PLAIN_NUMBERS):
            content = torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than weights and plain values, and reading it could run code. {advice} "
            f"({str(error).splitlines()[0]})"
        ) from error
    return content if isinstance(content, dict) else {}


def check_architecture(architecture: Mapping[str, Any], folder: Path) -> None:
    """Refuses names in the plans that nnU-Net would import from elsewhere."""
    kwargs = architecture["arch_kwargs"]
    layers = [kwargs[name] for name in architecture["_kw_requires_import"] if kwargs.get(name) is not None]
    foreign = [name for name in layers if not str(name).startswith(_LAYERS)]
    if not str(architecture["network_class_name"]).startswith(_NETWORKS):
        foreign.append(architecture["network_class_name"])
    if foreign:
        raise ValueError(
            f"{folder}/plans.json names {foreign}, which import code that is neither {_LAYERS}* nor {_NETWORKS}*. "
            f"If you know who made it, load it with trust=True (--trust)."
        )


def read_json(path: Path, folder: Path) -> dict[str, Any]:
    """
    Raises:
        FileNotFoundError: there is no such file in the model folder.
        ValueError: it is no JSON object.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no model folder: it has no {path.name}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is cut off or damaged ({error}). Take it from a copy.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object.")
    return content
