"""A multi-reader multi-case study from a table with one row a rating."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.evaluation.files import head_of, write_metrics
from dsmt_nnunet.evaluation.records.metrics import ReaderStudyMetrics, ReaderStudySources
from dsmt_nnunet.evaluation.records.reader_study import (
    DesignResult,
    MeritResult,
    ModalityDifference,
    ModalityMean,
    ReaderEstimate,
    ReaderModalityDifference,
)
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.table_file import parse_truth
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.checks import named_rows
from dsmt_nnunet.statistics.named_warnings import IncompleteDataWarning, WarningLog
from dsmt_nnunet.statistics.readers.merit_covariance import CovarianceMethod, Merit, MeritEstimates, estimate_merit
from dsmt_nnunet.statistics.readers.obuchowski_rockette import (
    DESIGNS,
    Design,
    Estimate,
    ReaderStudyResult,
    obuchowski_rockette,
)
from dsmt_nnunet.statistics.readers.study import Rating, ReaderStudy


@dataclass(frozen=True)
class RatingColumns:
    """Names of the columns, and the truth's class name that means positive (None for 0/1)."""

    reader: str
    modality: str
    case: str
    truth: str
    rating: str
    positive: str | None = None


def evaluate_reader_study_file(
    path: Path,
    columns: RatingColumns,
    out: Path,
    settings: EvaluationSettings,
    covariance: CovarianceMethod = "delong",
    cut: float | None = None,
) -> ReaderStudyMetrics:
    """Analyses a study and writes metrics.json into `out`.

    Args:
        path: the table.
        columns: which column means what.
        out: output folder.
        settings: the confidence level.
        covariance: of the AUC; sensitivity and specificity use the jackknife.
        cut: ratings at or above it are positive, for sensitivity and specificity; None for the AUC alone.
    """
    log = WarningLog()
    study = read_reader_study(path, columns)
    merits = {"auc": _merit_result(study, "auc", covariance, None, settings, log)}
    if cut is not None:
        for merit in ("sensitivity", "specificity"):
            merits[merit] = _merit_result(study, merit, "jackknife", cut, settings, log)
    metrics = widened(
        ReaderStudyMetrics,
        head_of(settings, log),
        inputs=ReaderStudySources(table=path.name, truth=columns.truth),
        method="Obuchowski-Rockette, Hillis degrees of freedom",
        n_cases=len(study.y_true),
        n_positive=int(study.y_true.sum()),
        readers=study.readers,
        modalities=study.modalities,
        cut=cut,
        merits=merits,
    )
    out.mkdir(parents=True, exist_ok=True)
    write_metrics(out, metrics)
    return metrics


def read_reader_study(path: Path, columns: RatingColumns) -> ReaderStudy:
    """Reads a table with one row a rating.

    Raises:
        ValueError: a column is missing, cells are empty, or the study is not fully crossed.
    """
    table = read_csv(path)
    names = (columns.reader, columns.modality, columns.case, columns.truth, columns.rating)
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise ValueError(
            f"{path} has no column {missing}; its columns are {list(table.columns)}. Name them with --reader-column, "
            f"--modality-column, --case-column, --truth and --rating."
        )
    empty = [row.line for row in table.rows if not all(row.get(name) for name in names)]
    if empty or not table.rows:
        raise ValueError(f"{path}: every rating needs all of {list(names)}; empty in lines {named_rows(empty)}.")
    truth = parse_truth(path, table.rows, columns.truth, columns.positive)
    ratings = []
    for row, positive in zip(table.rows, truth.tolist(), strict=True):
        try:
            value = float(row.get(columns.rating))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(
                f"{path}, line {row.line}: a rating must be a finite number, got '{row.get(columns.rating)}'."
            )
        reader, modality, case = (row.get(name) for name in names[:3])
        ratings.append(Rating(reader, modality, case, positive, value))
    return ReaderStudy.from_ratings(ratings)


def _merit_result(
    study: ReaderStudy,
    merit: Merit,
    covariance: CovarianceMethod,
    cut: float | None,
    settings: EvaluationSettings,
    log: WarningLog,
) -> MeritResult:
    estimates = estimate_merit(study, merit, covariance, cut)

    def analysed(design: Design) -> DesignResult:
        return _design_result(obuchowski_rockette(estimates, study.modalities, study.readers, design, settings.level))

    several = len(study.readers) > 1
    if not several:
        for design in (design for design in DESIGNS if design != "fixed readers"):
            log.add(IncompleteDataWarning, merit, f"'{design}' needs at least two readers.")
    return MeritResult(
        covariance_method=covariance,
        by_reader=_reader_entries(study, estimates),
        random_readers_and_cases=analysed("random readers and cases") if several else None,
        fixed_readers=analysed("fixed readers"),
        fixed_cases=analysed("fixed cases") if several else None,
    )


def _reader_entries(study: ReaderStudy, estimates: MeritEstimates) -> tuple[ReaderEstimate, ...]:
    return tuple(
        ReaderEstimate(
            reader=reader,
            modality=modality,
            estimate=float(estimates.values[t, r]),
            se=math.sqrt(max(float(estimates.covariance[t, r, t, r]), 0.0)),
        )
        for t, modality in enumerate(study.modalities)
        for r, reader in enumerate(study.readers)
    )


def _design_result(result: ReaderStudyResult) -> DesignResult:
    return DesignResult(
        variance_components=result.components,
        ms_modality=result.ms_modality,
        ms_modality_reader=result.ms_modality_reader,
        equality=result.equality,
        means=tuple(ModalityMean(modality=item.names[0], **_numbers(item)) for item in result.means),
        differences=tuple(
            ModalityDifference(first=item.names[0], second=item.names[1], **_numbers(item))
            for item in result.differences
        ),
        reader_differences=tuple(
            ReaderModalityDifference(reader=item.names[0], first=item.names[1], second=item.names[2], **_numbers(item))
            for item in result.reader_differences
        ),
    )


class _Numbers(TypedDict):
    estimate: float
    se: float
    df: float
    ci: tuple[float, float]
    statistic: float
    p_value: float


def _numbers(item: Estimate) -> _Numbers:
    return {
        "estimate": item.estimate,
        "se": item.se,
        "df": item.df,
        "ci": item.ci,
        "statistic": item.statistic,
        "p_value": item.p_value,
    }
