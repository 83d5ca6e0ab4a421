"""Readers of grades, and of classes without an order, beside the model."""

from __future__ import annotations

from dataclasses import dataclass

from dsmt_nnunet.evaluation.records.score import Interval


@dataclass(frozen=True, kw_only=True)
class MeasureDifference:
    """A measure of the model less that of a reader, on the nodules that the reader rated.

    Attributes:
        measure: what is compared; of the mean absolute error less is better.
        model, reader: its values.
        test: name of the test; `ci` and `p_value` are both of it, so that they never contradict each other.
        p_value: two-sided, of no difference.
        p_value_holm: adjusted over the family that `multiplicity` names.
    """

    measure: str
    model: float
    reader: float
    difference: float
    ci: Interval
    test: str
    p_value: float
    p_value_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class ClassReader:
    """A reader's decisions among all grades or classes.

    Attributes:
        n: nodules that were found and that the reader rated.
        model_minus_reader: accuracy and kappa (quadratic of grades, Cohen's of classes), of grades the mean error too.
        confusion_matrix: rows truth, columns the reader's decision.
    """

    n: int
    model_minus_reader: tuple[MeasureDifference, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
