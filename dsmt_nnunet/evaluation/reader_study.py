"""A multi-reader multi-case study from a table with one row a rating."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from dsmt_nnunet.csv_table import CsvTable, number_or_nan, read_csv
from dsmt_nnunet.evaluation.families import adjusted_merits
from dsmt_nnunet.evaluation.files import head_of, whole_evaluation, write_metrics
from dsmt_nnunet.evaluation.patients import patient_column, patients
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
from dsmt_nnunet.statistics.named_warnings import IncompleteDataWarning, SmallSampleWarning, WarningLog
from dsmt_nnunet.statistics.readers.against_model import FEW_READERS
from dsmt_nnunet.statistics.readers.merit_covariance import CovarianceMethod, Merit, MeritEstimates, estimate_merit
from dsmt_nnunet.statistics.readers.obuchowski_rockette import (
    DESIGNS,
    Design,
    Estimate,
    ReaderStudyResult,
    obuchowski_rockette,
)
from dsmt_nnunet.statistics.readers.study import Rating, ReaderStudy
from dsmt_nnunet.statistics.t_test import bounded_interval


@dataclass(frozen=True)
class RatingColumns:
    """Names of the columns, the truth's class name that means positive (None for 0/1), and the column of patients.

    `cluster` None takes `PATIENT_COLUMN` where the table has it; `independent` takes no column.
    """

    reader: str
    modality: str
    case: str
    truth: str
    rating: str
    positive: str | None = None
    cluster: str | None = None
    independent: bool = False


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

    Raises:
        ValueError: the cut is not finite, or the table is not one of a study.
    """
    if cut is not None and not math.isfinite(cut):
        raise ValueError(f"--cut is a finite rating, got {cut:g}.")
    log = WarningLog()
    table = read_csv(path)
    study = read_reader_study(table, columns)
    clusters, cluster = _patients(table, study, columns, log)
    merits = {"auc": _merit_result(study, "auc", covariance, None, clusters, settings, log)}
    if cut is not None:
        for merit in ("sensitivity", "specificity"):
            merits[merit] = _merit_result(study, merit, "jackknife", cut, clusters, settings, log)
    if 1 < len(study.readers) < FEW_READERS:
        message = f"{len(study.readers)} readers stand for all; say little of readers with fewer than {FEW_READERS}."
        log.add(SmallSampleWarning, "readers", message)
    merits, families = adjusted_merits(merits)
    metrics = widened(
        ReaderStudyMetrics,
        head_of(settings, log, families),
        inputs=ReaderStudySources(table=path.name, truth=columns.truth, cluster=cluster),
        method="Obuchowski-Rockette, Hillis degrees of freedom",
        n_cases=len(study.y_true),
        n_positive=int(study.y_true.sum()),
        readers=study.readers,
        modalities=study.modalities,
        cut=cut,
        merits=merits,
    )
    with whole_evaluation(out, path) as place:
        write_metrics(place, metrics)
    return metrics


def read_reader_study(table: CsvTable, columns: RatingColumns) -> ReaderStudy:
    """Reads a table with one row a rating.

    Raises:
        ValueError: a column is missing, cells are empty, or the study is not fully crossed.
    """
    path, names = table.path, (columns.reader, columns.modality, columns.case, columns.truth, columns.rating)
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
        value = number_or_nan(row.get(columns.rating))
        if not math.isfinite(value):
            raise ValueError(
                f"{path}, line {row.line}: a rating must be a finite number, got '{row.get(columns.rating)}'."
            )
        reader, modality, case = (row.get(name) for name in names[:3])
        ratings.append(Rating(reader, modality, case, positive, value))
    return ReaderStudy.from_ratings(ratings)


def _patients(
    table: CsvTable, study: ReaderStudy, columns: RatingColumns, log: WarningLog
) -> tuple[tuple[str, ...] | None, str | None]:
    """Patient of each case of a study and the column that names them; None where none does.

    Raises:
        ValueError: the column is missing, a cell is empty, or a case has two patients.
    """
    column = None if columns.independent else patient_column(columns.cluster, table.columns)
    if column is None:
        return None, None
    if column not in table.columns:
        raise ValueError(f"{table.path} has no column '{column}'; its columns are {list(table.columns)}.")
    of_case: dict[str, str] = {}
    for row in table.rows:
        case, name = row.get(columns.case), row.get(column)
        if not name or of_case.setdefault(case, name) != name:
            raise ValueError(
                f"{table.path}, line {row.line}: every case belongs to one patient; case '{case}' names '{name}' in "
                f"column '{column}'" + (f" and '{of_case[case]}' before." if name else ". Fill it in.")
            )
    return patients([of_case[case] for case in study.cases], column, log), column


def _merit_result(
    study: ReaderStudy,
    merit: Merit,
    covariance: CovarianceMethod,
    cut: float | None,
    clusters: tuple[str, ...] | None,
    settings: EvaluationSettings,
    log: WarningLog,
) -> MeritResult:
    estimates = estimate_merit(study, merit, covariance, cut, clusters)

    def analysed(design: Design) -> DesignResult:
        found = obuchowski_rockette(estimates, study.modalities, study.readers, design, settings.level)
        return _design_result(found, settings.level)

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


def _design_result(result: ReaderStudyResult, level: float) -> DesignResult:
    """Means with intervals on the logit scale, which stay within 0 to 1; differences as they are."""

    def mean(item: Estimate) -> ModalityMean:
        numbers = _numbers(item)
        numbers["ci"] = bounded_interval(item.estimate, item.se, item.df, level)
        return ModalityMean(modality=item.names[0], **numbers)

    return DesignResult(
        variance_components=result.components,
        ms_modality=result.ms_modality,
        ms_modality_reader=result.ms_modality_reader,
        equality=result.equality,
        means=tuple(mean(item) for item in result.means),
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
