"""How many nodules were found, missed, and seen where there are none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule, Status
from dsmt_nnunet.evaluation.nodule_matching import MIN_DISTANCE_LIMIT_MM
from dsmt_nnunet.evaluation.records.metrics import Detection, Dice
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.task_cases import patient_of
from dsmt_nnunet.statistics.clusters.ratio import clustered_mean, clustered_proportion

GIVEN_NOTE = (
    "Every predicted centre lies on a true one: positions were given to the predictor, and these counts say nothing "
    "about finding nodules."
)
STATUSES: tuple[Status, ...] = ("matched", "missed", "extra", "crashed")
_GIVEN_WITHIN_MM = 0.01


def detection_of(
    joined: Sequence[JoinedNodule],
    n_predicted: int,
    n_crashed: int,
    max_distance_mm: float | None,
    settings: EvaluationSettings,
    cluster: str | None,
) -> Detection:
    """Counts over all scans; `sensitivity` is that of finding a nodule, patients the unit.

    Args:
        joined: all nodules.
        n_predicted: scans that were predicted.
        n_crashed: scans that were to be predicted and were not.
        max_distance_mm: limit between centres; None for the default rule of `nodule_matching`.
        settings: level and kind of the interval.
        cluster: column of the patients; None where every nodule is independent.
    """
    counts = {status: sum(item.status == status for item in joined) for status in STATUSES}
    true = [item for item in joined if item.truth is not None]
    hits = [item.status == "matched" for item in true]
    patients = None if cluster is None else [patient_of(item.truth, cluster) for item in true if item.truth]
    found = clustered_proportion(hits, patients, settings.level, settings.interval)
    distances = [item.distance_mm for item in joined if item.distance_mm is not None]
    given = bool(distances) and max(distances) <= _GIVEN_WITHIN_MM and not counts["extra"]
    rule = f"larger of {MIN_DISTANCE_LIMIT_MM:g} mm and half the diameter of the true nodule"
    return Detection(
        n_scans=n_predicted + n_crashed,
        n_scans_crashed=n_crashed,
        n_truth=found.total,
        n_predicted=counts["matched"] + counts["extra"],
        n_matched=counts["matched"],
        n_missed=counts["missed"],
        n_crashed=counts["crashed"],
        n_extra=counts["extra"],
        sensitivity=found.value,
        sensitivity_ci=found.ci,
        missed_per_scan=counts["missed"] / n_predicted if n_predicted else math.nan,
        extra_per_scan=counts["extra"] / n_predicted if n_predicted else math.nan,
        median_distance_mm=float(np.median(distances)) if distances else math.nan,
        distance_limit=rule if max_distance_mm is None else f"{max_distance_mm:g} mm",
        note=GIVEN_NOTE if given else None,
    )


def scan_rows(joined: Sequence[JoinedNodule], dice: dict[str, float]) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of cases.csv: one row a scan."""
    scans = sorted({item.case_id for item in joined} | set(dice))
    counts = {scan: dict.fromkeys(STATUSES, 0) for scan in scans}
    for item in joined:
        counts[item.case_id][item.status] += 1
    rows: list[list[object]] = []
    for scan in scans:
        value = dice.get(scan, float("nan"))
        shown = "" if np.isnan(value) else round(value, 6)
        rows.append([scan, *(counts[scan][status] for status in STATUSES), shown])
    return ["case_id", *(f"n_{status}" for status in STATUSES), "dice"], rows


def dice_of(dice: dict[str, float], patients: Mapping[str, str], settings: EvaluationSettings) -> Dice | None:
    """Dice over cases: mean with its t interval over patients, spread, and the worst; None without reference masks.

    Args:
        dice: by case, NaN where it is not defined.
        patients: patient of each case; a case that is not in it is a patient of its own.
        settings: the confidence level.
    """
    if not dice:
        return None
    known = {case: value for case, value in dice.items() if np.isfinite(value)}
    values = np.array(list(known.values()))
    if not len(values):
        nan = math.nan
        return Dice(n=0, n_undefined=len(dice), mean=nan, mean_ci=(nan, nan), sd=nan, median=nan, min=nan, max=nan)
    mean = clustered_mean(values, [patients.get(case, f"case {case}") for case in known], settings.level, upper=1.0)
    return Dice(
        n=len(values),
        n_undefined=len(dice) - len(values),
        mean=mean.estimate,
        mean_ci=mean.ci,
        sd=float(values.std(ddof=1)) if len(values) > 1 else math.nan,
        median=float(np.median(values)),
        min=float(values.min()),
        max=float(values.max()),
    )
