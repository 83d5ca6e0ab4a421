"""The tables of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dsmt_nnunet.evaluation.records.comparisons import (
    AdjustedFamily,
    AucDifference,
    MultiReader,
    PairedComparison,
    ProportionDifference,
    ReaderDifference,
    UnpairedComparison,
)
from dsmt_nnunet.evaluation.records.metrics import ReaderStudyMetrics
from dsmt_nnunet.evaluation.records.score import OperatingPoint, Score
from dsmt_nnunet.evaluation.records.tasks import CrossvalBinaryTask, IntentionToDiagnose
from dsmt_nnunet.report.numbers import is_number, p_value, readable, share, shown, with_interval
from dsmt_nnunet.report.panel import BinaryPanel, MulticlassPanel, Series
from dsmt_nnunet.report.partial_rows import estimate_rows, partial_rows
from dsmt_nnunet.statistics.decisions.metrics import METRIC_NAMES

METRIC_TITLES = {"ppv": "PPV", "npv": "NPV", "f1": "F1"}
COUNTS = {
    "sensitivity": ("tp", "fn"),
    "specificity": ("tn", "fp"),
    "ppv": ("tp", "fp"),
    "npv": ("tn", "fn"),
}


Row = tuple[str, ...]
_WIDE_ROW = 78
"""Characters of a row that fill half the width of the page."""


@dataclass(frozen=True)
class Table:
    """Rows of text; the first cell of a row is its heading."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""

    @property
    def is_wide(self) -> bool:
        """Whether a row needs the width of the page."""
        return any(sum(map(len, row)) > _WIDE_ROW for row in (self.columns, *self.rows))


def metric_tables(panel: BinaryPanel, confidence: str) -> list[Table]:
    """Discrimination and calibration of all scores, then every operating point."""
    names = [series.name for series in panel.series]
    scores = [series.score for series in panel.series]
    rows = [
        ("Cases", *(str(score.n) for score in scores)),
        (panel.classes[1].capitalize(), *(str(score.n_positive) for score in scores)),
        ("AUC", *(with_interval(score.auc, score.auc_ci) for score in scores)),
        *estimate_rows(scores),
        ("Brier score", *(with_interval(score.brier, score.brier_ci) for score in scores)),
        ("= miscalibration - discrimination + uncertainty", *map(_brier_sum, scores)),
        ("Expected calibration error", *(shown(score.ece) for score in scores)),
        ("of it by chance if calibrated", *(shown(score.ece_if_calibrated) for score in scores)),
        (
            "Calibration slope",
            *(with_interval(score.calibration_slope, score.calibration_slope_ci, 2) for score in scores),
        ),
        (
            "Calibration intercept",
            *(with_interval(score.calibration_intercept, score.calibration_intercept_ci, 2) for score in scores),
        ),
    ]
    rows += partial_rows(scores)
    columns = ("", *names) if len(names) > 1 else ("", f"Value ({confidence} interval)")
    note = " ".join(f"{name}: {score.auc_sentence}" for name, score in zip(names, scores, strict=True))
    tables = [Table("Discrimination and calibration", columns, tuple(rows), note)]
    points = list(_points(panel.series))
    if points:
        tables.append(_point_table(points, confidence))
    if panel.intended and panel.intended.n_lost:
        tables.append(_intended_table(panel.series[0].score, panel.intended, confidence))
    return tables


def _brier_sum(score: Score) -> str:
    parts = score.brier_parts
    if parts is None:
        return ""
    return f"{shown(parts.miscalibration)} - {shown(parts.discrimination)} + {shown(parts.uncertainty)}"


def comparison_tables(panel: BinaryPanel, confidence: str, families: Sequence[AdjustedFamily]) -> list[Table]:
    """Paired tests between scores and unpaired ones between levels, each with what its p values are adjusted over."""
    notes = {item.name: item.sentence for item in families}
    comparisons = panel.comparisons.comparisons
    paired = [item for item in comparisons if isinstance(item, PairedComparison)]
    unpaired = [item for item in comparisons if isinstance(item, UnpairedComparison)]
    difference = f"AUC difference ({confidence} interval)"
    aucs: list[Row] = [(" - ".join(item.scores), *_difference(item), p_value(item.p_value_holm)) for item in paired]
    decisions: list[Row] = [
        (f"{' - '.join(item.scores)}, {kind}", *_decided(test))
        for item in paired
        for kind, test in (item.decisions.tests if item.decisions else ())
    ]
    levels: list[Row] = [
        (
            f"{item.score + ', ' if len(panel.series) > 1 else ''}{readable(item.group)}: {' - '.join(item.levels)}",
            " and ".join(map(str, item.n)),
            *_difference(item),
            p_value(item.p_value_holm),
        )
        for item in unpaired
    ]
    counts = (f"Difference ({confidence} interval)", "Only first right", "Only second right")
    tables = [
        Table(
            f"AUCs compared on the same cases ({_tests(paired)})",
            ("Pair", difference, "p", "p, Holm"),
            tuple(aucs),
            f"{notes.get('scores', '')}{_all_equal(panel)}",
        ),
        Table(
            f"Decisions compared on the same cases ({_decision_tests(paired)})",
            ("Pair", *counts, "p", "p, Holm"),
            tuple(decisions),
            notes.get("decisions of scores", ""),
        ),
        Table(
            f"AUCs compared between subgroups ({_tests(unpaired)})",
            ("Subgroups", "Cases", difference, "p", "p, Holm"),
            tuple(levels),
            notes.get("levels", ""),
        ),
    ]
    return [table for table in tables if table.rows]


def _all_equal(panel: BinaryPanel) -> str:
    """The test of all scores at once; "" for fewer than three."""
    joint = panel.comparisons.comparison_joint
    return f" All AUCs equal: p {p_value(joint.p_value)} ({joint.test})." if joint else ""


def reader_tables(panel: BinaryPanel, confidence: str, families: Sequence[AdjustedFamily]) -> list[Table]:
    """Readers' sensitivity and specificity, and the model against each and all of them."""
    notes = {item.name: item.sentence for item in families}
    readers = panel.comparisons.readers
    if not readers:
        return []
    titles = {series.key: series.name for series in panel.series}
    points: list[Row] = []
    against: list[Row] = []
    for name, reader in readers.items():
        auc = "" if reader.auc is None else with_interval(reader.auc, reader.auc_ci)
        for point in reader.operating_points:
            cut = "own decision" if reader.kind == "binary" else f"rating >= {point.threshold:g}"
            numbers = (with_interval(*point.metric(key)) for key in ("sensitivity", "specificity"))
            points.append((name, cut, *numbers, auc))
        against += [_against(titles[score], name, item) for score, item in reader.against.items()]
    columns = ("Reader", "Positive when", f"Sensitivity ({confidence} interval)", "Specificity", "AUC")
    tables = [Table("Readers", columns, tuple(points))]
    headings = ("Model - reader", "AUC difference", "p", "p, Holm", "Accuracy difference", "p", "p, Holm")
    note = "Decisions are compared where the reader made one, or a cut of the rating was stated beforehand. "
    note += " ".join(notes[name] for name in ("readers", "decisions of readers") if name in notes)
    tables.append(Table("Model against each reader", headings, tuple(against), note))
    if panel.comparisons.multi_reader:
        tables.append(_multi_reader_table(panel.comparisons.multi_reader, titles, confidence, notes))
    return tables


def multiclass_tables(panel: MulticlassPanel, confidence: str) -> list[Table]:
    """Each class against the rest, and the whole."""
    task = panel.task
    rows = tuple(
        (
            name,
            str(item.n),
            with_interval(item.auc, item.auc_ci),
            with_interval(item.sensitivity, item.sensitivity_ci),
        )
        for name, item in task.auc_one_vs_rest.items()
    )
    whole = (
        ("Mean AUC", with_interval(task.auc_macro, task.auc_macro_ci)),
        ("Accuracy", with_interval(task.accuracy, task.accuracy_ci)),
        ("Balanced accuracy", shown(task.balanced_accuracy)),
        ("Cohen's kappa", with_interval(task.kappa, task.kappa_ci)),
        ("Brier score, 0 to 2", with_interval(task.brier, task.brier_ci)),
        ("Log loss", shown(task.log_loss)),
    )
    return [
        Table("All classes", ("", f"Value ({confidence} interval)"), whole),
        Table(
            "Each class against the rest",
            ("Class", "Cases", f"AUC ({confidence} interval)", "Found of its cases"),
            rows,
        ),
    ]


def fold_table(task: CrossvalBinaryTask) -> Table:
    """One row a fold."""
    rows = tuple(
        (
            str(item.fold),
            share(item.n_positive, item.n),
            with_interval(item.auc, item.auc_ci),
            shown(item.threshold_from_other_folds),
            shown(item.sensitivity),
            shown(item.specificity),
        )
        for item in task.folds
    )
    columns = ("Fold", "Positive", "AUC", "Threshold of the other folds", "Sensitivity", "Specificity")
    return Table("Folds", columns, rows, task.auc_sentence)


def reader_study_tables(metrics: ReaderStudyMetrics, confidence: str) -> list[Table]:
    """Means of the modalities and their differences, for each merit and design of a reader study."""
    tables, notes = [], {item.name: item.sentence for item in metrics.multiplicity}
    for merit, analysed in metrics.merits.items():
        for design, result in analysed.designs:
            if result is None:
                continue
            rows: list[Row] = [(item.modality, with_interval(item.estimate, item.ci), "", "") for item in result.means]
            rows += [
                (
                    f"{item.first} - {item.second}",
                    with_interval(item.estimate, item.ci),
                    p_value(item.p_value),
                    p_value(item.p_value_holm),
                )
                for item in result.differences
            ]
            title = "AUC" if merit == "auc" else readable(merit)
            columns = ("Modality", f"{title} ({confidence} interval)", "p", "p, Holm")
            tables.append(Table(f"{title}, {design}", columns, tuple(rows), notes.get(design, "")))
    return tables


def _multi_reader_table(
    study: MultiReader, titles: Mapping[str, str], confidence: str, notes: Mapping[str, str]
) -> Table:
    rows = tuple(
        (
            titles[score],
            shown(item.model_auc),
            with_interval(item.difference, item.ci),
            p_value(item.p_value),
            p_value(item.p_value_holm),
        )
        for score, item in study.model_minus_readers.items()
    )
    mean = with_interval(study.mean_auc, study.mean_auc_ci)
    columns = ("Model", "AUC", f"Model - readers ({confidence} interval)", "p", "p, Holm")
    note = f"{study.method}. {notes.get('readers together', '')}"
    return Table(f"Model against all readers together; their mean AUC is {mean}", columns, rows, note)


def _points(series: Sequence[Series]) -> Iterator[tuple[str, OperatingPoint]]:
    for item in series:
        for point in item.score.operating_points:
            yield item.name if len(series) > 1 else "", point


def _point_table(points: Sequence[tuple[str, OperatingPoint]], confidence: str) -> Table:
    columns = []
    for name, point in points:
        threshold = f"threshold {point.threshold:.3g}" if is_number(point.threshold) else "threshold by fold"
        columns.append(f"{name}, {threshold}" if name else threshold.capitalize())
    rows = []
    for metric in METRIC_NAMES:
        cells = []
        for _, point in points:
            counts = ""
            if metric in COUNTS:
                right, wrong = (int(getattr(point, key)) for key in COUNTS[metric])
                counts = f" [{share(right, right + wrong)}]"
            cells.append(with_interval(*point.metric(metric)) + counts)
        rows.append((METRIC_TITLES.get(metric, readable(metric)), *cells))
    rows += _prevalence_rows([point for _, point in points])
    sources = dict.fromkeys(point.threshold_source for _, point in points)
    note = f"Threshold: {'; '.join(sources)}. {confidence} intervals."
    return Table("At the operating point", ("", *columns), tuple(rows), note)


def _prevalence_rows(points: Sequence[OperatingPoint]) -> list[Row]:
    """Predictive values and net benefit at the prevalence that was stated; none where none was."""
    stated = [point.at_prevalence for point in points]
    known = next((item for item in stated if item), None)
    if known is None:
        return []
    where = f"at a prevalence of {known.prevalence:g}"
    return [
        (f"PPV {where}", *(with_interval(item.ppv, item.ppv_ci) if item else "" for item in stated)),
        (f"NPV {where}", *(with_interval(item.npv, item.npv_ci) if item else "" for item in stated)),
        (
            f"Net benefit {where}",
            *(with_interval(item.net_benefit, item.net_benefit_ci) if item else "" for item in stated),
        ),
    ]


def _intended_table(found: Score, intended: IntentionToDiagnose, confidence: str) -> Table:
    """Those that were found beside all that were to be diagnosed."""
    rows: list[Row] = [
        ("Nodules", str(found.n), str(intended.n)),
        ("Missed", "", f"{intended.n_missed}, {intended.n_missed_positive} positive"),
        ("In scans without a prediction", "", f"{intended.n_crashed}, {intended.n_crashed_positive} positive"),
        ("AUC", with_interval(found.auc, found.auc_ci), with_interval(intended.auc, intended.auc_ci)),
    ]
    for metric in METRIC_NAMES if found.point else ():
        cells = (with_interval(*point.metric(metric)) for point in (found.point, intended) if point)
        rows.append((METRIC_TITLES.get(metric, readable(metric)), *cells))
    columns = ("", f"Found ({confidence} interval)", "To be diagnosed")
    return Table("By intention to diagnose", columns, tuple(rows), intended.rule)


def _difference(item: AucDifference) -> tuple[str, str]:
    return with_interval(item.auc_difference, item.ci), p_value(item.p_value)


def _tests(items: Sequence[AucDifference]) -> str:
    return ", ".join(dict.fromkeys(item.test for item in items))


def _decision_tests(items: Sequence[PairedComparison]) -> str:
    return ", ".join(dict.fromkeys(item.decisions.accuracy.test for item in items if item.decisions))


def _decided(test: ProportionDifference) -> tuple[str, ...]:
    counts = str(test.only_first_right), str(test.only_second_right)
    return with_interval(test.difference, test.ci), *counts, p_value(test.p_value), p_value(test.p_value_holm)


def _against(score: str, reader: str, item: ReaderDifference) -> tuple[str, ...]:
    decisions = item.decisions.accuracy if item.decisions else None
    return (
        f"{score} - {reader}",
        *((*_difference(item.auc), p_value(item.auc.p_value_holm)) if item.auc else ("", "", "")),
        with_interval(decisions.difference, decisions.ci) if decisions else "",
        p_value(decisions.p_value) if decisions else "",
        p_value(decisions.p_value_holm) if decisions else "",
    )
