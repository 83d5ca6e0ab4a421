"""Warnings with names: an answer that is undefined or weak is said to be so, and reports carry the list."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class EvaluationWarning(UserWarning):
    """Base of every warning of this package."""


class UndefinedMetricWarning(EvaluationWarning):
    """A statistic is not defined on these data; its value is NaN."""


class OneClassWarning(UndefinedMetricWarning):
    """All cases belong to one class: there is no AUC."""


class OneCaseInClassWarning(UndefinedMetricWarning):
    """A class has a single case: the AUC is defined, its variance is not."""


class NoPositiveDecisionWarning(UndefinedMetricWarning):
    """No case (or every case) was called positive: a predictive value has no denominator."""


class ZeroVarianceDifferenceWarning(UndefinedMetricWarning):
    """Two unequal AUCs whose difference has an estimated variance of 0: there is no test."""


class NotAProbabilityWarning(UndefinedMetricWarning):
    """A score leaves 0 to 1: calibration, Brier score and decision curve need probabilities."""


class SeparationWarning(UndefinedMetricWarning):
    """A logistic fit has no finite solution: the classes are separated, or the score is constant."""


class EmptyMaskWarning(UndefinedMetricWarning):
    """Reference and prediction are both empty: there is no Dice."""


class ZeroVarianceWarning(EvaluationWarning):
    """The DeLong variance is 0 (perfect separation or a constant score); another interval stands in."""


class CollapsedBootstrapWarning(EvaluationWarning):
    """Every resample gave the same value: the percentile interval has no width and is not reported."""


class SmallSampleWarning(EvaluationWarning):
    """Fewer than ten cases, four readers or three seeds: intervals and tests are not to be trusted."""


class ThresholdWarning(EvaluationWarning):
    """There is no threshold, or it was chosen on the data it is reported on."""


class ClusteredDataWarning(EvaluationWarning):
    """Spellings taken for one patient, or several cases of a patient taken as independent because that was asked."""


class IncompleteDataWarning(EvaluationWarning):
    """Cases were left out: no truth, no prediction, no rating."""


class CalibrationWarning(EvaluationWarning):
    """A temperature could not be fitted, or lies at the edge of the range searched."""


@dataclass(frozen=True)
class NamedWarning:
    """A warning as reports carry it: the class's name, what it was raised on, and the message."""

    name: str
    where: str
    message: str


@dataclass
class WarningLog:
    """Named warnings of one evaluation, each once, in order."""

    entries: list[NamedWarning] = field(default_factory=list)

    def add(self, category: type[EvaluationWarning], where: str, message: str) -> None:
        """Adds a warning unless it is there already."""
        entry = NamedWarning(category.__name__, where, message)
        if entry not in self.entries:
            self.entries.append(entry)

    @contextmanager
    def collect(self, where: str) -> Iterator[None]:
        """Takes the `EvaluationWarning`s raised inside the block; others are raised again after it."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for item in caught:
            if issubclass(item.category, EvaluationWarning):
                self.add(item.category, where, str(item.message))
            else:
                warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
