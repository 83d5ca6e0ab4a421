"""The points that figures are drawn from: `curves.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dsmt_nnunet.evaluation.records.free_response import FreeResponseCurves
from dsmt_nnunet.statistics.calibration.bins import CalibrationBin
from dsmt_nnunet.statistics.checks import FloatArray
from dsmt_nnunet.statistics.roc.curve import RocBand, RocCurve

Kind = Literal["predictions", "crossval", "table", "readers"]


@dataclass(frozen=True, kw_only=True)
class PrecisionRecall:
    """Precision and recall, shape (T + 1,), at rising thresholds, shape (T,)."""

    precision: FloatArray
    recall: FloatArray
    thresholds: FloatArray


@dataclass(frozen=True, kw_only=True)
class DecisionCurve:
    """Net benefit of the model, of calling all positive and none, at each threshold probability, shape (T,) each.

    `prevalence` is the one stated, or that of the cases.
    """

    prevalence: float

    threshold: FloatArray
    net_benefit_model: FloatArray
    net_benefit_all: FloatArray
    net_benefit_none: FloatArray


@dataclass(frozen=True, kw_only=True)
class ScoreCurves:
    """Curves of a binary score; None where they are not defined (one class, no probabilities, no bootstrap)."""

    type: Literal["binary"] = "binary"
    roc: RocCurve
    roc_band: RocBand | None
    precision_recall: PrecisionRecall | None
    calibration: tuple[CalibrationBin, ...] | None
    decision_curve: DecisionCurve | None


@dataclass(frozen=True, kw_only=True)
class MulticlassCurves:
    """Of a task with several classes: counts (rows truth, columns decision) and each class against the rest."""

    type: Literal["multiclass"] = "multiclass"
    classes: tuple[str, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    roc_one_vs_rest: dict[str, RocCurve]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The whole file: tasks of predictions and cross-validations, scores of a table, marks of searched scans."""

    schema_version: int
    kind: Kind
    tasks: dict[str, ScoreCurves | MulticlassCurves] | None = None
    scores: dict[str, ScoreCurves] | None = None
    free_response: FreeResponseCurves | None = None
