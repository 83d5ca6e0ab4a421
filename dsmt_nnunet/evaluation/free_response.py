"""FROC, competition performance metric and AFROC of all that a search marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dsmt_nnunet.diameter_range import DiameterRange
from dsmt_nnunet.evaluation.nodule_matching import DUPLICATE, hits_of_marks
from dsmt_nnunet.evaluation.records.free_response import (
    AfrocArea,
    FreeResponse,
    FreeResponseCurves,
    SensitivityAtRate,
)
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.predictions.results import CasePrediction
from dsmt_nnunet.statistics.detection.froc import (
    CPM_RATES,
    Afroc,
    Marks,
    afroc,
    competition_performance_metric,
    froc_curve,
    sensitivity_at_rates,
)
from dsmt_nnunet.statistics.named_warnings import IncompleteDataWarning, WarningLog

MARK_COLUMNS = ["case_id", "x_mm", "y_mm", "z_mm", "detection_score", "kind", "counts_as", "truth_nodule_id"]


@dataclass(frozen=True)
class SearchedScans:
    """Marks of the scans that were searched.

    Attributes:
        marks: with what they hit.
        cases: name of each scan, shape (S,).
        rows: of marks.csv.
    """

    marks: Marks
    cases: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


def searched_scans(
    predictions: Sequence[CasePrediction],
    truth: NoduleTable,
    asked: DiameterRange | None,
    absent: Sequence[str],
    max_distance_mm: float | None,
    log: WarningLog,
) -> SearchedScans | None:
    """Marks of every scan that was searched, and the nodules of every scan that should have been.

    None where no scan was searched, since positions were given, and where the truth holds no nodule of one.

    Args:
        predictions: of scans that were searched, and of others.
        truth: all nodules.
        asked: diameters that are asked about; marks of other nodules count neither way. None for all.
        absent: scans that should have been searched.
        max_distance_mm: of a mark and a nodule.
        log: takes a warning.
    """
    searched = [item for item in predictions if item.candidates is not None]
    cases = [*(item.case_id for item in searched), *absent]
    by_case = truth.by_case()
    counted = {
        name: {nodule.nodule_id for nodule in nodules if asked is None or asked.holds(nodule.diameter_mm)}
        for name, nodules in by_case.items()
    }
    n_lesions = [len(counted.get(name, ())) for name in cases]
    if not searched or not sum(n_lesions):
        return None
    if len(searched) < len(predictions):
        message = f"{len(predictions) - len(searched)} scans whose positions were given are no part of FROC and AFROC."
        log.add(IncompleteDataWarning, "detection", message)
    scores: list[float] = []
    scans, hits, rows = [], [], []
    for number, case in enumerate(searched):
        faint = case.candidates or ()
        marked = [(item.centre_mm, float(item.detection_score or 0.0), "nodule") for item in case.nodules]
        marked += [(item.centre_mm, item.detection_score, "candidate") for item in faint]
        nodules = by_case.get(case.case_id, ())
        found = hits_of_marks(nodules, [item[0] for item in marked], [item[1] for item in marked], max_distance_mm)
        for (place, score, kind), hit in zip(marked, found.tolist(), strict=True):
            name = nodules[hit].nodule_id if hit >= 0 else ""
            is_neither = hit == DUPLICATE or (hit >= 0 and name not in counted[case.case_id])
            counts_as = "neither" if is_neither else "hit" if hit >= 0 else "false"
            rows.append((case.case_id, *place, score, kind, counts_as, name))
            if not is_neither:
                scores.append(score)
                scans.append(number)
                hits.append(hit >= 0)
    read = np.arange(len(cases)) < len(searched)
    return SearchedScans(Marks.create(scores, scans, hits, n_lesions, read), tuple(cases), tuple(rows))


def free_response(
    scans: SearchedScans, patients: Mapping[str, str], settings: EvaluationSettings
) -> tuple[FreeResponse, FreeResponseCurves]:
    """Curves and their summaries.

    Args:
        scans: with their marks.
        patients: patient of each case; a case that is not in it is a patient of its own.
        settings: how intervals are made.
    """
    marks = scans.marks
    units = [patients.get(case, f"case {case}") for case in scans.cases]
    cpm = competition_performance_metric(marks, units, settings.level)
    at = [(rate, sensitivity_at_rates(marks, (rate,), units, settings.level)) for rate in CPM_RATES]
    curve, over_all = froc_curve(marks), afroc(marks, units, settings.level, scans_without_lesion=False)
    n_without = int((marks.read & (marks.n_lesions == 0)).sum())
    over_normal = afroc(marks, units, settings.level) if n_without else None
    n_read, n_nodules = int(marks.read.sum()), int(marks.n_lesions.sum())
    sentence = (
        f"CPM {cpm.estimate:.3f}{_limits(cpm.ci, settings.level)}: the mean share of {n_nodules} nodules found at 1/8 "
        f"to 8 false marks a scan in {n_read} scans, {n_without} of them without a nodule; patients are the unit."
    )
    record = FreeResponse(
        n_scans=n_read,
        n_scans_without_nodule=n_without,
        n_scans_crashed=len(marks.read) - n_read,
        n_nodules=n_nodules,
        n_marks=len(scans.rows),
        n_neither=len(scans.rows) - len(marks.score),
        cpm=cpm.estimate,
        cpm_ci=cpm.ci,
        sensitivity_at=tuple(
            SensitivityAtRate(false_per_scan=rate, sensitivity=item.estimate, sensitivity_ci=item.ci)
            for rate, item in at
        ),
        max_false_per_scan=float(curve.false_per_scan[-1]),
        afroc=None if over_normal is None else _area(over_normal),
        afroc1=_area(over_all),
        sentence=sentence,
    )
    drawn = over_normal or over_all
    curves = FreeResponseCurves(
        false_per_scan=curve.false_per_scan,
        sensitivity=curve.sensitivity,
        scans_with_false_mark=drawn.curve.fpr,
        afroc_sensitivity=drawn.curve.tpr,
        afroc_over="scans without a nodule" if over_normal else "all scans",
    )
    return record, curves


def _area(found: Afroc) -> AfrocArea:
    area = found.area
    return AfrocArea(n_scans=found.n_scans, auc=area.auc, auc_ci=(area.lower, area.upper), auc_method=area.method)


def _limits(limits: tuple[float, float], level: float) -> str:
    return "" if np.isnan(limits).any() else f" ({100 * level:g}% interval {limits[0]:.3f} to {limits[1]:.3f})"
