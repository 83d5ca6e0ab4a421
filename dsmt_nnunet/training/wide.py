"""Fitting the wide part of a head: a penalised linear answer on descriptors, by maximum likelihood, to convergence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from sklearn.model_selection import GroupKFold
from torch import Tensor

from dsmt_nnunet.architecture.heads import CLIP, TaskHead
from dsmt_nnunet.tasks import Task, TaskKind

FloatArray = npt.NDArray[np.float64]
MOST_ITERATIONS = 200
_SMALLEST_SD = 1e-6
_LEAST_SHARE = 0.5
"""So many cases are added to each class, spread over all, that a class without a case keeps a finite threshold."""
LARGEST_SCALE = 3.0
"""Of scores that a penalty has shrunk: larger ones come from a handful of cases that happen to be separated."""
SCALE_SD = 0.5
"""Of the scale about 1 before anything is seen: a few dozen nodules do not know it better, some hundreds do."""


@dataclass(frozen=True)
class WideFit:
    """A fitted wide answer.

    Attributes:
        mean, scale: (D,) of the descriptors, by which they are standardised; of covariates where they are known.
        weight: (S, D), of the standardised descriptors in log odds.
        thresholds: (K - 1,) of a binary or ordinal task, (K,) biases of a nominal one.
        expected: (C, M), of the covariates, the last C of D columns, from the descriptors before them, all
            standardised: what stands for one that is not known.
    """

    mean: FloatArray
    scale: FloatArray
    weight: FloatArray
    thresholds: FloatArray
    expected: FloatArray

    def scores(self, descriptors: FloatArray) -> FloatArray:
        """(N, S) of descriptors (N, D)."""
        scores: FloatArray = standardise(descriptors, self.mean, self.scale, self.expected) @ self.weight.T
        return scores

    def scaled(self, calibration: Calibration) -> WideFit:
        """The same answer with scores that mean what they say."""
        return replace(self, weight=calibration.scale * self.weight, thresholds=calibration.thresholds)

    def give_to(self, head: TaskHead) -> None:
        """Puts it into a head, thresholds too.

        Raises:
            ValueError: the head has no wide part.
        """
        if head.wide is None:
            raise ValueError("This head has no wide part to be fitted: its plan leaves the descriptors out.")
        parts = (self.mean, self.scale, self.weight, self.expected)
        head.wide.take(*(torch.from_numpy(part).float() for part in parts))
        head.take_thresholds(torch.from_numpy(self.thresholds).float())


@dataclass(frozen=True)
class Calibration:
    """How scores become probabilities.

    Attributes:
        scale: the scores' factor, from 0 to `LARGEST_SCALE`.
        thresholds: as in `WideFit`, of the scaled scores.
        log_likelihoods: (N,) of each nodule, NaN where its label is not known.
    """

    scale: float
    thresholds: FloatArray
    log_likelihoods: FloatArray


def standardise(
    descriptors: FloatArray, mean: FloatArray, scale: FloatArray, expected: FloatArray | None = None
) -> FloatArray:
    """(N, D) of zero mean and unit variance, held within `CLIP` standard deviations.

    A NaN among the covariates is not known, and becomes what is expected, see `WideFit`; None where there are none.
    """
    standardised: FloatArray = np.clip((descriptors - mean) / scale, -CLIP, CLIP)
    if expected is not None:
        first = standardised.shape[1] - len(expected)
        told, likely = standardised[:, first:], standardised[:, :first] @ expected.T
        standardised[:, first:] = np.where(np.isnan(told), np.clip(likely, -CLIP, CLIP), told)
    return standardised


def _expected(standardised: FloatArray, covariates: int, penalty: FloatArray, weight: FloatArray) -> FloatArray:
    """(C, M): ridge regression of each covariate, where it is known, on the descriptors; all are standardised.

    Args:
        standardised: (N, D), NaN where a covariate is not known.
        covariates: C.
        penalty: (M,), of the descriptors.
        weight: (N,), of the nodules.
    """
    first = standardised.shape[1] - covariates
    found = np.zeros((covariates, first))
    for row, column in zip(found, standardised[:, first:].T, strict=True):
        known = ~np.isnan(column)
        own = standardised[known, :first] * weight[known, None]
        row[:] = np.linalg.solve(own.T @ standardised[known, :first] + np.diag(penalty), own.T @ column[known])
    return found


def _moments(descriptors: FloatArray, covariates: int) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation (D,) of what is known; 0 and 1 of what never is, 1 of what is always the same."""
    mean, sd = descriptors.mean(axis=0), descriptors.std(axis=0)
    for column in range(descriptors.shape[1] - covariates, descriptors.shape[1]):
        known = descriptors[~np.isnan(descriptors[:, column]), column]
        mean[column], sd[column] = (known.mean(), known.std()) if known.size else (0.0, 0.0)
    return mean, np.where(sd < _SMALLEST_SD, 1.0, sd)


def fit_wide(
    descriptors: FloatArray,
    targets: FloatArray,
    task: Task,
    penalty: float | FloatArray,
    sample_weight: FloatArray | None = None,
    covariates: int = 0,
) -> WideFit:
    """Maximises the penalised likelihood of soft labels.

    Binary: logistic regression. Ordinal: proportional odds, one score and rising thresholds (McCullagh, J. R. Stat.
    Soc. B 42:109, 1980). Nominal: multinomial regression. Thresholds are not penalised.

    Args:
        descriptors: (N, D).
        targets: (N, K), the share of each class; rows with NaN are not known and left out.
        task: its kind and classes.
        penalty: half of it times the squared weights, summed, is added to the negative log likelihood; one number, or
            (D,).
        sample_weight: (N,), 1 each where None.
        covariates: so many of the last columns are covariates, NaN where not known.

    Raises:
        ValueError: no target is known.
    """
    known = ~np.isnan(targets).any(axis=1)
    if not known.any():
        raise ValueError(f"Task '{task.name}' has no nodule with a known label, so that there is nothing to fit.")
    weight_of = np.ones(len(targets)) if sample_weight is None else sample_weight
    own, chosen, importance = descriptors[known], targets[known], weight_of[known]
    mean, scale = _moments(own, covariates)
    head = _bare_head(task, own.shape[1], start_thresholds(chosen, task, importance))
    weight = torch.zeros(head.scores, own.shape[1], dtype=torch.float64, requires_grad=True)
    penalties = np.broadcast_to(np.asarray(penalty, dtype=np.float64), own.shape[1:])[: own.shape[1] - covariates]
    expected = _expected(standardise(own, mean, scale), covariates, penalties, importance)
    inputs = torch.from_numpy(standardise(own, mean, scale, expected))
    weighted = torch.from_numpy(chosen * importance[:, None])
    _maximise([weight, head.bias], lambda: _log_likelihood(head, inputs @ weight.T, weighted), weight, penalty)
    return WideFit(mean, scale, weight.detach().numpy().copy(), _thresholds(head), expected)


def calibrate(scores: FloatArray, targets: FloatArray, task: Task, scale_sd: float = math.inf) -> Calibration:
    """Scale and thresholds at which scores of nodules that they were not fitted on are most likely.

    A strong penalty ranks well and says too little; the slope of the out-of-fold scores gives back what it took
    (van Houwelingen and le Cessie, Stat. Med. 9:1303, 1990).

    Args:
        scores: (N, S), out of fold.
        targets: (N, K), the share of each class; rows with NaN are not known and left out.
        task: its kind and classes.
        scale_sd: standard deviation, about 1, that the scale is believed to have; infinite for no belief.

    Raises:
        ValueError: no target is known.
    """
    known = ~np.isnan(targets).any(axis=1)
    if not known.any():
        raise ValueError(f"Task '{task.name}' has no nodule with a known label, so that there is nothing to calibrate.")
    head = _bare_head(task, 1, start_thresholds(targets, task))
    louder = torch.zeros((), dtype=torch.float64, requires_grad=True)
    own, chosen = torch.from_numpy(scores[known]), torch.from_numpy(targets[known])
    _maximise(
        [louder, head.bias], lambda: _log_likelihood(head, (1 + louder) * own, chosen), louder, penalty=scale_sd**-2
    )
    held = float((1 + louder.detach()).clamp(0.0, LARGEST_SCALE))
    if held != 1 + louder.item():
        _maximise([head.bias], lambda: _log_likelihood(head, held * own, chosen))
    log_likelihoods = np.full(len(targets), np.nan)
    with torch.no_grad():
        log_likelihoods[known] = _log_likelihoods(head, held * own, chosen).numpy()
    return Calibration(held, _thresholds(head), log_likelihoods)


def _bare_head(task: Task, descriptors: int, thresholds: FloatArray) -> TaskHead:
    head = TaskHead(task, 1, 1, 0.0, descriptors).double()
    head.take_thresholds(torch.from_numpy(thresholds))
    return head


def _thresholds(head: TaskHead) -> FloatArray:
    own = head.bias if head.kind is TaskKind.NOMINAL else head.thresholds()
    return own.detach().numpy().copy()


def _log_likelihoods(head: TaskHead, scores: Tensor, targets: Tensor) -> Tensor:
    """(N,) of soft labels (N, K)."""
    return (targets * torch.log_softmax(head.logits(scores), dim=1)).sum(dim=1)


def _log_likelihood(head: TaskHead, scores: Tensor, targets: Tensor) -> Tensor:
    return _log_likelihoods(head, scores, targets).sum()


def _maximise(
    parameters: list[Tensor],
    log_likelihood: Callable[[], Tensor],
    penalised: Tensor | None = None,
    penalty: float | FloatArray = 0.0,
) -> None:
    half = torch.as_tensor(penalty, dtype=torch.float64) / 2
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=MOST_ITERATIONS, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -log_likelihood()
        if penalised is not None:
            value = value + (half * penalised.square()).sum()
        value.backward()
        return value

    optimizer.step(loss)


def start_thresholds(targets: FloatArray, task: Task, sample_weight: FloatArray | None = None) -> FloatArray:
    """Thresholds (of a nominal task biases) at which the classes have the shares that they have.

    Args:
        targets: (N, K); rows with NaN are left out.
        task: its kind.
        sample_weight: (N,), 1 each where None.
    """
    weight = np.ones(len(targets)) if sample_weight is None else sample_weight
    counts = np.nansum(targets * weight[:, None], axis=0) + _LEAST_SHARE / targets.shape[1]
    shares = counts / counts.sum()
    if task.kind is TaskKind.NOMINAL:
        return np.asarray(np.log(shares))
    below = np.cumsum(shares)[:-1]
    return np.asarray(np.log(below / (1 - below)))


def out_of_fold_scores(
    descriptors: FloatArray,
    targets: FloatArray,
    groups: Sequence[int],
    task: Task,
    penalty: float | FloatArray,
    folds: int = 5,
    covariates: int = 0,
) -> FloatArray:
    """(N, S) scores of each nodule by a fit on the patients of the other folds, thresholds left out.

    What the deep part learns beside is then what an unseen nodule's wide answer looks like, not an overfitted one.

    Args:
        descriptors: (N, D).
        targets: (N, K), see `fit_wide`.
        groups: patient of each nodule, never on both sides.
        task: its kind and classes.
        penalty: see `fit_wide`.
        folds: at most so many, one a patient.
        covariates: see `fit_wide`.
    """
    parts = min(folds, len(set(groups)))
    scores = np.zeros((len(descriptors), len(task.classes) if task.kind is TaskKind.NOMINAL else 1))
    if parts < 2:
        return scores
    for train, held_out in GroupKFold(parts).split(descriptors, groups=np.asarray(groups)):
        if not np.isnan(targets[train]).any(axis=1).all():
            fit = fit_wide(descriptors[train], targets[train], task, penalty, covariates=covariates)
            scores[held_out] = fit.scores(descriptors[held_out])
    return scores
