"""Finding nodules with every mark counted, not only what is reported: FROC and AFROC."""

from __future__ import annotations

from dataclasses import dataclass

from dsmt_nnunet.evaluation.records.score import Interval
from dsmt_nnunet.statistics.checks import FloatArray


@dataclass(frozen=True, kw_only=True)
class SensitivityAtRate:
    """Share of nodules found at a rate of false marks a scan."""

    false_per_scan: float
    sensitivity: float
    sensitivity_ci: Interval


@dataclass(frozen=True, kw_only=True)
class AfrocArea:
    """Area under the AFROC curve, over scans without a nodule or over all scans (AFROC1)."""

    n_scans: int
    auc: float
    auc_ci: Interval
    auc_method: str


@dataclass(frozen=True, kw_only=True)
class FreeResponse:
    """Of the scans that were searched.

    Attributes:
        n_scans: that were searched.
        n_scans_without_nodule: of them.
        n_scans_crashed: without a prediction; their nodules count as missed, at any rate of false marks.
        n_nodules: true ones.
        n_marks: nodules and candidates beside them.
        n_neither: marks of a nodule that a more certain one has hit, or that is not asked about.
        cpm: mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false marks a scan.
        sensitivity_at: those sensitivities.
        max_false_per_scan: where the curve ends; its last sensitivity holds from there on.
        afroc: over scans without a nodule; none where there is none.
        afroc1: over all scans that were searched.
        sentence: to be quoted.
    """

    n_scans: int
    n_scans_without_nodule: int
    n_scans_crashed: int
    n_nodules: int
    n_marks: int
    n_neither: int
    cpm: float
    cpm_ci: Interval
    sensitivity_at: tuple[SensitivityAtRate, ...]
    max_false_per_scan: float
    afroc: AfrocArea | None
    afroc1: AfrocArea
    sentence: str


@dataclass(frozen=True, kw_only=True)
class FreeResponseCurves:
    """FROC, shape (T,) each, and AFROC (over scans without a nodule where there are any, else over all)."""

    false_per_scan: FloatArray
    sensitivity: FloatArray
    scans_with_false_mark: FloatArray
    afroc_sensitivity: FloatArray
    afroc_over: str
