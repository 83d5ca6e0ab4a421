"""What is reported of readers: each one, each against the model, and all of them together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dsmt_nnunet.evaluation.comparisons import compare_aucs, decision_difference
from dsmt_nnunet.evaluation.records.comparisons import (
    AgainstReaders,
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
from dsmt_nnunet.statistics.clusters.units import cluster_codes
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.statistics.decisions.threshold import specificity_threshold
from dsmt_nnunet.statistics.named_warnings import IncompleteDataWarning, WarningLog
from dsmt_nnunet.statistics.non_inferiority import non_inferiority
from dsmt_nnunet.statistics.proportions import UNDEFINED
from dsmt_nnunet.statistics.readers.against_model import ModelAgainstReaders, model_against_readers
from dsmt_nnunet.statistics.readers.obuchowski_rockette import single_modality_mean
from dsmt_nnunet.statistics.roc.by_patient import auc_interval
from dsmt_nnunet.statistics.roc.clustered import clustered_aucs
from dsmt_nnunet.statistics.roc.delong import structural_components
from dsmt_nnunet.statistics.roc.fixed_specificity import sensitivity_at_specificity
from dsmt_nnunet.statistics.t_test import bounded_interval

AT_READER_SPECIFICITY = (
    "Highest sensitivity of the model at a specificity not below the reader's, read from the ROC curve of these cases; "
    "its interval counts that the threshold was."
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
    part = table.subset(np.asarray(np.isfinite(ratings).all(axis=0), dtype=bool))
    labels, ratings = part.y_true, np.stack([part.readers[name] for name in ordinal])
    codes = cluster_codes(part.clusters, len(part))
    if min(len(np.unique(codes[labels])), len(np.unique(codes[~labels]))) < 2:
        message = "Fewer than two cases (or patients) of a class were rated by every reader."
        log.add(IncompleteDataWarning, "readers", message)
        return None
    components = structural_components(labels, ratings)
    found = clustered_aucs(labels, components, codes)
    mean = single_modality_mean("readers", found.auc, found.covariance, "random readers and cases", settings.level)
    if part.folds is not None:
        message = "Scores of several folds are not put in one order, so not compared with all readers together."
        log.add(IncompleteDataWarning, "readers", message)
    with log.collect("readers together"):
        against = {
            name: _against_all(model_against_readers(labels, score, ratings, settings.level, part.clusters), settings)
            for name, score in part.scores.items()
            if part.folds is None
        }
    covariance = "Obuchowski's covariance over patients" if part.is_clustered else "DeLong covariance"
    return MultiReader(
        method=f"Obuchowski-Rockette, one modality, random readers and random cases, {covariance}, Hillis df",
        readers=tuple(ordinal),
        n=len(part),
        n_positive=int(labels.sum()),
        reader_aucs=dict(zip(ordinal, found.auc.tolist(), strict=True)),
        mean_auc=mean.estimate,
        mean_auc_ci=bounded_interval(mean.estimate, mean.se, mean.df, settings.level),
        se=mean.se,
        df=mean.df,
        model_minus_readers=against,
    )


def _against_all(found: ModelAgainstReaders, settings: EvaluationSettings) -> AgainstReaders:
    shown = None
    if settings.margin is not None:
        shown = non_inferiority(found.difference, found.se, found.df, settings.margin, settings.level)
    return widened(AgainstReaders, found, non_inferiority=shown)


def is_binary(ratings: FloatArray) -> bool:
    """Whether all ratings given are 0 or 1."""
    return bool(np.isin(ratings[np.isfinite(ratings)], (0.0, 1.0)).all())


def _reader(table: ScoreTable, ratings: FloatArray, cut: float | None, settings: EvaluationSettings) -> Reader:
    binary = is_binary(ratings)
    interval = None if binary else auc_interval(table.y_true, ratings, table.clusters, settings.level)
    calls = _reader_decisions(ratings, binary, cut)
    decided = calls[0].called_positive if binary or cut is not None else None
    return Reader(
        kind="binary" if binary else "ordinal",
        n=len(table),
        n_positive=int(table.y_true.sum()),
        auc=None if interval is None else interval.auc,
        auc_ci=None if interval is None else (interval.lower, interval.upper),
        auc_method=None if interval is None else interval.method,
        operating_points=_reader_points(table, calls, settings),
        against={name: _against(table, name, ratings, binary, decided, settings) for name in table.scores},
    )


def _reader_points(
    table: ScoreTable, calls: Sequence[Decisions], settings: EvaluationSettings
) -> tuple[ReaderPoint, ...]:
    found = []
    for item in calls:
        point = operating_point(table.y_true, item, settings, table.clusters)
        beside = {}
        if np.isfinite(point.specificity) and np.isfinite(point.sensitivity) and table.folds is None:
            beside = {name: _at_specificity(table, name, point.specificity, settings) for name in table.scores}
        found.append(widened(ReaderPoint, point, model_at_reader_specificity=beside))
    return tuple(found)


def _at_specificity(
    table: ScoreTable, name: str, specificity: float, settings: EvaluationSettings
) -> PointAtSpecificity:
    """The most sensitive threshold of a score whose specificity is not below the one given."""
    choice = specificity_threshold(table.y_true, table.scores[name], specificity)
    interval = UNDEFINED
    if table.resampler(settings) is not None:
        interval = sensitivity_at_specificity(
            table.y_true,
            table.scores[name],
            specificity,
            table.clusters,
            settings.level,
            settings.n_resamples,
            settings.seed,
        ).ci
    return PointAtSpecificity(
        sensitivity=choice.sensitivity,
        sensitivity_ci=interval,
        specificity=choice.specificity,
        threshold=choice.threshold,
        threshold_chosen_on_reported_data=True,
        note=AT_READER_SPECIFICITY,
    )


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
    auc = threshold = decisions = None
    if not binary:
        auc = compare_aucs(table, table.scores[name], ratings, settings)
    points = table.decisions.get(name, ())
    if points and decided is not None:
        threshold, calls = points[0].threshold, (points[0].called_positive, decided)
        decisions = decision_difference(table.y_true, *calls, settings.level, table.clusters)
    return ReaderDifference(auc=auc, threshold=threshold, decisions=decisions)
