"""Free-response ROC: sensitivity for lesions against false marks a scan, with a bootstrap of patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import FloatArray, IntArray, finite_scores
from dsmt_nnunet.statistics.clusters.bootstrap import BootstrapEstimate, bootstrap_estimate
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.resampling import Resampler

CPM_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False marks a scan at which the competition performance metric averages the sensitivity."""


@dataclass(frozen=True)
class Marks:
    """Marks of a set of scans.

    Attributes:
        score: of each mark, shape (N,).
        scan: index of its scan, shape (N,).
        hit: whether it is the mark of a lesion (one a lesion), shape (N,).
        n_lesions: lesions of each scan, those that nobody marked included, shape (S,).
    """

    score: FloatArray
    scan: IntArray
    hit: npt.NDArray[np.bool_]
    n_lesions: IntArray

    @classmethod
    def create(cls, score: npt.ArrayLike, scan: npt.ArrayLike, hit: npt.ArrayLike, n_lesions: npt.ArrayLike) -> Marks:
        """Checks the four arrays.

        Raises:
            ValueError: marks of a scan that does not exist, more hits than lesions in a scan, or no lesion at all.
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
        return cls(scores, scans, hits, lesions)


@dataclass(frozen=True)
class FrocCurve:
    """Sensitivity and false marks a scan at every distinct score, falling; the first point is no mark at all."""

    false_per_scan: FloatArray
    sensitivity: FloatArray


def froc_curve(marks: Marks) -> FrocCurve:
    """Source: Bunch et al., Proc SPIE 1977; 127: 124; Chakraborty, Medical Physics 1989; 16: 561."""
    false, sensitivity = _curves(marks, np.ones((1, len(marks.n_lesions)), dtype=np.int64))
    return FrocCurve(false[0], sensitivity[0])


def competition_performance_metric(
    marks: Marks,
    patients: Clusters = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> BootstrapEstimate:
    """Mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false marks a scan; BCa interval over patients (or scans).

    Between the points of the curve straight lines, after its end its last value.
    Source: Niemeijer et al., IEEE Transactions on Medical Imaging 2011; 30: 215; Setio et al., Medical Image Analysis
    2017; 42: 1 (LUNA16).

    Args:
        marks: of all scans.
        patients: patient of each scan, shape (S,); None where every scan stands alone.
        level: confidence level.
        n_resamples: bootstrap resamples.
        seed: of the bootstrap.
    """
    n_scans = len(marks.n_lesions)

    def statistic(weights: IntArray) -> FloatArray:
        false, sensitivity = _curves(marks, weights)
        means = [np.interp(CPM_RATES, row, other).mean() for row, other in zip(false, sensitivity, strict=True)]
        return np.array(means, dtype=np.float64)

    codes = [str(code) for code in cluster_codes(patients, n_scans)]
    resampler = Resampler.create(np.zeros(n_scans), codes, n_resamples, seed, stratified=False)
    return bootstrap_estimate(statistic, resampler, level)


def _curves(marks: Marks, weights: IntArray) -> tuple[FloatArray, FloatArray]:
    """False marks a scan and sensitivity for scans counted several times; weights (B, S) -> two of (B, U + 1)."""
    order = np.argsort(-marks.score, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(marks.score[order]) != 0, True]) if len(order) else np.empty(0, dtype=int)
    each = weights[:, marks.scan[order]]
    start = np.zeros((len(weights), 1))
    hits = np.hstack([start, np.cumsum(np.where(marks.hit[order], each, 0), axis=1)[:, ends]])
    false = np.hstack([start, np.cumsum(np.where(marks.hit[order], 0, each), axis=1)[:, ends]])
    with np.errstate(invalid="ignore", divide="ignore"):
        return false / weights.sum(axis=1, keepdims=True), hits / (weights @ marks.n_lesions)[:, None]
