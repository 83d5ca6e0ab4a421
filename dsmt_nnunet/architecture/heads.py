"""One head a task: the sum of a wide answer, linear in the nodule's descriptors, and of what deep features add."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsmt_nnunet.tasks import Task, TaskKind

CLIP = 4.0
"""Standardised descriptors are held within so many standard deviations."""
_SMALLEST_GAP = 1e-3
"""Between the thresholds of neighbouring grades, in log odds."""


class WideAnswer(nn.Module):
    """A penalised linear answer on standardised descriptors. It is fitted, not trained: nothing here has a gradient."""

    mean: Tensor
    scale: Tensor
    weight: Tensor
    expected: Tensor

    def __init__(self, descriptors: int, scores: int, covariates: int = 0) -> None:
        """
        Args:
            descriptors: M, measured of the nodule.
            scores: S, scores of the task.
            covariates: C, further columns, NaN where not known; D is M + C.
        """
        super().__init__()
        self.measured = descriptors
        self.register_buffer("mean", torch.zeros(descriptors + covariates))
        self.register_buffer("scale", torch.ones(descriptors + covariates))
        self.register_buffer("weight", torch.zeros(scores, descriptors + covariates))
        self.register_buffer("expected", torch.zeros(covariates, descriptors))

    @torch.no_grad()
    def take(self, mean: Tensor, scale: Tensor, weight: Tensor, expected: Tensor) -> None:
        """Takes over a fit: `mean` and `scale` (D,), `weight` (S, D), `expected` (C, M)."""
        for own, given in ((self.mean, mean), (self.scale, scale), (self.weight, weight), (self.expected, expected)):
            own.copy_(given.reshape(own.shape))

    @torch.no_grad()
    def contributions(self, descriptors: Tensor) -> Tensor:
        """(B, S, D): the share of each column in each score, in log odds, against the mean of the training nodules.

        In place of a covariate that is not known stands what is expected of it in a nodule with these descriptors: a
        linear answer is then its mean over what the covariate may be.

        Args:
            descriptors: (B, D), or (B, M) where no covariate is known.
        """
        unknown = self.mean.numel() - descriptors.shape[1]
        descriptors = functional.pad(descriptors.float(), (0, unknown), value=torch.nan)
        standardised = ((descriptors - self.mean) / self.scale).clamp(-CLIP, CLIP)
        told = standardised[:, self.measured :]
        likely = (standardised[:, : self.measured] @ self.expected.T).clamp(-CLIP, CLIP)
        standardised[:, self.measured :] = torch.where(told.isnan(), likely, told)
        return standardised[:, None] * self.weight[None]

    def forward(self, descriptors: Tensor) -> Tensor:
        """(B, S) scores from descriptors, see `contributions`."""
        return self.contributions(descriptors).sum(dim=-1)


class TaskHead(nn.Module):
    """Answers one task from a score: of a binary or ordinal task a single one, of a nominal task one a class.

    The score is wide + share * deep. The deep part is a narrow bottleneck whose last layer starts at zero, so that
    training begins at the wide answer; `share`, between 0 and 1, is what it has been shown to be worth on nodules that
    it did not learn from, once that is `decided`.
    """

    share: Tensor
    decided: Tensor

    def __init__(
        self,
        task: Task,
        in_features: int,
        hidden_features: int,
        dropout: float,
        descriptors: int,
        covariates: int = 0,
    ) -> None:
        """
        Args:
            task: its classes and their kind.
            in_features: width of the deep features.
            hidden_features: width of the bottleneck.
            dropout: before the last layer.
            descriptors: measured for the wide part; 0 for none.
            covariates: columns of covariates beside them.
        """
        super().__init__()
        self.kind, self.classes = task.kind, len(task.classes)
        self.scores = self.classes if self.kind is TaskKind.NOMINAL else 1
        self.wide = WideAnswer(descriptors, self.scores, covariates) if descriptors else None
        last = nn.Linear(hidden_features, self.scores, bias=False)
        nn.init.zeros_(last.weight)
        self.deep = nn.Sequential(
            nn.Linear(in_features, hidden_features),
            nn.LayerNorm(hidden_features),
            nn.LeakyReLU(inplace=True),
            nn.Dropout(dropout),
            last,
        )
        start = torch.zeros(self.classes) if self.kind is TaskKind.NOMINAL else torch.zeros(self.classes - 1)
        self.bias = nn.Parameter(start)
        self.register_buffer("share", torch.ones(()))
        self.register_buffer("decided", torch.zeros((), dtype=torch.bool))

    def thresholds(self) -> Tensor:
        """(K - 1,) rising thresholds of the score, between neighbouring grades; of a binary task the only one."""
        gaps = functional.softplus(self.bias[1:]) + _SMALLEST_GAP
        return torch.cat([self.bias[:1], self.bias[:1] + gaps.cumsum(0)])

    @torch.no_grad()
    def take_thresholds(self, thresholds: Tensor) -> None:
        """Starts at given thresholds (K - 1,), or biases (K,) of a nominal task."""
        if self.kind is TaskKind.NOMINAL:
            self.bias.copy_(thresholds)
            return
        gaps = (thresholds[1:] - thresholds[:-1] - _SMALLEST_GAP).clamp(min=1e-4)
        self.bias.copy_(torch.cat([thresholds[:1], gaps + torch.log(-torch.expm1(-gaps))]))

    def logits(self, score: Tensor) -> Tensor:
        """(B, K) whose softmax is the probability of each class, from scores (B, S).

        Of grades they are logarithms of probabilities of the proportional-odds model (McCullagh, J. R. Stat. Soc. B
        42:109, 1980): the odds of lying above a threshold are exp(score - threshold).
        """
        score = score.float()
        if self.kind is TaskKind.NOMINAL:
            return score + self.bias
        above = score - self.thresholds()
        if self.kind is TaskKind.BINARY:
            return torch.cat([torch.zeros_like(above), above], dim=1)
        low, high = above[:, :-1], above[:, 1:]
        middle = functional.logsigmoid(low) + functional.logsigmoid(-high) + torch.log(-torch.expm1(high - low))
        return torch.cat([functional.logsigmoid(-above[:, :1]), middle, functional.logsigmoid(above[:, -1:])], dim=1)
