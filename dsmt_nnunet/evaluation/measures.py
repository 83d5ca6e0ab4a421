"""Single figures of a binary score: a line in `MEASURES` is in metrics.json, printed, and on the page."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from dsmt_nnunet.evaluation.records.score import AVERAGE_PRECISION, Estimate, Interval
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.jackknife import jackknife_estimate
from dsmt_nnunet.statistics.clusters.units import cluster_codes
from dsmt_nnunet.statistics.proportions import UNDEFINED
from dsmt_nnunet.statistics.resampled_t import Fold, corrected_resampled_t, values_of_folds
from dsmt_nnunet.statistics.roc.fixed_specificity import BTII_METHOD, sensitivity_above, sensitivity_at_specificity
from dsmt_nnunet.statistics.roc.folds import FOLDS_METHOD
from dsmt_nnunet.statistics.roc.interval import UNDEFINED_METHOD
from dsmt_nnunet.statistics.roc.precision import average_precision
from dsmt_nnunet.statistics.t_test import bounded_interval

JACKKNIFE_METHOD = "jackknife-logit"
SPECIFICITY = 0.9

Statistic = Callable[[BoolArray, FloatArray, IntArray], FloatArray]
"""Of labels (N,), scores (N,) and weights (B, N): values within 0 to 1, shape (B,), NaN where it is not defined."""


@dataclass(frozen=True)
class Measure:
    """A figure within 0 to 1 of a binary score.

    Attributes:
        name: as it is shown.
        statistic: its values for cases counted several times.
        interval: of scores of one model, and how it was made; by default t on the logit scale with the jackknife over
            patients. Of several folds every measure is the mean over folds with the corrected resampled t.
    """

    name: str
    statistic: Statistic
    interval: Callable[[ScoreTable, FloatArray, EvaluationSettings], tuple[Interval, str]] | None = None

    def value(self, labels: BoolArray, scores: FloatArray) -> float:
        """On cases as they are; NaN for one class."""
        if labels.all() or not labels.any():
            return math.nan
        return float(self.statistic(labels, scores, np.ones((1, len(labels)), dtype=np.int64))[0])

    def estimate(self, table: ScoreTable, scores: FloatArray, settings: EvaluationSettings) -> Estimate:
        """With the interval to quote; undefined for one class, or one patient of a class."""
        value, ci, method = self.value(table.y_true, scores), UNDEFINED, UNDEFINED_METHOD
        if table.folds is not None:
            value, ci, method = self._over_folds(table.y_true, scores, table.folds, settings.level)
        elif not math.isnan(value) and self.interval is not None:
            ci, method = self.interval(table, scores, settings)
        elif not math.isnan(value):
            of_weights = partial(self.statistic, table.y_true, scores)
            codes = cluster_codes(table.clusters, len(table))
            ci, method = jackknife_estimate(of_weights, codes, settings.level, "logit").ci, JACKKNIFE_METHOD
        return Estimate(name=self.name, value=value, ci=ci, method=UNDEFINED_METHOD if math.isnan(ci[0]) else method)

    def _over_folds(
        self, labels: BoolArray, scores: FloatArray, folds: IntArray, level: float
    ) -> tuple[float, Interval, str]:
        def of_fold(fold: Fold) -> list[float]:
            return [self.value(labels[fold.inside], scores[fold.inside])]

        found = values_of_folds(of_fold, folds)
        if found.values.shape[1] < 2:
            return float(found.means[0]), UNDEFINED, UNDEFINED_METHOD
        test = corrected_resampled_t(found.values[0], found.test_to_train, level)
        return test.mean, bounded_interval(test.mean, test.se, test.df, level), FOLDS_METHOD


def estimates(table: ScoreTable, name: str, settings: EvaluationSettings) -> tuple[Estimate, ...]:
    """Every measure of one score of a table."""
    return tuple(measure.estimate(table, table.scores[name], settings) for measure in MEASURES)


def _btii(table: ScoreTable, scores: FloatArray, settings: EvaluationSettings) -> tuple[Interval, str]:
    if table.resampler(settings) is None:
        return UNDEFINED, UNDEFINED_METHOD
    found = sensitivity_at_specificity(
        table.y_true, scores, SPECIFICITY, table.clusters, settings.level, settings.n_resamples, settings.seed
    )
    return found.ci, BTII_METHOD


MEASURES = (
    Measure(AVERAGE_PRECISION, average_precision),
    Measure(f"sensitivity at a specificity of {SPECIFICITY:g}", partial(sensitivity_above, target=SPECIFICITY), _btii),
)
"""All that are reported, in this order."""
