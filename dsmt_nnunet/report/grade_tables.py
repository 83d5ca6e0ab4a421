"""The tables of the grades of an ordinal task, and of readers of grades and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsmt_nnunet.evaluation.records.class_comparisons import (
    ClassComparisons,
    ClassLevel,
    MeasureDifference,
    MeasureValue,
)
from dsmt_nnunet.evaluation.records.class_readers import ClassReader
from dsmt_nnunet.evaluation.records.comparisons import AdjustedFamily
from dsmt_nnunet.evaluation.records.grades import GradedScores
from dsmt_nnunet.evaluation.records.metrics import ClassTableMetrics
from dsmt_nnunet.report.numbers import p_value, readable, shown, with_interval
from dsmt_nnunet.report.tables import Row, Table


def grade_tables(grades: GradedScores | None, confidence: str, families: Sequence[AdjustedFamily] = ()) -> list[Table]:
    """Agreement and order of the grades, the AUC at every cut, their counts, and what is compared."""
    if grades is None:
        return []
    rows: list[Row] = [
        ("Nodules", str(grades.n)),
        ("Quadratic weighted kappa", with_interval(grades.quadratic_kappa, grades.quadratic_kappa_ci)),
        ("C-index", with_interval(grades.c_index, grades.c_index_ci)),
        ("Mean absolute error, grades", with_interval(grades.mean_absolute_error, grades.mean_absolute_error_ci, 2)),
        ("The very grade", with_interval(grades.accuracy, grades.accuracy_ci)),
    ]
    rows += [
        (f"AUC, {item.at_or_above} or above ({item.n_at_or_above})", with_interval(item.auc, item.auc_ci))
        for item in grades.auc_at_cuts
    ]
    return [
        Table("Grades", ("", f"Value ({confidence} interval)"), tuple(rows), f"{grades.rule.capitalize()}."),
        _counts_table("Grades: truth (rows) and decision", grades.grades, grades.confusion_matrix),
        *class_reader_tables(grades.readers, confidence, families),
        *class_comparison_tables(grades, confidence, families),
    ]


def class_reader_tables(
    readers: Mapping[str, ClassReader], confidence: str, families: Sequence[AdjustedFamily]
) -> list[Table]:
    """The model beside each reader who chose among all grades or classes; none without readers."""
    rows = [
        _compared(f"{name} ({reader.n}), {item.measure}", item)
        for name, reader in readers.items()
        for item in reader.model_minus_reader
    ]
    columns = ("Reader (nodules), measure", "Model", "Reader", f"Difference ({confidence} interval)", "p", "p, Holm")
    note = _note(families, "readers of grades and classes")
    return _with_rows([Table("The model beside readers of all grades or classes", columns, tuple(rows), note)])


def class_comparison_tables(
    found: ClassComparisons, confidence: str, families: Sequence[AdjustedFamily]
) -> list[Table]:
    """Models beside each other, measures within the levels of each column, their differences and interactions."""
    models = [
        _compared(f"{' - '.join(pair.models)} ({pair.n}), {item.measure}", item)
        for pair in found.comparisons
        for item in pair.differences
    ]
    levels = [
        _compared(f"{readable(pair.group)}: {' - '.join(pair.levels)}, {item.measure} of {pair.model}", item)
        for pair in found.level_comparisons
        for item in pair.differences
    ]
    interactions: list[Row] = [
        (
            f"{item.measure} of {item.subject}, {readable(item.group)}",
            ", ".join(f"{level} {shown(value)}" for level, value in zip(item.levels, item.estimates, strict=True)),
            p_value(item.p_value),
            p_value(item.p_value_holm),
        )
        for item in found.interactions
    ]
    columns = ("First", "Second", f"Difference ({confidence} interval)", "p", "p, Holm")
    asked = ("What, over which column", "At each level", "p, equal at all", "p, Holm")
    notes = [_note(families, f"{name} of grades and classes") for name in ("models", "levels", "interactions")]
    return _with_rows(
        [
            Table("Models beside each other", ("Models (cases), measure", *columns), tuple(models), notes[0]),
            *(_subgroup_table(column, held, confidence) for column, held in found.subgroups.items()),
            Table("Measures at two levels", ("Levels, measure", *columns), tuple(levels), notes[1]),
            Table("Does a measure depend on the subgroup?", asked, tuple(interactions), notes[2]),
        ]
    )


def class_tables(metrics: ClassTableMetrics) -> tuple[Table, ...]:
    """Everything of a table of grades or classes."""
    confidence, families = metrics.confidence, metrics.multiplicity
    columns = ("", *(f"{name} ({confidence} interval)" for name in metrics.models))
    tables = [Table("Measures", columns, tuple(measure_rows(metrics.models)), f"{metrics.rule.capitalize()}.")]
    tables += [
        _counts_table(f"{name}: truth (rows) and decision", metrics.classes, matrix)
        for name, matrix in metrics.confusion_matrices.items()
    ]
    for name, of_models in metrics.readers.items():
        beside = {f"{model} - {name}": item for model, item in of_models.items()}
        tables += class_reader_tables(beside, confidence, families)
    return (*tables, *class_comparison_tables(metrics, confidence, families))


def _counts_table(title: str, classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> Table:
    rows = tuple(
        (name, *map(str, line), shown(line[index] / sum(line) if sum(line) else None, 2))
        for index, (name, line) in enumerate(zip(classes, matrix, strict=True))
    )
    return Table(title, ("", *classes, "Right"), rows)


def measure_rows(models: Mapping[str, Sequence[MeasureValue]]) -> list[Row]:
    """One row a measure, one column a model."""
    names = [item.measure for item in next(iter(models.values()), ())]
    held = {name: {item.measure: item for item in values} for name, values in models.items()}
    return [
        (name.capitalize(), *(with_interval(values[name].value, values[name].ci) for values in held.values()))
        for name in names
    ]


def _subgroup_table(column: str, levels: Mapping[str, ClassLevel], confidence: str) -> Table:
    rows: list[Row] = []
    for name, level in levels.items():
        counts = ", ".join(map(str, level.n_by_class))
        rows += [(f"{name} ({level.n}: {counts}), {row[0]}", *row[1:]) for row in measure_rows(level.models)]
    models = next(iter(levels.values())).models if levels else {}
    columns = ("Level (cases: by class), measure", *(f"{name} ({confidence} interval)" for name in models))
    return Table(f"Subgroups: {readable(column)}", columns, tuple(rows))


def _compared(title: str, item: MeasureDifference) -> Row:
    first, second = item.values
    tested = (p_value(item.p_value), p_value(item.p_value_holm))
    return (title, shown(first), shown(second), with_interval(item.difference, item.ci), *tested)


def _note(families: Sequence[AdjustedFamily], name: str) -> str:
    return next((item.sentence for item in families if item.name == name), "")


def _with_rows(tables: Sequence[Table]) -> list[Table]:
    return [table for table in tables if table.rows]
