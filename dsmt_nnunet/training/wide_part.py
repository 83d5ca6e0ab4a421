"""The wide part during a training: fitted first, given out of fold while the deep part learns, and fitted anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from torch import Tensor

from dsmt_nnunet.architecture.heads import TaskHead
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.dataloading.context_volumes import ContextStore
from dsmt_nnunet.dataloading.padding import fill_values, inside_scan
from dsmt_nnunet.dataloading.sampling import NO_NODULE, SampledNodule
from dsmt_nnunet.geometry import centred_start, crop
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.tasks import Task
from dsmt_nnunet.training.losses import target_table
from dsmt_nnunet.training.wide import (
    SCALE_SD,
    Calibration,
    FloatArray,
    WideFit,
    calibrate,
    fit_wide,
    out_of_fold_scores,
    start_thresholds,
)

HELD_OUT = 5
"""One patient in so many teaches the deep part nothing until its share has been decided."""
SHARES = tuple(round(0.05 * step, 2) for step in range(21))
NEEDED_ERRORS = 1.0
"""The deep part is worth having where its gain of log likelihood is larger than so many standard errors of the gain."""


@dataclass(frozen=True)
class Patches:
    """Nodule-centred patches as prediction sees them.

    Attributes:
        local: (B, C, Z, Y, X).
        mask: (B, Z, Y, X), the given mask, 0 or 1.
        valid: (B, Z, Y, X) bool, voxels that lie in the scan.
        context: (B, C, G, G, G).
    """

    local: Tensor
    mask: Tensor
    valid: Tensor
    context: Tensor


@dataclass(frozen=True)
class NodulePatches:
    """Reads the patches of nodules from nnU-Net's preprocessed cases."""

    dataset: nnUNetBaseDataset
    store: ContextStore
    plan: DSMTPlan
    patch_size: tuple[int, ...]
    device: torch.device
    batch_size: int = 8

    def of(self, nodules: Sequence[SampledNodule]) -> Iterator[Patches]:
        """Batches, in the order of the nodules."""
        for start in range(0, len(nodules), self.batch_size):
            samples = [self._sample(nodule) for nodule in nodules[start : start + self.batch_size]]
            stacked = [torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*samples, strict=True)]
            yield Patches(stacked[0], stacked[1], stacked[2], stacked[3])

    def _sample(self, nodule: SampledNodule) -> tuple[npt.NDArray[np.generic], ...]:
        data, segmentation, _, _ = self.dataset.load_case(nodule.case_id)
        start = centred_start(nodule.voxel, self.patch_size)
        local = crop(data, start, self.patch_size, fill_values(self.plan.padding_value, data))
        mask = crop(segmentation, start, self.patch_size, [0])[0] > 0
        centre_mm = self.store.local_geometry(nodule.case_id).to_world(nodule.voxel)
        context = self.store.load(nodule.case_id).patch(centre_mm, self.plan.context.grid)
        valid = inside_scan(data.shape[1:], start, self.patch_size)
        return local.astype(np.float32), mask.astype(np.float32), valid, context.astype(np.float32)


class WidePart:
    """What the wide part says of the nodules of a training, and what the deep part may add to it."""

    def __init__(
        self, network: DSMTNet, plan: DSMTPlan, nodules: Sequence[SampledNodule], patches: NodulePatches
    ) -> None:
        """
        Args:
            network: its heads are fitted.
            plan: tasks and penalty.
            nodules: of the training cases, whose indices batches carry.
            patches: reads them.
        """
        self._network, self._plan, self._nodules, self._patches = network, plan, list(nodules), patches
        self._targets = target_table(nodules, plan.schema)
        self._covariates = np.zeros((len(nodules), len(plan.covariate_columns)))
        for row, nodule in zip(self._covariates, nodules, strict=True):
            row[:] = nodule.covariates
        groups = [nodule.group for nodule in nodules]
        self._held_out = torch.tensor([group % HELD_OUT == HELD_OUT - 1 for group in groups] + [False])
        self._given: FloatArray | None = None
        self._calibrations: dict[int, Calibration] = {}
        self._offsets = [torch.zeros(len(nodules) + 1, head.scores) for head in network.task_heads]
        on_probation = plan.training.probation_epochs > 0
        self._undecided = {
            position for position, head in enumerate(network.task_heads) if on_probation and not bool(head.decided)
        }

    def prepare(self, continued: bool) -> None:
        """Measures the nodules under their given masks and fits the wide part, unless a training goes on.

        Out-of-fold answers and their calibration are made in any case; they follow from the data alone.
        """
        if self._plan.wide is None:
            if not continued:
                for head, targets, task in self._heads():
                    head.take_thresholds(torch.from_numpy(start_thresholds(targets, task)).float())
            return
        self._given = self._measured(lambda patches: patches.mask)
        groups = [nodule.group for nodule in self._nodules]
        for position, (head, targets, task) in enumerate(self._heads()):
            if np.isnan(targets).any(axis=1).all():
                continue
            columns, penalties = self._covariates.shape[1], np.array(self._plan.wide_penalties)
            scores = out_of_fold_scores(self._given, targets, groups, task, penalties, covariates=columns)
            calibration = calibrate(scores, targets, task, SCALE_SD)
            self._calibrations[position] = calibration
            self._offsets[position][:-1] = torch.from_numpy(calibration.scale * scores).float()
            if not continued:
                fit = fit_wide(self._given, targets, task, penalties, covariates=columns)
                fit.scaled(calibration).give_to(head)

    def ask_fitted(self) -> None:
        """Takes for every nodule what the heads, fitted on others, say of it under its given mask."""
        if self._plan.wide is None or not self._nodules:
            return
        measured = torch.from_numpy(self._measured(lambda patches: patches.mask)).float()
        for own, head in zip(self._offsets, self._network.task_heads, strict=True):
            assert head.wide is not None
            own[:-1] = head.wide(measured.to(head.bias.device)).cpu()

    def _heads(self) -> Iterator[tuple[TaskHead, FloatArray, Task]]:
        for head, table, task in zip(self._network.task_heads, self._targets, self._plan.schema.tasks, strict=True):
            yield head, table[:-1].double().numpy(), task

    @torch.no_grad()
    def _measured(self, mask_of: Callable[[Patches], Tensor]) -> FloatArray:
        """(N, D) descriptors of all nodules under some mask, and their covariates."""
        rows = []
        for patches in self._patches.of(self._nodules):
            measured = self._network.measure(patches.local, mask_of(patches), patches.valid)
            assert measured is not None
            rows.append(measured.double().cpu().numpy())
        return np.concatenate([np.concatenate(rows), self._covariates], axis=1)

    def batch(self, nodules: npt.ArrayLike, device: torch.device, training: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Targets (B, K) and wide scores (B, S) a task for the nodules of a batch.

        Args:
            nodules: (B,) indices; `NO_NODULE` has no target.
            device: where to.
            training: whether held-out patients are kept from what a deep part whose share is not decided learns.
        """
        index = torch.as_tensor(nodules)
        index = torch.where(index == NO_NODULE, len(self._nodules), index)
        targets = [table[index] for table in self._targets]
        if training and self._undecided:
            hidden = self._held_out[index][:, None]
            targets = [
                torch.where(hidden, torch.nan, own) if position in self._undecided else own
                for position, own in enumerate(targets)
            ]
        return [_copied(own, device) for own in targets], [_copied(own[index], device) for own in self._offsets]

    def decide_shares(self, last: bool) -> list[str]:
        """Gives heads the share of their deep part that the held-out patients justify; a sentence about each.

        The share maximises the likelihood of their labels beside the out-of-fold wide answer, at the best scale and
        thresholds of each sum: what is only a louder wide answer gains nothing. Where the gain is within
        `NEEDED_ERRORS` of chance, the deep part learns on without the held-out patients, or ends with a share of 0.

        Args:
            last: whether it is not asked again.
        """
        chosen = [index for index, held in enumerate(self._held_out[:-1].tolist()) if held]
        if not chosen or not self._undecided:
            return []
        deep = self._deep_scores([self._nodules[index] for index in chosen])
        rows, sentences = torch.tensor(chosen), []
        for position, (head, targets, task) in enumerate(self._heads()):
            own = targets[chosen]
            if position not in self._undecided:
                continue
            if not np.isnan(own).any(axis=1).all():
                found = decide_share(self._offsets[position][rows].double(), deep[position].double(), own, task)
                sentences.append(found.sentence(task))
                if not found.share and not last:
                    continue
                head.share.fill_(found.share)
            head.decided.fill_(True)
            self._undecided.remove(position)
        return sentences

    @torch.no_grad()
    def _deep_scores(self, nodules: Sequence[SampledNodule]) -> list[Tensor]:
        was_training = self._network.training
        self._network.eval()
        batches = []
        for patches in self._patches.of(nodules):
            nodule = self._network.describe(patches.local)
            deep = self._network.deep_scores(nodule, self._network.describe_context(patches.context))
            batches.append([own.cpu() for own in deep])
        self._network.train(was_training)
        return [torch.cat(own) for own in zip(*batches, strict=True)]

    @torch.no_grad()
    def finish(self) -> None:
        """Fits the wide part anew under given and predicted masks, each nodule counting once.

        Thresholds stay where a deep part has its share in the answer, to which training has adapted them.
        """
        if self._plan.wide is None or self._given is None:
            return
        self._network.eval()
        predicted = self._measured(lambda patches: self._network.nodule_prob(self._network(patches.local)))
        descriptors = np.concatenate([self._given, predicted])
        halves, columns = np.full(len(descriptors), 0.5), self._covariates.shape[1]
        for position, (head, targets, task) in enumerate(self._heads()):
            if position not in self._calibrations:
                continue
            with torch.enable_grad():
                both = np.concatenate([targets, targets])
                fit = fit_wide(descriptors, both, task, np.array(self._plan.wide_penalties), halves, columns)
            fit = fit.scaled(self._calibrations[position])
            if float(head.share):
                take_weights(head, fit)
            else:
                fit.give_to(head)


def _copied(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device; a step does not wait for the copy, for which its memory has to be pinned."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def take_weights(head: TaskHead, fit: WideFit) -> None:
    """Takes over a fit without its thresholds, which training has adapted to the whole answer."""
    thresholds = head.bias.detach().clone()
    fit.give_to(head)
    with torch.no_grad():
        head.bias.copy_(thresholds)


@dataclass(frozen=True)
class DecidedShare:
    """What the deep part is worth on nodules that it did not learn from.

    Attributes:
        share: taken, 0 to 1.
        gain: of log likelihood over the wide answer alone, by the best share.
        error: standard error of the gain over the nodules.
        nodules: with a known label.
    """

    share: float
    gain: float
    error: float
    nodules: int

    def sentence(self, task: Task) -> str:
        """For the log."""
        return (
            f"Share of the deep part in {task.name}: {self.share:g} (at best it gains {self.gain:.2f} log likelihood, "
            f"standard error {self.error:.2f}, on {self.nodules} nodules that it did not learn from)."
        )


def decide_share(wide: Tensor, deep: Tensor, targets: FloatArray, task: Task) -> DecidedShare:
    """The share of the deep scores beside the wide ones, see `WidePart.decide_shares`.

    Args:
        wide: (N, S), out of fold.
        deep: (N, S), of nodules that the deep part did not learn from.
        targets: (N, K); rows with NaN are not known.
        task: its kind and classes.
    """
    known = ~np.isnan(targets).any(axis=1)
    fits = [calibrate((wide + share * deep).numpy(), targets, task).log_likelihoods[known] for share in SHARES]
    best = int(np.argmax([fit.sum() for fit in fits]))
    gains = fits[best] - fits[0]
    gain, error = float(gains.sum()), float(gains.std() * np.sqrt(len(gains)))
    return DecidedShare(SHARES[best] if gain > NEEDED_ERRORS * error else 0.0, gain, error, len(gains))
