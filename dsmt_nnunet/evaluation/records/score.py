"""A binary score: discrimination, calibration and operating points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dsmt_nnunet.statistics.calibration.brier import BrierParts
from dsmt_nnunet.statistics.decisions.elsewhere import Elsewhere
from dsmt_nnunet.statistics.decisions.metrics import METRIC_NAMES
from dsmt_nnunet.statistics.decisions.prevalence import AtPrevalence
from dsmt_nnunet.statistics.roc.partial import PartialAuc

Interval = tuple[float, float]
AVERAGE_PRECISION = "average precision"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Calibration of probabilities; undefined for scores that are none, whose intervals are None.

    Attributes:
        brier: mean squared difference of probability and truth.
        brier_parts: of what it is the sum.
        ece: expected calibration error, as `ece_definition` says.
        ece_if_calibrated: what it would be on average if the probabilities were right; never 0.
        ece_debiased: what is left of `ece` above that, at least 0.
        n_clipped: probabilities held away from 0 and 1 before the logarithm of slope and intercept.
        calibration_slope, calibration_intercept: of the logistic fit; the intercept with the slope held at 1.
        calibration_intercept_with_slope: intercept of the fit of both.
    """

    brier: float
    brier_ci: Interval | None
    ece: float
    ece_if_calibrated: float
    ece_debiased: float
    n_clipped: int
    calibration_slope: float
    calibration_slope_ci: Interval | None
    calibration_intercept: float
    calibration_intercept_ci: Interval | None
    calibration_intercept_with_slope: float
    ece_definition: str
    brier_parts: BrierParts | None = None


@dataclass(frozen=True, kw_only=True)
class DecisionValues:
    """Metrics of decisions with their intervals; a threshold of NaN means that each fold (or file) had its own."""

    threshold: float
    sensitivity: float
    sensitivity_ci: Interval
    specificity: float
    specificity_ci: Interval
    ppv: float
    ppv_ci: Interval
    npv: float
    npv_ci: Interval
    f1: float
    f1_ci: Interval
    accuracy: float
    accuracy_ci: Interval

    def metric(self, name: str) -> tuple[float, Interval]:
        """Value and interval of one of `METRIC_NAMES`."""
        if name not in METRIC_NAMES:
            raise KeyError(f"A metric is one of {list(METRIC_NAMES)}, got '{name}'.")
        value: float = getattr(self, name)
        ci: Interval = getattr(self, f"{name}_ci")
        return value, ci


@dataclass(frozen=True, kw_only=True)
class OperatingPoint(DecisionValues):
    """Decisions at a threshold.

    Attributes:
        threshold_source: where the threshold comes from, in words.
        threshold_chosen_on_reported_data: then the figures are optimistic, and `note` says so.
        n, tp, fp, tn, fn: counts.
        at_prevalence: predictive values and net benefit at the prevalence that was stated.
        elsewhere: what a threshold chosen on these cases gives on patients who did not choose it.
    """

    threshold_source: str
    threshold_chosen_on_reported_data: bool
    n: int
    tp: int
    fp: int
    tn: int
    fn: int
    note: str | None = None
    at_prevalence: AtPrevalence | None = None
    elsewhere: Elsewhere | None = None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure of a score by its name, with its interval and how that was made."""

    name: str
    value: float
    ci: Interval
    method: str


@dataclass(frozen=True, kw_only=True)
class QuotedAuc:
    """The AUC to quote: one number, one interval, and the sentence that says what they are.

    Attributes:
        auc: of all cases; of several folds the mean of theirs.
        auc_se: standard error behind the interval.
        auc_ci: on the logit scale, with patients as the unit where they are known.
        auc_method: how the interval was made.
        auc_sentence: to be quoted.
    """

    auc: float
    auc_se: float
    auc_ci: Interval
    auc_method: str
    auc_sentence: str


@dataclass(frozen=True, kw_only=True)
class Score(QuotedAuc, Calibration):
    """Everything of one score.

    Attributes:
        n, n_positive: cases.
        estimates: of every measure in `evaluation/measures.py`.
        partial_auc: at high specificities, where it was asked for.
        operating_points: the first is the one that readers and other scores are compared at.
    """

    type: Literal["binary"] = "binary"
    n: int
    n_positive: int
    estimates: tuple[Estimate, ...]
    operating_points: tuple[OperatingPoint, ...]
    partial_auc: PartialAuc | None = None

    @property
    def point(self) -> OperatingPoint | None:
        """The first operating point."""
        return self.operating_points[0] if self.operating_points else None

    def estimate(self, name: str) -> Estimate:
        """One of `estimates`."""
        return next(item for item in self.estimates if item.name == name)


@dataclass(frozen=True, kw_only=True)
class SubgroupLevel:
    """The cases of one level of a group column: score -> what is reported of it."""

    n: int
    n_positive: int
    scores: dict[str, Score]
