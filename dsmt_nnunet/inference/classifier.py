"""One nodule through the networks of all folds: the code that training's validation and prediction share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.covariates import Covariates, encode
from dsmt_nnunet.dataloading.context_volumes import ContextVolume
from dsmt_nnunet.dataloading.padding import fill_values, inside_scan
from dsmt_nnunet.geometry import ArrayGeometry, Point, centred_start, component_at, crop, equivalent_diameter_mm
from dsmt_nnunet.intensities import TOUCH_MM
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.predictions.operating_point import OperatingPoint
from dsmt_nnunet.predictions.results import DEEP_FEATURES, NodulePrediction, TaskPrediction
from dsmt_nnunet.tasks import Task, TaskKind

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class NoduleOutput:
    """What the networks say of one nodule-centred patch.

    Attributes:
        start: first voxel of the patch in the preprocessed array.
        segmentation: (K, Z, Y, X) logits, the mean over mirrorings and folds.
        fold_probabilities: task name -> (folds, classes).
        descriptors: (M,), the mean over the folds; empty in a model that is deep alone.
        contributions: task name -> (scores, D + 1): share of each descriptor, of each column of the covariates and,
            last, of the deep features in the score, in log odds, the mean over the folds; empty likewise.
        covariates: of the model, None where not known.
    """

    start: tuple[int, ...]
    segmentation: Array
    fold_probabilities: Mapping[str, Array]
    descriptors: Array = field(default_factory=lambda: np.zeros(0))
    contributions: Mapping[str, Array] = field(default_factory=dict)
    covariates: Covariates = field(default_factory=dict)


@dataclass(frozen=True)
class _Seen:
    """What one network sees, the mean over mirrorings: segmentation (K, Z, Y, X) and a task's deep scores (1, S)."""

    segmentation: Tensor
    deep: list[Tensor]


@dataclass(frozen=True)
class NoduleClassifier:
    """Classifies nodules of preprocessed cases.

    Attributes:
        networks: one a fold, without deep supervision, on `device`.
        plan: tasks and inputs.
        patch_size: of the local patch.
        mirror_axes: spatial axes along which predictions are mirrored and averaged; empty for none.
        device: where the networks are.
        batch_size: mirrorings that go through a network at once; what training had memory for is enough here.
    """

    networks: Sequence[DSMTNet]
    plan: DSMTPlan
    patch_size: Sequence[int]
    mirror_axes: Sequence[int]
    device: torch.device
    batch_size: int = 1

    @torch.inference_mode()
    def __call__(
        self,
        data: Array,
        geometry: ArrayGeometry,
        context: ContextVolume,
        voxel: Point,
        covariates: Covariates | None = None,
    ) -> NoduleOutput:
        """
        Args:
            data: (C, Z, Y, X) preprocessed case.
            geometry: where it lies in the world.
            context: its coarse copy.
            voxel: centre of the nodule, in voxel coordinates of `data`.
            covariates: of the nodule; what is left out is not known.
        """
        told = {covariate.name: (covariates or {}).get(covariate.name) for covariate in self.plan.covariates}
        columns = torch.tensor([encode(self.plan.covariates, told)], device=self.device)
        fill = fill_values(self.plan.padding_value, data)
        size = [int(length) for length in self.patch_size]
        start = centred_start(voxel, size)
        local = self._to_device(crop(data, start, size, fill))
        surroundings = self._to_device(context.patch(geometry.to_world(voxel), self.plan.context.grid))
        valid = torch.from_numpy(inside_scan(data.shape[1:], start, size))[None].to(self.device)
        seen = [self._seen(network, local, surroundings) for network in self.networks]
        mean_segmentation = torch.stack([one.segmentation for one in seen]).mean(0)
        check_finite_logits(mean_segmentation)
        # Measured once, under the mask that is told: the mean over the folds is better than any of them.
        first = self.networks[0]
        measured = first.measure(local, first.nodule_prob(mean_segmentation[None]), valid)
        inputs = None if measured is None else torch.cat([measured, columns], dim=1)
        logits = [
            network.answer(one.deep, network.wide_scores(inputs))
            for network, one in zip(self.networks, seen, strict=True)
        ]
        tasks = self.plan.schema.tasks
        probabilities = {
            task.name: torch.cat([torch.softmax(fold[position], -1) for fold in logits]).cpu().numpy()
            for position, task in enumerate(tasks)
        }
        segmentation = mean_segmentation.cpu().numpy()
        if measured is None or inputs is None:
            return NoduleOutput(start, segmentation, probabilities)
        of_folds = [_contributions(network, inputs, one.deep) for network, one in zip(self.networks, seen, strict=True)]
        contributions = {
            task.name: torch.stack([fold[position] for fold in of_folds]).mean(0).cpu().numpy()
            for position, task in enumerate(tasks)
        }
        return NoduleOutput(start, segmentation, probabilities, measured[0].cpu().numpy(), contributions, told)

    def _to_device(self, patch: Array) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(patch, dtype=np.float32))[None]
        return tensor.to(self.device)

    def _seen(self, network: DSMTNet, local: Tensor, context: Tensor) -> _Seen:
        network.eval()
        none = [torch.zeros((), device=self.device)] * len(network.task_heads)
        segmentations, deep = [], []
        for batch in _batches(mirrorings(self.mirror_axes), self.batch_size):
            locals_, contexts = (
                torch.cat([torch.flip(patch, _dims(axes)) for axes in batch]) for patch in (local, context)
            )
            output = network(locals_, contexts, none)
            segmentations += [torch.flip(output.segmentation[i : i + 1], _dims(axes)) for i, axes in enumerate(batch)]
            deep.append(output.deep)
        scores = [torch.cat(own).mean(0, keepdim=True) for own in zip(*deep, strict=True)]
        return _Seen(torch.cat(segmentations).mean(0), scores)


def _contributions(network: DSMTNet, inputs: Tensor, deep: Sequence[Tensor]) -> list[Tensor]:
    """One (S, D + 1) tensor a task: of each column of the wide part and, last, of the deep features."""
    return [
        torch.cat([head.wide.contributions(inputs)[0], (head.share * own[0])[:, None]], dim=1)
        for head, own in zip(network.task_heads, deep, strict=True)
        if head.wide is not None
    ]


def check_finite_logits(logits: Tensor) -> None:
    """
    Raises:
        ValueError: a logit of the segmentation is NaN or infinite, so that no mask can be drawn from them.
    """
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(
            "the segmentation is not finite: the checkpoint or the image is damaged. No decision is made of it."
        )


def mirrorings(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """All combinations of axes, the empty one first."""
    return [combination for count in range(len(axes) + 1) for combination in itertools.combinations(axes, count)]


def _batches(items: Sequence[tuple[int, ...]], size: int) -> Iterator[Sequence[tuple[int, ...]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _dims(axes: Sequence[int]) -> list[int]:
    """Dimensions of a (B, C, Z, Y, X) tensor."""
    return [axis + 2 for axis in axes]


def volume_at_centre(output: NoduleOutput, voxel: Point, spacing_mm: Sequence[float]) -> float:
    """Volume in mm3 of the predicted nodule at a position, 0 where none is within `TOUCH_MM` of it."""
    mask = output.segmentation.argmax(0) > 0
    inside = np.asarray(voxel) - np.asarray(output.start)
    component = component_at(mask, inside, spacing_mm, TOUCH_MM)
    return float(np.count_nonzero(component)) * float(np.prod(spacing_mm))


def answer(
    fold_probabilities: Mapping[str, Array], plan: DSMTPlan, operating_point: OperatingPoint | None
) -> dict[str, TaskPrediction]:
    """Calibrates each fold's probabilities, averages them and decides at the operating point."""
    answers = {}
    for task in plan.schema.tasks:
        folds = np.asarray(fold_probabilities[task.name], dtype=float)
        if not np.isfinite(folds).all():
            broken = np.flatnonzero(~np.isfinite(folds).all(axis=-1)).tolist()
            raise ValueError(
                f"the probabilities of {task.name} are not finite (network {broken} of {len(folds)}, counted from 0): "
                f"the checkpoint or the image is damaged. No decision is made of them."
            )
        asked = task if task.kind is TaskKind.NOMINAL else task.as_binary()
        own = folds if asked is task else task.binary_probabilities(folds)
        if operating_point is not None:
            own = operating_point.calibrate(task.name, own)
        mean = own.mean(0)
        threshold = None
        decision = asked.classes[int(mean.argmax())]
        if asked.is_binary:
            threshold = operating_point.threshold(task.name) if operating_point is not None else 0.5
            decision = asked.classes[int(mean[1] >= threshold)]
        answers_of_grades = {} if asked is task else _by_class(asked, mean)
        if asked is task:
            folds = own
        spread = _by_class(task, folds.std(0)) if len(folds) > 1 else {}
        answers[task.name] = TaskPrediction(
            _by_class(task, folds.mean(0)), spread, decision, threshold, answers_of_grades
        )
    return answers


def _by_class(task: Task, values: Array) -> dict[str, float]:
    return dict(zip(task.classes, values.tolist(), strict=True))


def describe(
    output: NoduleOutput,
    nodule_id: str,
    centre_mm: Point,
    volume_mm3: float,
    plan: DSMTPlan,
    operating_point: OperatingPoint | None,
) -> NodulePrediction:
    """What is told of a nodule: the answers, what they rest on, and the diameter of the sphere of the same volume."""
    x_mm, y_mm, z_mm = (float(value) for value in centre_mm)
    names = () if plan.wide is None else plan.wide.descriptors
    tasks = answer(output.fold_probabilities, plan, operating_point)
    for task in plan.schema.tasks:
        if task.name in output.contributions:
            shares = contributions_of(output.contributions[task.name], task, tasks[task.name].decision)
            told = dict(zip((*names, *plan.covariate_columns, DEEP_FEATURES), shares.tolist(), strict=True))
            tasks[task.name] = replace(tasks[task.name], contributions=told)
    measured = dict(zip(names, output.descriptors.tolist(), strict=True)) if output.descriptors.size else {}
    diameter_mm = equivalent_diameter_mm(volume_mm3)
    return NodulePrediction(nodule_id, (x_mm, y_mm, z_mm), diameter_mm, volume_mm3, tasks, measured, output.covariates)


def contributions_of(contributions: Array, task: Task, decision: str) -> Array:
    """(D + 1,) share of each descriptor and of the deep features in one answer, in log odds.

    Of a binary or ordinal task in its only score; of a nominal task in the score of the decision, less the mean over
    the classes, which no probability depends on.

    Args:
        contributions: (scores, D + 1).
        task: its kind and classes.
        decision: class name.
    """
    if task.kind is not TaskKind.NOMINAL:
        only: Array = contributions[0]
        return only
    centred: Array = contributions[task.classes.index(decision)] - contributions.mean(0)
    return centred
