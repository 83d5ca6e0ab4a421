"""What is reported of readers: each one, each against the model, and all of them together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dsmt_nnunet.evaluation.comparisons import auc_difference, decision_difference
from dsmt_nnunet.evaluation.records.comparisons import (
    MultiReader,
    PointAtSpecificity,
    Reader,
    ReaderDifference,
    ReaderPoint,
)
from dsmt_nnunet.evaluation.score import operating_point
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.statistics.decisions.threshold import cut_points
from dsmt_nnunet.statistics.named_warnings import IncompleteDataWarning, WarningLog
from dsmt_nnunet.statistics.proportions import proportion
from dsmt_nnunet.statistics.readers.against_model import model_against_readers
from dsmt_nnunet.statistics.readers.obuchowski_rockette import single_modality_mean
from dsmt_nnunet.statistics.roc.comparison import paired_comparison
from dsmt_nnunet.statistics.roc.delong import structural_components
from dsmt_nnunet.statistics.roc.interval import delong_interval

AT_READER_SPECIFICITY = (
    "Highest sensitivity of the model at a specificity not below the reader's, read from the ROC curve of these "
    "cases: a description, not the performance of a threshold fixed beforehand."
)


def evaluate_readers(table: ScoreTable, settings: EvaluationSettings, log: WarningLog) -> dict[str, Reader]:
    """Each reader by name: operating points, AUC of ordinal ratings, and each score against the reader."""
    found = {}
    for name, ratings in table.readers.items():
        rated = np.isfinite(ratings)
        if not rated.all():
            message = f"{int((~rated).sum())} of {len(ratings)} cases have no rating and are left out for this reader."
            log.add(IncompleteDataWarning, name, message)
        with log.collect(f"reader {name}"):
            part = table.subset(rated)
            found[name] = _reader(part, part.readers[name], table.reader_cuts.get(name), settings)
    return found


def readers_together(table: ScoreTable, settings: EvaluationSettings, log: WarningLog) -> MultiReader | None:
    """Mean AUC of two or more ordinal readers on the cases that all of them rated, and each score against it."""
    ordinal = [name for name, ratings in table.readers.items() if not is_binary(ratings)]
    if len(ordinal) < 2:
        return None
    ratings = np.stack([table.readers[name] for name in ordinal])
    complete = np.isfinite(ratings).all(axis=0)
    labels, ratings = table.y_true[complete], ratings[:, complete]
    if min(int(labels.sum()), int((~labels).sum())) < 2:
        log.add(IncompleteDataWarning, "readers", "Fewer than two cases of a class were rated by every reader.")
        return None
    components = structural_components(labels, ratings)
    mean = single_modality_mean(
        "readers", components.auc, components.covariance, "random readers and cases", settings.level
    )
    return MultiReader(
        method="Obuchowski-Rockette, one modality, random readers and random cases, DeLong covariance, Hillis df",
        readers=tuple(ordinal),
        n=int(complete.sum()),
        n_positive=int(labels.sum()),
        reader_aucs=dict(zip(ordinal, components.auc.tolist(), strict=True)),
        mean_auc=mean.estimate,
        mean_auc_ci=mean.ci,
        se=mean.se,
        df=mean.df,
        model_minus_readers={
            name: model_against_readers(labels, score[complete], ratings, settings.level)
            for name, score in table.scores.items()
        },
    )


def is_binary(ratings: FloatArray) -> bool:
    """Whether all ratings given are 0 or 1."""
    return bool(np.isin(ratings[np.isfinite(ratings)], (0.0, 1.0)).all())


def sensitivity_at_specificity(
    y_true: BoolArray, y_score: FloatArray, specificity: float, settings: EvaluationSettings
) -> PointAtSpecificity:
    """The most sensitive threshold of a score whose specificity is not below the one given."""
    points = cut_points(y_true, y_score)
    n_positive, n_negative = int(y_true.sum()), int((~y_true).sum())
    reaching = np.flatnonzero(points.specificity >= specificity - 1e-12)
    threshold, sensitivity, reached = float("nan"), 0.0, 1.0
    if len(reaching):
        index = int(reaching[0])
        threshold, sensitivity = points.between(index), float(points.sensitivity[index])
        reached = float(points.specificity[index])
    interval = proportion(round(sensitivity * n_positive), n_positive, settings.interval, settings.level)
    return PointAtSpecificity(
        sensitivity=sensitivity,
        sensitivity_ci=interval.ci,
        specificity=reached,
        specificity_ci=proportion(round(reached * n_negative), n_negative, settings.interval, settings.level).ci,
        threshold=threshold,
        threshold_chosen_on_reported_data=True,
        note=AT_READER_SPECIFICITY,
    )


def _reader(table: ScoreTable, ratings: FloatArray, cut: float | None, settings: EvaluationSettings) -> Reader:
    binary = is_binary(ratings)
    interval = None if binary else delong_interval(table.y_true, ratings, settings.level)
    calls = _reader_decisions(ratings, binary, cut)
    decided = calls[0].called_positive if binary or cut is not None else None
    return Reader(
        kind="binary" if binary else "ordinal",
        n=len(table),
        n_positive=int(table.y_true.sum()),
        auc=None if interval is None else interval.auc,
        auc_ci_delong=None if interval is None else (interval.lower, interval.upper),
        auc_ci_method=None if interval is None else interval.method,
        operating_points=_reader_points(table, calls, settings),
        against={name: _against(table, name, ratings, binary, decided, settings) for name in table.scores},
    )


def _reader_points(
    table: ScoreTable, calls: Sequence[Decisions], settings: EvaluationSettings
) -> tuple[ReaderPoint, ...]:
    resampler = table.resampler(settings) if table.is_clustered else None
    points = [operating_point(table.y_true, item, settings, resampler) for item in calls]
    found = []
    for point in points:
        beside = {}
        if np.isfinite(point.specificity) and np.isfinite(point.sensitivity):
            beside = {
                name: sensitivity_at_specificity(table.y_true, score, point.specificity, settings)
                for name, score in table.scores.items()
            }
        found.append(widened(ReaderPoint, point, model_at_reader_specificity=beside))
    return tuple(found)


def _reader_decisions(ratings: FloatArray, binary: bool, cut: float | None) -> list[Decisions]:
    if binary:
        return [Decisions.at_threshold(ratings, 1.0, "the reader's own decision")]
    if cut is not None:
        return [Decisions.at_threshold(ratings, cut, "stated by the user")]
    return [Decisions.at_threshold(ratings, value, "every category of the rating") for value in np.unique(ratings)[1:]]


def _against(
    table: ScoreTable,
    name: str,
    ratings: FloatArray,
    binary: bool,
    decided: BoolArray | None,
    settings: EvaluationSettings,
) -> ReaderDifference:
    """A score against a reader; differences are the score's minus the reader's."""
    auc = threshold = mcnemar = None
    if not binary:
        auc = auc_difference(paired_comparison(table.y_true, table.scores[name], ratings, settings.level))
    points = table.decisions.get(name, ())
    if points and decided is not None:
        threshold = points[0].threshold
        mcnemar = decision_difference(table.y_true, points[0].called_positive, decided, settings.level)
    return ReaderDifference(auc=auc, threshold=threshold, mcnemar=mcnemar)
