"""Rows of the partial AUC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dsmt_nnunet.evaluation.records.score import Score
from dsmt_nnunet.report.numbers import with_interval


def partial_rows(scores: Sequence[Score]) -> list[tuple[str, ...]]:
    """Mean sensitivity at high specificities, and McClish's form; none where it was not asked for."""
    parts = [score.partial_auc for score in scores]
    asked = next((item for item in parts if item), None)
    if asked is None:
        return []
    where = f"specificities of {asked.min_specificity:g} to 1"
    means = (with_interval(item.mean_sensitivity, item.mean_sensitivity_ci) if item else "" for item in parts)
    standardised = (with_interval(item.standardised, item.standardised_ci) if item else "" for item in parts)
    return [
        (f"Mean sensitivity at {where}", *means),
        ("Partial AUC there, standardised (0.5 to 1)", *standardised),
    ]


def estimate_rows(scores: Sequence[Score]) -> Iterator[tuple[str, ...]]:
    """One row a figure of `evaluation/measures.py`."""
    for name in (item.name for item in scores[0].estimates):
        found = [score.estimate(name) for score in scores]
        yield (f"{name[0].upper()}{name[1:]}", *(with_interval(item.value, item.ci) for item in found))
