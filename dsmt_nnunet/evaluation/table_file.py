"""Any table of truth, scores and ratings: read, checked, evaluated, written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.special import logit

from dsmt_nnunet.csv_table import CsvRow, CsvTable, number_or_nan, read_csv
from dsmt_nnunet.evaluation.families import adjusted_added_values, adjusted_comparisons
from dsmt_nnunet.evaluation.files import SCORES_NAME, head_of, whole_evaluation, write_curves, write_metrics, write_rows
from dsmt_nnunet.evaluation.folds import fold_column, folds_of
from dsmt_nnunet.evaluation.group_bands import GroupColumn, check_spellings
from dsmt_nnunet.evaluation.patients import patient_column
from dsmt_nnunet.evaluation.records.metrics import AddedValueTest, TableMetrics, TableSources
from dsmt_nnunet.evaluation.score import is_probability
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.table import evaluate_table, score_rows
from dsmt_nnunet.evaluation.table_rows import check_repeats, known_rows, lines_named, patients_of, require_columns
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.added_value import added_value
from dsmt_nnunet.statistics.calibration.clipping import clipped
from dsmt_nnunet.statistics.calibration.scaling import DEFAULT_THRESHOLD
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.statistics.decisions.threshold import youden_threshold
from dsmt_nnunet.statistics.named_warnings import WarningLog


@dataclass(frozen=True)
class TableColumns:
    """Which columns mean what.

    Attributes:
        truth: 0/1, or two class names.
        positive: the class name that means positive; None for 0/1.
        scores: at least one, higher means positive.
        readers: binary (0/1, or the names of the truth's classes) or ordinal ratings, empty where not rated.
        groups: subgroups.
        cluster: patient; None for `PATIENT_COLUMN` where the table has it.
        independent: takes every case for a patient of its own.
        fold: fold of a cross-validation whose out-of-fold scores these are; `ONE_MODEL` where one model gave all.
            None is refused where the table has a column `FOLD_COLUMN`.
        case: name of a case; None for the line of the file.
        thresholds: score or reader -> thresholds.
        beside: columns of numbers that are known without the scores, to which their added value is tested.
        threshold_from: "youden" chooses a threshold on these very data; None does not.
    """

    truth: str
    scores: tuple[str, ...]
    positive: str | None = None
    readers: tuple[str, ...] = ()
    groups: tuple[GroupColumn, ...] = ()
    cluster: str | None = None
    independent: bool = False
    fold: str | None = None
    case: str | None = None
    thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    threshold_from: str | None = None

    def __post_init__(self) -> None:
        names = [self.truth, *self.scores, *self.readers, *self.beside]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"Columns {repeated} are named more than once among truth, scores, readers and --beside.")

    @property
    def names(self) -> tuple[str, ...]:
        """All columns named."""
        optional = [name for name in (self.cluster, self.case) if name]
        groups = [group.name for group in self.groups]
        return (self.truth, *self.scores, *self.readers, *self.beside, *groups, *optional)


def evaluate_table_file(path: Path, columns: TableColumns, out: Path, settings: EvaluationSettings) -> TableMetrics:
    """Evaluates a table and writes metrics.json, curves.json and scores.csv into `out`."""
    log = WarningLog()
    content = read_csv(path)
    columns = replace(columns, cluster=patient_column(columns.cluster, content.columns))
    table = read_score_table(content, columns, log)
    sources = TableSources(
        table=path.name,
        truth=columns.truth,
        positive=columns.positive,
        cluster=None if columns.independent else columns.cluster,
        fold=None if table.folds is None else columns.fold,
    )
    added = added_values(content, table, columns, log) if columns.beside else None
    return write_table_evaluation(table, settings, log, sources, out, added, path)


def write_table_evaluation(
    table: ScoreTable,
    settings: EvaluationSettings,
    log: WarningLog,
    sources: TableSources,
    out: Path,
    added: tuple[AddedValueTest, ...] | None = None,
    path: Path | None = None,
) -> TableMetrics:
    """Evaluates cases in memory and writes metrics.json, curves.json and scores.csv into `out`.

    Args:
        table: the cases.
        settings: how intervals are made.
        log: takes the named warnings.
        sources: what metrics.json says of where the cases come from.
        out: made if need be.
        added: what scores add to other columns.
        path: of the table; None where it was never a file.
    """
    result = evaluate_table(table, settings, log)
    adjusted, families = adjusted_comparisons({"": result.comparisons})
    if added is not None:
        added, family = adjusted_added_values(added)
        families += (family,)
    metrics = widened(
        TableMetrics,
        head_of(settings, log, families),
        adjusted[""],
        inputs=sources,
        n=len(table),
        n_positive=int(table.y_true.sum()),
        scores=result.scores,
        decision_curve={name: curves.decision_curve for name, curves in result.curves.items()},
        added_value=added,
    )
    with whole_evaluation(out, path) as place:
        write_rows(place / SCORES_NAME, *score_rows(table))
        write_curves(place, "table", scores=result.curves)
        write_metrics(place, metrics)
    return metrics


def added_values(
    content: CsvTable, table: ScoreTable, columns: TableColumns, log: WarningLog
) -> tuple[AddedValueTest, ...]:
    """What each score adds to the columns `beside`: a logistic regression with and without it, tested.

    Raises:
        ValueError: the scores are of several folds, on which such a test rejects where there is nothing to find.
    """
    if table.folds is not None:
        raise ValueError(
            "--beside tests on data that the scores were not learnt from. Folds share their training cases, and on "
            "out-of-fold scores the test rejects in 16 to 51 % where there is nothing to be found: evaluate one model "
            "on other patients."
        )
    rows = [row for row in content.rows if row.get(columns.truth)]
    base = np.column_stack([_numbers(content.path, rows, name) for name in columns.beside])
    found = []
    for name, score in table.scores.items():
        with log.collect(f"{name} beside {', '.join(columns.beside)}"):
            linear = logit(clipped(score)) if is_probability(score) else score
            result = added_value(table.y_true, linear, base, table.clusters)
        found.append(
            AddedValueTest(
                score=name,
                beside=columns.beside,
                n=len(table),
                weight=result.weight,
                beside_weights=result.base_weights,
                test=result.test,
                p_value=result.p_value,
            )
        )
    return tuple(found)


def read_score_table(table: CsvTable, columns: TableColumns, log: WarningLog) -> ScoreTable:
    """Reads the rows whose truth is known.

    Raises:
        ValueError: a column is missing, the truth has not two values, scores are missing or no finite numbers; the
            rows are named by their line in the file.
    """
    path = table.path
    require_columns(table, columns.names)
    rows = known_rows(table, columns.truth, log)
    check_repeats(table, rows, columns.case)
    y_true = parse_truth(path, rows, columns.truth, columns.positive)
    scores = {name: _numbers(path, rows, name) for name in columns.scores}
    readers = {name: _ratings(path, rows, name, columns) for name in columns.readers}
    clusters = patients_of(table, rows, columns.cluster, columns.independent, log)
    folds = folds_of(path, rows, fold_column(table, rows, columns.fold), clusters, log)
    return ScoreTable(
        case_names=tuple(row.get(columns.case) if columns.case else f"line {row.line}" for row in rows),
        y_true=y_true,
        scores=scores,
        decisions={name: _decisions(y_true, name, values, columns) for name, values in scores.items()},
        readers=readers,
        reader_cuts={name: columns.thresholds[name][0] for name in columns.readers if name in columns.thresholds},
        groups={group.name: group.levels([row.get(group.name) for row in rows]) for group in columns.groups},
        clusters=clusters,
        folds=folds,
    )


def parse_truth(path: Path, rows: Sequence[CsvRow], column: str, positive: str | None) -> BoolArray:
    """Truth as booleans.

    Raises:
        ValueError: neither 0/1 nor two names of which `positive` is one, or spellings of one name.
    """
    texts = [row.get(column) for row in rows]
    distinct = sorted(set(texts))
    if positive is None:
        numbers = [number_or_nan(text) for text in texts]
        wrong = [row.line for row, number in zip(rows, numbers, strict=True) if number not in (0.0, 1.0)]
        if wrong:
            raise ValueError(
                f"{path}: the truth column '{column}' must be 0 or 1, or two class names with --positive NAME; it "
                f"holds {distinct[:6]} (first in {lines_named(wrong)})."
            )
        return np.asarray(np.array(numbers) == 1, dtype=bool)
    if len(distinct) > 2 or (len(distinct) == 2 and positive not in distinct):
        raise ValueError(
            f"{path}: the truth column '{column}' must hold two class names, one of them '{positive}' (--positive); "
            f"it holds {distinct[:6]}."
        )
    check_spellings(f"{path}: the truth column '{column}' (--positive '{positive}')", [*distinct, positive])
    return np.array([text == positive for text in texts], dtype=bool)


def _numbers(path: Path, rows: Sequence[CsvRow], column: str) -> FloatArray:
    values = [number_or_nan(row.get(column)) for row in rows]
    wrong = [row.line for row, value in zip(rows, values, strict=True) if not math.isfinite(value)]
    if wrong:
        raise ValueError(
            f"{path}: the score '{column}' must be a finite number in every row with a truth; it is missing, NaN, no "
            f"number, or can be read as two (1,234) in {lines_named(wrong)}. Fill them in, or take those rows out."
        )
    return np.array(values, dtype=np.float64)


def _ratings(path: Path, rows: Sequence[CsvRow], column: str, columns: TableColumns) -> FloatArray:
    classes = {row.get(columns.truth) for row in rows} if columns.positive is not None else set()
    values, wrong = [], []
    for row in rows:
        text = row.get(column)
        if text in classes or (text and text == columns.positive):
            values.append(float(text == columns.positive))
            continue
        values.append(number_or_nan(text))
        if text and not math.isfinite(values[-1]):
            wrong.append(row.line)
    if wrong:
        raise ValueError(
            f"{path}: the ratings of reader '{column}' must be numbers (0/1 or ordinal), class names of the truth, or "
            f"empty where there is no rating; something else in {lines_named(wrong)}."
        )
    return np.array(values, dtype=np.float64)


def _decisions(y_true: BoolArray, name: str, scores: FloatArray, columns: TableColumns) -> tuple[Decisions, ...]:
    stated = [Decisions.at_threshold(scores, cut, "stated by the user") for cut in columns.thresholds.get(name, ())]
    if columns.threshold_from == "youden" and 0 < y_true.sum() < len(y_true):
        cut = youden_threshold(y_true, scores).threshold
        stated.append(Decisions.at_threshold(scores, cut, "Youden's J on these very data", True))
    if not stated and is_probability(scores):
        source = f"default {DEFAULT_THRESHOLD:g} of a probability"
        stated.append(Decisions.at_threshold(scores, DEFAULT_THRESHOLD, source))
    return tuple(stated)
