"""The stated model of invasiveness: which features a phantom nodule has, and what they say.

Every feature is scaled to t in [0, 1] and adds `log_odds * (t - E[t])` to the logit of invasiveness; the label is a
Bernoulli draw. Features are independent of one another, so that what any set of them can reach is known exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Feature:
    """One feature and its weight.

    Attributes:
        name: as in `phantom_truth.csv`.
        group: "local" (the nodule itself), "signs" (labelled signs of the nodule) or "context" (seen only further
            than `CONTEXT_FREE_MM` from the nodule).
        log_odds: change of the logit of invasiveness from the lowest to the highest value.
        low: lowest value.
        high: highest value.
        beta: parameters of the Beta distribution of the scaled value; (1, 1) is uniform.
        prevalence: set for a yes/no feature instead of `beta`.
    """

    name: str
    group: str
    log_odds: float
    low: float = 0.0
    high: float = 1.0
    beta: tuple[float, float] = (1.0, 1.0)
    prevalence: float | None = None

    @property
    def scaled_mean(self) -> float:
        """Mean of the scaled value."""
        return self.beta[0] / sum(self.beta) if self.prevalence is None else self.prevalence

    def draw(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draws values (n,), in the feature's own unit."""
        if self.prevalence is not None:
            return (rng.random(n) < self.prevalence).astype(np.float64)
        return self.low + (self.high - self.low) * rng.beta(*self.beta, size=n)

    def logit(self, values: FloatArray | float) -> FloatArray:
        """What the values add to the logit."""
        scaled = (np.asarray(values, dtype=np.float64) - self.low) / (self.high - self.low)
        return self.log_odds * (scaled - self.scaled_mean)


FEATURES = (
    Feature("solid_fraction", "local", log_odds=6.4),
    Feature("diameter_mm", "local", log_odds=2.7, low=10.0, high=20.0),
    Feature("lobulation", "local", log_odds=2.3),
    Feature("bubble_lucency", "signs", log_odds=2.6, prevalence=0.42),
    Feature("pleural_retraction", "signs", log_odds=2.6, prevalence=0.42),
    Feature("haze", "context", log_odds=4.4, beta=(0.4, 0.4)),
    Feature("scarring", "context", log_odds=3.8, beta=(0.4, 0.4)),
)
GROUPS = ("local", "signs", "context")


def draw_features(rng: np.random.Generator, n: int = 1, groups: Collection[str] = GROUPS) -> dict[str, FloatArray]:
    """Draws the features of some groups, each an array (n,)."""
    return {feature.name: feature.draw(rng, n) for feature in FEATURES if feature.group in groups}


def invasiveness_logit(values: Mapping[str, FloatArray | float], groups: Collection[str] = GROUPS) -> FloatArray:
    """Logit of invasiveness from the features of some groups; the others count as their mean."""
    terms = [feature.logit(values[feature.name]) for feature in FEATURES if feature.group in groups]
    total: FloatArray = np.sum(terms, axis=0)
    return total


@dataclass(frozen=True)
class Ceilings:
    """The best AUC for invasiveness from exact knowledge of some groups of features.

    Attributes:
        full: of any model whatever; the AUC of the true probability.
        local_and_signs: of any model that does not see the context.
        local: of the nodule's solid part, size and lobulation alone.
        signs: of the two signs alone.
        context: of any model that sees only the context.
        prevalence: share of invasive nodules.
    """

    full: float
    local_and_signs: float
    local: float
    signs: float
    context: float
    prevalence: float


def ceilings(n: int = 200_000, seed: int = 0) -> Ceilings:
    """Estimates the ceilings from n drawn nodules (standard error at most 0.6 / sqrt(n)).

    The features are independent, so the probability of invasiveness given one group is a strictly increasing function
    of that group's part of the logit: ranking by the part is ranking by the posterior with the rest averaged out.
    """
    rng = np.random.default_rng(seed)
    values = draw_features(rng, n)
    invasive = rng.random(n) < expit(invasiveness_logit(values))

    def reach(*groups: str) -> float:
        return _auc(invasive, invasiveness_logit(values, groups))

    return Ceilings(
        full=reach(*GROUPS),
        local_and_signs=reach("local", "signs"),
        local=reach("local"),
        signs=reach("signs"),
        context=reach("context"),
        prevalence=float(invasive.mean()),
    )


def _auc(y_true: NDArray[np.bool_], y_score: FloatArray) -> float:
    """Area under the ROC curve from ranks (Mann-Whitney), ties counted half."""
    from scipy.stats import rankdata  # a second to import, which processes that render do not need

    positives = int(y_true.sum())
    rank_sum = float(rankdata(y_score)[y_true].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * (len(y_true) - positives))
