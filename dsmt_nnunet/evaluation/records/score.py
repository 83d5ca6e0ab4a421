"""A binary score: discrimination, calibration and operating points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Calibration of probabilities; undefined for scores that are none, whose intervals are None.

    Attributes:
        brier: mean squared difference of probability and truth.
        ece: expected calibration error, as `ece_definition` says.
        calibration_slope, calibration_intercept: of the logistic fit; the intercept with the slope held at 1.
        calibration_intercept_with_slope: intercept of the fit of both.
    """

    brier: float
    ece: float
    calibration_slope: float
    calibration_slope_ci: Interval | None
    calibration_intercept: float
    calibration_intercept_ci: Interval | None
    calibration_intercept_with_slope: float
    ece_definition: str


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
        sensitivity_ci_bootstrap, ...: where patients have several cases.
    """

    threshold_source: str
    threshold_chosen_on_reported_data: bool
    n: int
    tp: int
    fp: int
    tn: int
    fn: int
    note: str | None = None
    sensitivity_ci_bootstrap: Interval | None = None
    specificity_ci_bootstrap: Interval | None = None
    ppv_ci_bootstrap: Interval | None = None
    npv_ci_bootstrap: Interval | None = None
    f1_ci_bootstrap: Interval | None = None
    accuracy_ci_bootstrap: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Score(Calibration):
    """Everything of one score.

    Attributes:
        n, n_positive: cases.
        auc: with its DeLong standard error and its intervals.
        auc_ci_to_quote: name of the field to quote.
        operating_points: the first is the one that readers and other scores are compared at.
    """

    type: Literal["binary"] = "binary"
    n: int
    n_positive: int
    auc: float
    auc_se_delong: float
    auc_ci_delong: Interval
    auc_ci_method: str
    auc_ci_bootstrap: Interval
    auc_ci_to_quote: Literal["auc_ci_delong", "auc_ci_bootstrap"]
    average_precision: float
    operating_points: tuple[OperatingPoint, ...]

    @property
    def auc_ci(self) -> Interval:
        """The interval to quote."""
        return self.auc_ci_bootstrap if self.auc_ci_to_quote == "auc_ci_bootstrap" else self.auc_ci_delong

    @property
    def point(self) -> OperatingPoint | None:
        """The first operating point."""
        return self.operating_points[0] if self.operating_points else None


@dataclass(frozen=True, kw_only=True)
class SubgroupLevel:
    """The cases of one level of a group column: score -> what is reported of it."""

    n: int
    n_positive: int
    scores: dict[str, Score]
