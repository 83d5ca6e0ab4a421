"""The table every evaluation of binary scores works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.units import are_clustered
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.statistics.resampling import Resampler


@dataclass(frozen=True)
class ScoreTable:
    """N cases with a known truth.

    Attributes:
        case_names: for messages and for the table of scores.
        y_true: positive or not, shape (N,).
        scores: score name -> shape (N,), higher means positive.
        decisions: score name -> operating points, the first is the one that readers and other scores are compared at.
        readers: reader name -> ratings, shape (N,), NaN where the reader gave none; binary (0/1) or ordinal.
        reader_cuts: reader name -> stated cut of an ordinal rating (positive at or above it).
        groups: column -> level of each case, "" where unknown.
        clusters: patient of each case; None where every case stands alone.
        folds: fold of a cross-validation of each case, shape (N,); None where one model gave all scores. Scores of
            different folds are never put in one order.
    """

    case_names: tuple[str, ...]
    y_true: BoolArray
    scores: Mapping[str, FloatArray]
    decisions: Mapping[str, tuple[Decisions, ...]] = field(default_factory=dict)
    readers: Mapping[str, FloatArray] = field(default_factory=dict)
    reader_cuts: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clusters: tuple[str, ...] | None = None
    folds: IntArray | None = None

    def __len__(self) -> int:
        return len(self.y_true)

    @property
    def is_clustered(self) -> bool:
        """Whether any cluster holds more than one case."""
        return are_clustered(self.clusters, len(self))

    @property
    def n_clusters(self) -> int | None:
        """Number of patients; None where they are not known."""
        return None if self.clusters is None else len(set(self.clusters))

    def subset(self, chosen: BoolArray) -> ScoreTable:
        """The cases where `chosen` is true."""

        def pick(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(value for value, keep in zip(values, chosen, strict=True) if keep)

        return ScoreTable(
            pick(self.case_names),
            self.y_true[chosen],
            {name: values[chosen] for name, values in self.scores.items()},
            {
                name: tuple(
                    Decisions(item.called_positive[chosen], item.threshold, item.source, item.chosen_on_reported_data)
                    for item in items
                )
                for name, items in self.decisions.items()
            },
            {name: values[chosen] for name, values in self.readers.items()},
            self.reader_cuts,
            {name: pick(values) for name, values in self.groups.items()},
            None if self.clusters is None else pick(self.clusters),
            None if self.folds is None else self.folds[chosen],
        )

    def resampler(self, settings: EvaluationSettings, stratified: bool = True) -> Resampler | None:
        """Bootstrap of these cases; None where it is switched off or a class has fewer than two cases (patients).

        Args:
            settings: resamples and seed.
            stratified: whether the prevalence is held; what depends on it needs False.
        """
        units = self.clusters or tuple(str(index) for index in range(len(self)))
        held_by = [{unit for unit, label in zip(units, self.y_true, strict=True) if label == kind} for kind in (0, 1)]
        if settings.n_resamples == 0 or min(map(len, held_by)) < 2:
            return None
        return Resampler.create(self.y_true, self.clusters, settings.n_resamples, settings.seed, stratified)
