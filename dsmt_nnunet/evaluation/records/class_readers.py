"""Readers of grades, and of classes without an order, beside the model."""

from __future__ import annotations

from dataclasses import dataclass

from dsmt_nnunet.evaluation.records.class_comparisons import MeasureDifference


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
