"""Choices that hold for a whole evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

from dsmt_nnunet.statistics.proportions import IntervalMethod


@dataclass(frozen=True)
class EvaluationSettings:
    """How intervals are made.

    Attributes:
        interval: of proportions, "wilson" or "clopper-pearson".
        level: confidence level of every interval.
        n_resamples: bootstrap resamples; 0 leaves the bootstrap out.
        seed: of the bootstrap.
        prevalence: share of positives where the model is to be used, for predictive values and net benefit; None for
            that of the cases.
        partial_specificity: lowest specificity of the partial AUC; None where it is not asked for.
        margin: largest loss of AUC that is accepted where non-inferiority is asked; None where it is not.
    """

    interval: IntervalMethod = "wilson"
    level: float = 0.95
    n_resamples: int = 2000
    seed: int = 0
    prevalence: float | None = None
    margin: float | None = None
    partial_specificity: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("n_resamples", self.n_resamples), ("seed", self.seed)):
            if not isinstance(value, Integral):
                raise ValueError(f"{name} of the bootstrap must be a whole number, got {value!r}.")
        if not 0.5 <= self.level < 1:
            raise ValueError(f"The confidence level must lie in 0.5 to 1 (1 excluded), got {self.level:g}.")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"The seed of the bootstrap is a whole number from 0 to {2**32 - 1}, got {self.seed}.")
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            raise ValueError(f"--prevalence lies strictly between 0 and 1, got {self.prevalence:g}.")
        if self.margin is not None and not 0 < self.margin < 1:
            raise ValueError(f"--margin lies strictly between 0 and 1, got {self.margin:g}.")
        if self.partial_specificity is not None and not 0 <= self.partial_specificity < 1:
            raise ValueError(f"--partial-auc lies in 0 to 1 (1 excluded), got {self.partial_specificity:g}.")
        if self.n_resamples != 0 and self.n_resamples < 100:
            raise ValueError(
                f"The bootstrap needs at least 100 resamples (2000 is usual), or 0 for none; got {self.n_resamples}."
            )
        if 0 < self.n_resamples < 2 / (1 - self.level):
            raise ValueError(
                f"Bootstrap intervals of level {self.level:g} need at least {math.ceil(2 / (1 - self.level))} "
                f"resamples, or 0 for none; got {self.n_resamples}."
            )
