"""Free-response ROC: sensitivity for lesions against false marks a scan, and AFROC; patients are the unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import FloatArray, IntArray, finite_scores
from dsmt_nnunet.statistics.clusters.jackknife import jackknife_covariance
from dsmt_nnunet.statistics.clusters.ratio import clustered_proportion
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.roc.by_patient import auc_interval
from dsmt_nnunet.statistics.roc.curve import RocCurve, roc_curve
from dsmt_nnunet.statistics.roc.interval import AucInterval
from dsmt_nnunet.statistics.t_test import bounded_interval

CPM_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False marks a scan at which the competition performance metric averages the sensitivity."""
_COUNTS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Marks:
    """Marks of a set of scans.

    Attributes:
        score: of each mark, shape (N,).
        scan: index of its scan, shape (N,).
        hit: whether it is the mark of a lesion (one a lesion), shape (N,).
        n_lesions: lesions of each scan, those that nobody marked included, shape (S,).
        read: whether the scan was read, shape (S,): lesions of one that was not count as missed, and false marks are
            counted a scan that was.
    """

    score: FloatArray
    scan: IntArray
    hit: npt.NDArray[np.bool_]
    n_lesions: IntArray
    read: npt.NDArray[np.bool_]

    @classmethod
    def create(
        cls,
        score: npt.ArrayLike,
        scan: npt.ArrayLike,
        hit: npt.ArrayLike,
        n_lesions: npt.ArrayLike,
        read: npt.ArrayLike | None = None,
    ) -> Marks:
        """Checks the arrays; every scan was read where `read` is not given.

        Raises:
            ValueError: marks of a scan that does not exist or was not read, more hits than lesions in a scan, no lesion
                at all, or no scan that was read.
        """
        scans, hits = np.asarray(scan, dtype=np.int64), np.asarray(hit, dtype=bool)
        lesions = np.asarray(n_lesions, dtype=np.int64)
        scores = finite_scores(score, len(scans))
        if len(scans) and (scans.min() < 0 or scans.max() >= len(lesions)):
            raise ValueError(f"Marks name scans 0 to {len(lesions) - 1}, got {int(scans.min())} to {int(scans.max())}.")
        found = np.bincount(scans[hits], minlength=len(lesions))
        if (found > lesions).any():
            worst = int(np.flatnonzero(found > lesions)[0])
            raise ValueError(
                f"Scan {worst} has {found[worst]} hits for {lesions[worst]} lesions; one mark hits a lesion."
            )
        if not lesions.sum():
            raise ValueError("No scan has a lesion; there is no sensitivity.")
        seen = np.ones(len(lesions), dtype=bool) if read is None else np.asarray(read, dtype=bool)
        if not seen.any() or not seen[scans].all():
            raise ValueError("Marks are of scans that were read, and there must be one at least.")
        return cls(scores, scans, hits, lesions, seen)


@dataclass(frozen=True)
class FrocCurve:
    """Sensitivity and false marks a scan at every distinct score, falling; the first point is no mark at all."""

    false_per_scan: FloatArray
    sensitivity: FloatArray


def froc_curve(marks: Marks) -> FrocCurve:
    """Source: Bunch et al., Proc SPIE 1977; 127: 124; Chakraborty, Medical Physics 1989; 16: 561."""
    false, sensitivity = _curves(marks, np.ones((1, len(marks.n_lesions)), dtype=np.int64))
    return FrocCurve(false[0], sensitivity[0])


@dataclass(frozen=True)
class RateSensitivity:
    """Mean sensitivity at some rates of false marks a scan, its standard error over patients, and its interval."""

    estimate: float
    se: float
    ci: tuple[float, float]


def competition_performance_metric(marks: Marks, patients: Clusters = None, level: float = 0.95) -> RateSensitivity:
    """Mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false marks a scan; see `sensitivity_at_rates`.

    Source: Niemeijer et al., IEEE Transactions on Medical Imaging 2011; 30: 215; Setio et al., Medical Image Analysis
    2017; 42: 1 (LUNA16).
    """
    return sensitivity_at_rates(marks, CPM_RATES, patients, level)


def sensitivity_at_rates(
    marks: Marks, rates: Sequence[float], patients: Clusters = None, level: float = 0.95
) -> RateSensitivity:
    """Mean sensitivity at some rates of false marks a scan, with an interval over patients (or scans).

    Between the points of the curve straight lines, after its end its last value. The interval is t on the logit scale
    with the jackknife over patients. In 300 draws it covers 0.93 to 0.98, where a BCa bootstrap covered 0.90 to
    0.92 in small samples: the jackknife is coarse where few marks decide, and then too wide
    (docs/results/coverage.csv). Where the variance is 0 (every lesion found before the first false mark) the limits
    are Wilson's at the effective number of lesions.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, equation 11.5; Pepe, The Statistical
    Evaluation of Medical Tests, 2003, section 5.2.

    Args:
        marks: of all scans.
        rates: false marks a scan.
        patients: patient of each scan, shape (S,); None where every scan stands alone.
        level: confidence level.
    """
    n_scans = len(marks.n_lesions)
    rows_at_once = max(1, _COUNTS_AT_ONCE // max(len(marks.score), 1))

    def statistic(weights: IntArray) -> FloatArray:
        means = []
        for start in range(0, len(weights), rows_at_once):
            pairs = zip(*_curves(marks, weights[start : start + rows_at_once]), strict=True)
            means += [[np.interp(rates, false, sensitivity).mean()] for false, sensitivity in pairs]
        return np.array(means, dtype=np.float64)

    value = float(statistic(np.ones((1, n_scans), dtype=np.int64))[0, 0])
    codes = cluster_codes(patients, n_scans)
    se = math.sqrt(jackknife_covariance(statistic, codes)[0, 0])
    if value in (0.0, 1.0):
        hits = np.full(int(marks.n_lesions.sum()), bool(value))
        return RateSensitivity(value, se, clustered_proportion(hits, np.repeat(codes, marks.n_lesions), level).ci)
    return RateSensitivity(value, se, bounded_interval(value, se, int(codes.max()), level))


@dataclass(frozen=True)
class Afroc:
    """Sensitivity for lesions against the share of scans with a false mark, and the area under that curve.

    Attributes:
        scans_without_lesion: whether the scans are those without a lesion alone (AFROC), or all (AFROC1).
        n_scans: of them.
        area: probability that a lesion has a higher score than the highest false mark of a scan, ties half; a lesion
            and a scan without a mark have the lowest score. Patients are the unit of its interval.
        curve: its points; `fpr` is the share of scans with a false mark, `tpr` the sensitivity.
    """

    scans_without_lesion: bool
    n_scans: int
    area: AucInterval
    curve: RocCurve


def afroc(marks: Marks, patients: Clusters = None, level: float = 0.95, scans_without_lesion: bool = True) -> Afroc:
    """The alternative FROC curve: its area is an AUC of lesions against scans, and so is its interval.

    Source: Chakraborty and Winter, Radiology 1990; 174: 873; Chakraborty and Berbaum, Medical Physics 2004; 31: 2313
    (figure of merit); Obuchowski, Biometrics 1997; 53: 567 (interval).

    Args:
        marks: of all scans.
        patients: patient of each scan, shape (S,).
        level: confidence level.
        scans_without_lesion: whether false marks of scans without a lesion alone are counted.
    """
    codes = cluster_codes(patients, len(marks.n_lesions))
    lowest = float(marks.score.min()) - 1 if len(marks.score) else 0.0
    highest = np.full(len(marks.n_lesions), lowest)
    np.maximum.at(highest, marks.scan[~marks.hit], marks.score[~marks.hit])
    chosen = np.flatnonzero(marks.read & (marks.n_lesions == 0) if scans_without_lesion else marks.read)
    missed = marks.n_lesions - np.bincount(marks.scan[marks.hit], minlength=len(marks.n_lesions))
    lesions = np.concatenate([marks.score[marks.hit], np.full(int(missed.sum()), lowest)])
    of_lesion = np.concatenate([marks.scan[marks.hit], np.repeat(np.arange(len(missed)), missed)])
    labels = np.repeat([True, False], [len(lesions), len(chosen)])
    score = np.concatenate([lesions, highest[chosen]])
    area = auc_interval(labels, score, codes[np.concatenate([of_lesion, chosen])], level)
    return Afroc(scans_without_lesion, len(chosen), area, roc_curve(labels, score))


def _curves(marks: Marks, weights: IntArray) -> tuple[FloatArray, FloatArray]:
    """False marks a scan and sensitivity for scans counted several times; weights (B, S) -> two of (B, U + 1)."""
    order = np.argsort(-marks.score, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(marks.score[order]) != 0, True]) if len(order) else np.empty(0, dtype=int)
    each = weights[:, marks.scan[order]]
    start = np.zeros((len(weights), 1))
    hits = np.hstack([start, np.cumsum(np.where(marks.hit[order], each, 0), axis=1)[:, ends]])
    false = np.hstack([start, np.cumsum(np.where(marks.hit[order], 0, each), axis=1)[:, ends]])
    with np.errstate(invalid="ignore", divide="ignore"):
        return false / (weights @ marks.read)[:, None], hits / (weights @ marks.n_lesions)[:, None]
