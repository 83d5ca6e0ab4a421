"""The tables of the grades of an ordinal task, and of readers of grades and classes."""

from __future__ import annotations

from collections.abc import Mapping

from dsmt_nnunet.evaluation.records.class_readers import ClassReader
from dsmt_nnunet.evaluation.records.grades import GradedScores
from dsmt_nnunet.report.numbers import p_value, shown, with_interval
from dsmt_nnunet.report.tables import Row, Table


def grade_tables(grades: GradedScores | None, confidence: str, note: str = "") -> list[Table]:
    """Agreement and order of the grades, the AUC at every cut, and their counts."""
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
    counts: list[Row] = [
        (name, *map(str, line), shown(line[index] / sum(line) if sum(line) else None, 2))
        for index, (name, line) in enumerate(zip(grades.grades, grades.confusion_matrix, strict=True))
    ]
    return [
        Table("Grades", ("", f"Value ({confidence} interval)"), tuple(rows), f"{grades.rule.capitalize()}."),
        Table("Grades: truth (rows) and decision", ("", *grades.grades, "Right"), tuple(counts)),
        *class_reader_tables(grades.readers, confidence, note),
    ]


def class_reader_tables(readers: Mapping[str, ClassReader], confidence: str, note: str) -> list[Table]:
    """The model beside each reader who chose among all grades or classes; none without readers."""
    rows: list[Row] = [
        (
            f"{name} ({reader.n}), {item.measure}",
            shown(item.model),
            shown(item.reader),
            with_interval(item.difference, item.ci),
            p_value(item.p_value),
            p_value(item.p_value_holm),
        )
        for name, reader in readers.items()
        for item in reader.model_minus_reader
    ]
    columns = ("Reader (nodules), measure", "Model", "Reader", f"Difference ({confidence} interval)", "p", "p, Holm")
    return [Table("The model beside readers of all grades or classes", columns, tuple(rows), note)] if rows else []
