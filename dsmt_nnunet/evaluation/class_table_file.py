"""A table of models that give each of several classes, or grades, a probability: read, checked, evaluated, written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dsmt_nnunet.csv_table import CsvRow, CsvTable, number_or_nan, read_csv
from dsmt_nnunet.evaluation.class_comparisons import ClassTable, class_comparisons, measure_value
from dsmt_nnunet.evaluation.class_readers import class_readers
from dsmt_nnunet.evaluation.families import adjusted_classes
from dsmt_nnunet.evaluation.files import head_of, whole_evaluation, write_metrics
from dsmt_nnunet.evaluation.folds import fold_column, folds_of
from dsmt_nnunet.evaluation.grades import RULE, median_grades
from dsmt_nnunet.evaluation.group_bands import GroupColumn
from dsmt_nnunet.evaluation.multiclass import confusion_matrix
from dsmt_nnunet.evaluation.patients import patient_column
from dsmt_nnunet.evaluation.records.class_readers import ClassReader
from dsmt_nnunet.evaluation.records.metrics import ClassTableMetrics, TableSources
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.table_rows import check_repeats, known_rows, lines_named, patients_of, require_columns
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.checks import IntArray
from dsmt_nnunet.statistics.named_warnings import WarningLog
from dsmt_nnunet.statistics.ordinal.measures import Answers, ClassCases

MOST_PROBABLE = "decided is the most probable class"
SUM_TOLERANCE = 0.01
"""By how much the probabilities of a case may miss 1: columns are often rounded."""


@dataclass(frozen=True)
class ClassTableColumns:
    """Which columns mean what.

    Attributes:
        truth: names of classes.
        classes: all of them, of grades the lowest first.
        is_ordinal: whether they are grades.
        models: NAME stands for the columns NAME_prob_CLASS.
        readers: columns of class names, empty where not rated.
        groups, cluster, independent, fold, case: as of `table_file.TableColumns`.
    """

    truth: str
    classes: tuple[str, ...]
    models: tuple[str, ...]
    is_ordinal: bool = False
    readers: tuple[str, ...] = ()
    groups: tuple[GroupColumn, ...] = ()
    cluster: str | None = None
    independent: bool = False
    fold: str | None = None
    case: str | None = None

    def __post_init__(self) -> None:
        if len(self.classes) < 3 or len(set(self.classes)) < len(self.classes):
            raise ValueError(
                f"--classes must name three classes or more, each once; got {list(self.classes)}. Two classes are for "
                f"'dsmt evaluate table'."
            )
        names = [*self.models, *self.readers, self.truth]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{repeated} are named more than once among truth, models and readers.")

    def of_model(self, name: str) -> list[str]:
        """Its columns."""
        return [f"{name}_prob_{item}" for item in self.classes]


def evaluate_class_table_file(
    path: Path, columns: ClassTableColumns, out: Path, settings: EvaluationSettings
) -> ClassTableMetrics:
    """Evaluates a table and writes metrics.json into `out`.

    Raises:
        ValueError: a column is missing, a truth or a rating is no class, or probabilities are missing or do not sum to
            1; the rows are named by their line in the file.
    """
    log, content = WarningLog(), read_csv(path)
    columns = replace(columns, cluster=patient_column(columns.cluster, content.columns))
    table, read = _read(content, columns, log)
    cases = table.cases
    readers: dict[str, dict[str, ClassReader]] = {name: {} for name in read}
    for model, answers in table.models.items():
        for name, found in class_readers(cases, answers, columns.classes, read, settings).items():
            readers[name][model] = found
    patients = None if columns.independent or columns.cluster is None else int(cases.codes.max()) + 1
    compared = class_comparisons(table, settings, log)
    metrics = widened(
        ClassTableMetrics,
        head_of(settings, log),
        compared,
        inputs=TableSources(
            table=path.name,
            truth=columns.truth,
            positive=None,
            cluster=None if columns.independent else columns.cluster,
            fold=None if cases.folds is None else columns.fold,
        ),
        n=len(cases.truth),
        n_clusters=patients,
        classes=columns.classes,
        is_ordinal=columns.is_ordinal,
        rule=RULE if columns.is_ordinal else MOST_PROBABLE,
        models={
            name: tuple(measure_value(measure, cases, answers, settings) for measure in cases.measures)
            for name, answers in table.models.items()
        },
        confusion_matrices={
            name: confusion_matrix(cases.truth, answers.decided, cases.n_classes)
            for name, answers in table.models.items()
        },
        readers=readers,
    )
    metrics = adjusted_classes(metrics)
    with whole_evaluation(out, path) as place:
        write_metrics(place, metrics)
    return metrics


def _read(table: CsvTable, columns: ClassTableColumns, log: WarningLog) -> tuple[ClassTable, dict[str, IntArray]]:
    of_models = [name for model in columns.models for name in columns.of_model(model)]
    optional = [name for name in (columns.cluster, columns.case) if name]
    groups = [group.name for group in columns.groups]
    require_columns(table, (columns.truth, *of_models, *columns.readers, *groups, *optional))
    rows = known_rows(table, columns.truth, log)
    check_repeats(table, rows, columns.case)
    clusters = patients_of(table, rows, columns.cluster, columns.independent, log)
    folds = folds_of(table.path, rows, fold_column(table, rows, columns.fold), clusters, log)
    truth = _classes(table.path, rows, columns.truth, columns.classes)
    cases = ClassCases.create(truth, len(columns.classes), columns.is_ordinal, clusters, folds)
    models = {name: _answers(table.path, rows, columns, name) for name in columns.models}
    levels = {group.name: group.levels([row.get(group.name) for row in rows]) for group in columns.groups}
    read = {name: _classes(table.path, rows, name, columns.classes) for name in columns.readers}
    return ClassTable(cases, models, levels), read


def _classes(path: Path, rows: Sequence[CsvRow], column: str, classes: Sequence[str]) -> IntArray:
    """Index of the class in each row, -1 where the cell is empty."""
    texts = [row.get(column) for row in rows]
    wrong = [row.line for row, text in zip(rows, texts, strict=True) if text and text not in classes]
    if wrong:
        other = sorted({text for text in texts if text} - set(classes))
        raise ValueError(
            f"{path}: column '{column}' must hold {list(classes)}; it holds {other[:6]} in {lines_named(wrong)}. "
            f"Name every class with --classes, of grades the lowest first."
        )
    return np.array([classes.index(text) if text else -1 for text in texts], dtype=np.int64)


def _answers(path: Path, rows: Sequence[CsvRow], columns: ClassTableColumns, model: str) -> Answers:
    names = columns.of_model(model)
    probs = np.array([[number_or_nan(row.get(name)) for name in names] for row in rows], dtype=np.float64)
    bad = ~np.isfinite(probs).all(axis=1) | (probs < 0).any(axis=1) | (abs(probs.sum(axis=1) - 1) > SUM_TOLERANCE)
    if bad.any():
        lines = lines_named([rows[index].line for index in np.flatnonzero(bad).tolist()])
        raise ValueError(
            f"{path}: the probabilities of model '{model}' ({', '.join(names)}) must be numbers of 0 or more that sum "
            f"to 1 in every row with a truth; they are not in {lines}. Correct them, or take those rows out."
        )
    probs /= probs.sum(axis=1, keepdims=True)
    decided = median_grades(probs) if columns.is_ordinal else np.asarray(probs.argmax(axis=1), dtype=np.int64)
    return Answers(decided, probs)
