"""Bootstrap resamples as counts: how often each case is drawn, stratified by class, whole patients together."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.named_warnings import CollapsedBootstrapWarning

_COUNTS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Resampler:
    """Draws the same resamples every time it is asked, so that all statistics see the same ones.

    Cases are drawn within their class. With clusters, whole clusters (patients) are drawn, among those with the same
    highest class (for two classes: patients with a positive case, patients without), and a resample that still lacks a
    class is drawn again.

    Attributes:
        labels: class index of each case, shape (N,).
        unit_of_case: index of the unit (case or cluster) of each case, shape (N,).
        strata: indices of the units that are drawn from each other.
        n_resamples: number of resamples.
        seed: of the generator.
    """

    labels: IntArray
    unit_of_case: IntArray
    strata: tuple[IntArray, ...]
    n_resamples: int
    seed: int

    @classmethod
    def create(
        cls,
        y_true: npt.ArrayLike,
        clusters: Sequence[str] | None = None,
        n_resamples: int = 2000,
        seed: int = 0,
        stratified: bool = True,
    ) -> Resampler:
        """Args:
        y_true: class index of each case, shape (N,).
        clusters: name of the cluster of each case; None where every case stands alone.
        n_resamples: number of resamples.
        seed: of the generator.
        stratified: whether units are drawn among those of the same highest class. That holds the prevalence nearly
            fixed; what depends on it (predictive values, F1, kappa, calibration) needs False.
        """
        labels = np.asarray(y_true).astype(np.int64)
        if clusters is None:
            units = np.arange(len(labels))
        else:
            units = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)[1].astype(np.int64)
        highest = np.full(int(units.max()) + 1 if len(units) else 0, -1)
        if stratified:
            np.maximum.at(highest, units, labels)
        strata = tuple(np.flatnonzero(highest == label) for label in np.unique(highest))
        return cls(labels, units, strata, n_resamples, seed)

    def weights(self) -> Iterator[IntArray]:
        """Counts of each case, in blocks of shape (b, N); the blocks hold `n_resamples` rows together."""
        rng = np.random.default_rng(self.seed)
        n_units = int(self.unit_of_case.max()) + 1 if len(self.unit_of_case) else 0
        rows_at_once = max(1, _COUNTS_AT_ONCE // max(n_units, 1))
        for start in range(0, self.n_resamples, rows_at_once):
            weights = self._draw(rng, min(rows_at_once, self.n_resamples - start), n_units)
            while (lacking := self._lacks_a_class(weights)).any():
                weights[lacking] = self._draw(rng, int(lacking.sum()), n_units)
            yield weights

    def _draw(self, rng: np.random.Generator, n_rows: int, n_units: int) -> IntArray:
        counts = np.zeros((n_rows, n_units), dtype=np.int64)
        for members in self.strata:
            drawn = rng.integers(0, len(members), size=(n_rows, len(members)))
            drawn += len(members) * np.arange(n_rows)[:, None]
            flat = np.bincount(drawn.ravel(), minlength=n_rows * len(members))
            counts[:, members] = flat.reshape(n_rows, len(members))
        return counts[:, self.unit_of_case]

    def _lacks_a_class(self, weights: IntArray) -> BoolArray:
        present = [weights[:, self.labels == label].any(axis=1) for label in np.unique(self.labels)]
        return np.asarray(~np.all(present, axis=0), dtype=bool)


def resampled_aucs(y_true: npt.ArrayLike, scores: npt.ArrayLike, resampler: Resampler) -> FloatArray:
    """AUC of each score in each resample, shape (n_resamples, M), from scores of shape (M, N)."""
    labels = np.asarray(y_true).astype(bool)
    rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    blocks = [
        np.stack([weighted_auc(labels, score, weights) for score in rows], axis=1) for weights in resampler.weights()
    ]
    return np.concatenate(blocks) if blocks else np.empty((0, len(rows)))


def weighted_auc(y_true: npt.ArrayLike, y_score: npt.ArrayLike, weights: IntArray) -> FloatArray:
    """AUC of cases counted several times, ties counting half; weights (B, N) -> (B,)."""
    positives, negatives = tied_counts(y_true, y_score, weights)
    below = np.cumsum(negatives, axis=1) - 0.5 * negatives
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((positives * below).sum(axis=1) / pairs, dtype=np.float64)


def tied_counts(y_true: npt.ArrayLike, y_score: npt.ArrayLike, weights: IntArray) -> tuple[IntArray, IntArray]:
    """Weight of the positives and of the negatives at each distinct score, rising; two arrays of shape (B, U)."""
    labels, scores = np.asarray(y_true).astype(bool), np.asarray(y_score, dtype=np.float64)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    ordered = weights[:, order]
    positives = np.add.reduceat(np.where(labels[order], ordered, 0), starts, axis=1)
    return positives, np.add.reduceat(ordered, starts, axis=1) - positives


def percentile_interval(samples: FloatArray, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval; NaN with a `CollapsedBootstrapWarning` where all resamples agree."""
    known = samples[np.isfinite(samples)]
    if not len(known):
        return float("nan"), float("nan")
    if np.ptp(known) < 1e-12:
        warnings.warn(
            f"Every bootstrap resample gave {known[0]:g}; its interval would have no width and is left out.",
            CollapsedBootstrapWarning,
            stacklevel=2,
        )
        return float("nan"), float("nan")
    lower, upper = np.quantile(known, [0.5 - level / 2, 0.5 + level / 2])
    return float(lower), float(upper)
