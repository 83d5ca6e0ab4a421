"""A start that is not from zero: what a network takes of other weights, by name and shape, and what it does not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.tasks import Task

ENCODER, DECODER, SEGMENTATION_LAYERS = "encoder", "decoder", "segmentation layers"
POOLING, CONTEXT_ENCODER, FEATURE_NORM = "pooling", "context encoder", "scale of the features"
_BACKBONE = (ENCODER, DECODER, SEGMENTATION_LAYERS)
_FEATURES = (ENCODER, DECODER, POOLING, CONTEXT_ENCODER, FEATURE_NORM)
"""What a head rests on."""
_OURS = {"pooling.": POOLING, "context_encoder.": CONTEXT_ENCODER, "feature_norm.": FEATURE_NORM}
_PREFIX = re.compile(r"(?P<prefix>.*?)encoder\.")
_HEAD_OF = "head of "
_HEAD = re.compile(r"heads\.(?P<index>\d+)\.(?P<rest>.*)")


@dataclass(frozen=True)
class StartOfPart:
    """What one part of the network took.

    Attributes:
        name: of the part, such as "encoder" or "head of texture".
        taken: tensors that start at the given weights.
        tensors: that the part has.
        why: why not all were taken; empty where they were.
    """

    name: str
    taken: int
    tensors: int
    why: str = ""


@dataclass(frozen=True)
class Start:
    """What was taken and what was not.

    Attributes:
        parts: of the network, in its order.
        unused: in words, what the weights hold for which the network has no place.
    """

    parts: tuple[StartOfPart, ...]
    unused: tuple[str, ...]

    def sentences(self) -> list[str]:
        """For the log: one of what was taken, one of what was left at its start, one of what was not used."""
        taken = [f"{part.name} ({part.taken} of {part.tensors} tensors)" for part in self.parts if part.taken]
        left = [f"{part.name} ({part.why})" for part in self.parts if part.taken < part.tensors]
        sentences = [f"Taken: {', '.join(taken)}.", f"Left at their start: {', '.join(left) or 'nothing'}."]
        if any(part.taken for part in self.parts if part.name.startswith(_HEAD_OF)):
            sentences.append("Wide parts, thresholds and shares are fitted to the nodules of this training.")
        if self.unused:
            sentences.append(f"Not used of the weights: {', '.join(self.unused)}.")
        return sentences


def take_start(
    network: DSMTNet, tasks: Sequence[Task], state: Mapping[str, Tensor], of_tasks: Sequence[Task] | None
) -> Start:
    """Starts a network at weights of nnU-Net, of nnssl or of another DSMT network.

    Encoder and decoder take every tensor whose name and shape they share, as those of nnU-Net have the names of ours.
    The layers that make the segmentation are taken of DSMT networks alone, whose label is the nodule; nnU-Net leaves
    them too. Pooling, context encoder and heads are taken whole or not at all: a head where its task has the same name
    and classes and all that it rests on was taken whole. Wide parts and thresholds are fitted before training begins,
    and the shares of the deep parts are decided anew, so none of them is taken.

    Args:
        network: changed in place.
        tasks: the network's, in the order of its heads.
        state: a state dict, with a prefix before its names or without.
        of_tasks: those of the network that the weights are of; None where they are not known.

    Raises:
        ValueError: nothing of the encoder fits.
    """
    state = _without_prefix(state)
    wanted = _wanted(network, tasks, state, of_tasks)
    parts: list[StartOfPart] = []
    for name, (places, why) in wanted.items():
        fitting, problem = _fitting(places, state) if not why else ({}, why)
        complete = all(part.taken == part.tensors for part in parts if part.name in _FEATURES)
        if name not in _BACKBONE and len(fitting) < len(places):
            fitting = {}
        if name.startswith(_HEAD_OF) and not why and not complete:
            fitting, problem = {}, "what it rests on was not taken whole"
        if name == ENCODER and not fitting:
            raise ValueError(
                f"Nothing of the encoder fits these weights: {problem}. Plan with the architecture that they were "
                f"trained with, or start without them."
            )
        with torch.no_grad():
            for place, value in fitting.items():
                places[place].tensor.copy_(value)
        parts.append(StartOfPart(name, len(fitting), len(places), problem))
    return Start(tuple(parts), tuple(_unused(network, tasks, state, of_tasks)))


@dataclass(frozen=True)
class _Place:
    """A tensor of the network and the names it goes by there, or in the weights where they number heads otherwise."""

    tensor: Tensor
    names: tuple[str, ...]


_Places = dict[str, _Place]


def _wanted(
    network: DSMTNet, tasks: Sequence[Task], state: Mapping[str, Tensor], of_tasks: Sequence[Task] | None
) -> dict[str, tuple[_Places, str]]:
    """Part -> its tensors, and why none of them may be taken."""
    parts: dict[str, tuple[_Places, str]] = {}
    is_dsmt = any(_HEAD.fullmatch(name) for name in state)
    for name, place in _tensors(network).items():
        head = _HEAD.fullmatch(name)
        if head is None:
            part = _part_of(name)
            why = "of other labels" if part == SEGMENTATION_LAYERS and not is_dsmt else ""
        else:
            task = tasks[int(head["index"])]
            if not head["rest"].startswith("deep."):
                continue
            part = f"{_HEAD_OF}{task.name}"
            index, why = _same_task(task, of_tasks, is_dsmt)
            place = _Place(place.tensor, (f"heads.{index}.{head['rest']}",))
        parts.setdefault(part, ({}, why))[0][name] = place
    return parts


def _part_of(name: str) -> str:
    if name.startswith("encoder."):
        return ENCODER
    if name.startswith("decoder."):
        return SEGMENTATION_LAYERS if ".seg_layers." in name else DECODER
    return next(part for prefix, part in _OURS.items() if name.startswith(prefix))


def _same_task(task: Task, of_tasks: Sequence[Task] | None, is_dsmt: bool) -> tuple[int, str]:
    """Number of the head that answers the same there, or why there is none."""
    if not is_dsmt:
        return -1, "not in the weights"
    if of_tasks is None:
        return -1, "the weights do not say what their heads answer"
    for index, other in enumerate(of_tasks):
        if other.name != task.name:
            continue
        if (other.kind, other.classes) == (task.kind, task.classes):
            return index, ""
        return -1, f"{other.kind.value} of {', '.join(other.classes)} there"
    return -1, "not asked there"


def _fitting(places: _Places, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Tensor -> value of the same shape, and why others have none."""
    fitting: dict[str, Tensor] = {}
    lacking, other_shape = [], []
    for name, place in places.items():
        value = next((state[alias] for alias in place.names if alias in state), None)
        if value is None:
            lacking.append(name)
        elif value.shape != place.tensor.shape:
            other_shape.append(f"{name} is {_shape(value)} there and {_shape(place.tensor)} here")
        else:
            fitting[name] = value
    reasons = []
    if other_shape:
        reasons.append(f"{len(other_shape)} of another shape: {other_shape[0]}")
    if lacking:
        everything = len(lacking) == len(places)
        reasons.append("not in the weights" if everything else f"{len(lacking)} not in the weights: {lacking[0]}")
    return fitting, "; ".join(reasons)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _tensors(network: DSMTNet) -> _Places:
    """First name -> tensor; nnU-Net's networks hold some of theirs under several names."""
    first: dict[int, str] = {}
    places: _Places = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        known = first.setdefault(id(tensor), name)
        places[known] = _Place(tensor, (*places[known].names, name) if known in places else (name,))
    return places


def _without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without what wrappers (DistributedDataParallel, torch.compile, nnssl) put before its names."""
    found = Counter(match["prefix"] for name in state if (match := _PREFIX.match(name)))
    prefixes = [prefix for prefix in found if not prefix.endswith(("decoder.", "context_"))]
    prefix = max(prefixes, key=lambda own: found[own], default="")
    return {name.removeprefix(prefix): value for name, value in state.items()}


def _unused(
    network: DSMTNet, tasks: Sequence[Task], state: Mapping[str, Tensor], of_tasks: Sequence[Task] | None
) -> Iterator[str]:
    own = network.state_dict()
    strange = [name for name in state if name not in own and _HEAD.fullmatch(name) is None]
    if strange:
        yield f"{len(strange)} tensors that have no place here, such as {strange[0]}"
    asked = {task.name for task in tasks}
    for task in of_tasks or ():
        if task.name not in asked:
            yield f"the head of {task.name}"
