"""A section of the page: one evaluation with its figures, tables, warnings and cards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from matplotlib.figure import Figure

from dsmt_nnunet.evaluation.records.metrics import (
    ClassTableMetrics,
    CrossvalMetrics,
    PredictionMetrics,
    ReaderStudyMetrics,
    SettingsUsed,
)
from dsmt_nnunet.evaluation.records.score import DecisionValues
from dsmt_nnunet.report import count_figures, score_figures, tables
from dsmt_nnunet.report.cards import Card
from dsmt_nnunet.report.detection_view import detection_figures, detection_table
from dsmt_nnunet.report.figure_style import FigureFolder, PageFigure
from dsmt_nnunet.report.folder import EvaluationFolder
from dsmt_nnunet.report.further_tables import further_tables
from dsmt_nnunet.report.grade_tables import class_comparison_tables, class_reader_tables, class_tables
from dsmt_nnunet.report.numbers import interval, is_number, readable, shown, with_interval
from dsmt_nnunet.report.panel import BinaryPanel, MulticlassPanel, Panel, panels_of
from dsmt_nnunet.report.plain_warnings import PlainWarning, plain_warnings
from dsmt_nnunet.report.sentences import data_sentence, settings_sentence
from dsmt_nnunet.report.tables import Table

KIND_TITLES = {
    "predictions": "Predictions against the truth",
    "crossval": "Cross-validation",
    "table": "Scores compared",
    "classes": "Grades and classes compared",
    "readers": "Reader study",
}
NOTHING_ASKED = "no nodule of a known class: there is nothing to measure"
NO_CURVES = "The curves are missing: curves.json is not in the folder. Run 'dsmt evaluate' again to have them drawn."

HEADLINES_OF_CLASSES = ("quadratic kappa", "macro AUC")
CONFUSION = ("Confusion matrix", "Counts, and the share of each true class, at the operating point.")


@dataclass(frozen=True)
class Headline:
    """A number to see first: what it is, its value, its interval."""

    title: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class PanelView:
    """A question as the page shows it."""

    key: str
    title: str
    is_primary: bool
    summary: str
    figures: tuple[PageFigure, ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """One evaluation as the page shows it."""

    key: str
    title: str
    kind_title: str
    data: str
    headlines: tuple[Headline, ...]
    panels: tuple[PanelView, ...]
    warnings: tuple[PlainWarning, ...]
    settings: str
    cards: tuple[Card, ...] = ()
    cards_left_out: int = 0
    group_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    listing: Table | None = None


def build_section(evaluation: EvaluationFolder, key: str, title: str, figures: FigureFolder) -> Section:
    """Figures, tables and texts of an evaluation; the cards come later."""
    metrics = evaluation.metrics
    if isinstance(metrics, ReaderStudyMetrics):
        views: list[PanelView] = [_reader_study_view(metrics, key, figures)]
        headlines = _reader_study_headlines(metrics)
    elif isinstance(metrics, ClassTableMetrics):
        views = [
            PanelView("classes", "Grades" if metrics.is_ordinal else "Classes", True, "", (), class_tables(metrics))
        ]
        headlines = [
            Headline(f"{name}: {item.measure}", shown(item.value, 2), _limits(interval(item.ci, 2), metrics.confidence))
            for name, held in metrics.models.items()
            for item in held
            if item.measure in HEADLINES_OF_CLASSES
        ]
    else:
        panels = panels_of(evaluation)
        views = [_panel_view(evaluation, panel, key, figures) for panel in panels]
        headlines = _headlines(evaluation, panels[0]) if panels and not _is_empty(panels[0]) else []
        views += _detection_view(evaluation, key, figures)
    return Section(
        key=key,
        title=title,
        kind_title=KIND_TITLES[metrics.kind],
        data=data_sentence(evaluation),
        headlines=tuple(headlines),
        panels=tuple(views),
        warnings=tuple(plain_warnings(metrics.warnings)),
        settings=settings_sentence(evaluation),
    )


def _panel_view(evaluation: EvaluationFolder, panel: Panel, key: str, figures: FigureFolder) -> PanelView:
    if _is_empty(panel):
        return PanelView(panel.key, panel.title, panel.is_primary, NOTHING_ASKED, (), ())
    confidence, metrics = evaluation.metrics.confidence, evaluation.metrics
    drawn = [
        figures.add(f"{key}-{panel.key}-{name}", title, caption, draw, is_wide)
        for name, title, caption, draw, is_wide in _figure_list(panel, confidence, metrics.settings)
    ]
    notes = [] if evaluation.curves else [NO_CURVES]
    if isinstance(panel, BinaryPanel):
        families = metrics.multiplicity
        listed = tables.metric_tables(panel, confidence) + tables.comparison_tables(panel, confidence, families)
        listed += tables.reader_tables(panel, confidence, families)
        listed += further_tables(panel, confidence, families)
        if panel.crossval and isinstance(metrics, CrossvalMetrics):
            listed.insert(0, tables.fold_table(panel.crossval))
            notes.append(metrics.operating_point.note)
        notes += _notes(panel)
    else:
        listed = tables.multiclass_tables(panel, confidence)
        listed += class_reader_tables(panel.task.readers, confidence, metrics.multiplicity)
        listed += class_comparison_tables(panel.task, confidence, metrics.multiplicity)
    return PanelView(
        panel.key, panel.title, panel.is_primary, _summary(panel), tuple(drawn), tuple(listed), tuple(notes)
    )


def _is_empty(panel: Panel) -> bool:
    """Whether there is nothing to measure, as in scans without a nodule."""
    if isinstance(panel, MulticlassPanel):
        return panel.task.n == 0
    return all(item.score.n == 0 for item in panel.series) and not (panel.intended and panel.intended.n)


def _detection_view(evaluation: EvaluationFolder, key: str, figures: FigureFolder) -> list[PanelView]:
    metrics = evaluation.metrics
    found = metrics.detection.free_response if isinstance(metrics, PredictionMetrics) else None
    if found is None:
        return []
    drawn, table = detection_figures(evaluation.marks, key, figures), detection_table(found, metrics.confidence)
    return [PanelView("detection", "Finding nodules", False, found.sentence, drawn, (table,))]


def _reader_study_view(metrics: ReaderStudyMetrics, key: str, figures: FigureFolder) -> PanelView:
    confidence, drawn = metrics.confidence, []
    for merit, result in metrics.merits.items():
        title = "AUC" if merit == "auc" else readable(merit)
        draw = partial(count_figures.forest_figure, count_figures.reader_study_rows(result), [title], title)
        caption = f"Readers, and their mean with {confidence} interval (random readers and cases if there are several)."
        drawn.append(figures.add(f"{key}-{merit}", f"{title} of each modality", caption, draw, True))
    listed = tables.reader_study_tables(metrics, confidence)
    return PanelView("readers", "Readers and modalities", True, "", tuple(drawn), tuple(listed))


_Drawn = tuple[str, str, str, Callable[[], Figure], bool]
"""(name, title, caption, draw, is_wide) of a figure."""


def _figure_list(panel: Panel, confidence: str, settings: SettingsUsed) -> list[_Drawn]:
    """Every figure whose data are there."""
    if isinstance(panel, BinaryPanel):
        return _binary_figures(panel, confidence, settings)
    return _multiclass_figures(panel)


def _multiclass_figures(panel: MulticlassPanel) -> list[_Drawn]:
    found: list[_Drawn] = []
    if panel.curves and panel.curves.roc_one_vs_rest:
        draw = partial(score_figures.multiclass_roc_figure, panel, panel.curves)
        found.append(("roc", "ROC curves", "Each class against the rest.", draw, False))
    found.append(("confusion", *CONFUSION, partial(count_figures.confusion_figure, panel), False))
    return found


def _binary_figures(panel: BinaryPanel, confidence: str, settings: SettingsUsed) -> list[_Drawn]:
    series, found = panel.series, []

    def add(name: str, title: str, caption: str, draw: Callable[[], Figure], is_wide: bool = False) -> None:
        found.append((name, title, caption, draw, is_wide))

    if score_figures.with_roc(panel):
        caption = f"Dots: operating points. Band: pointwise {confidence} bootstrap."
        caption += " The curve pools the folds; the AUC is the mean over folds." if panel.crossval else ""
        caption += " Open markers: readers." if panel.comparisons.readers else ""
        add("roc", "ROC curve", caption, partial(score_figures.roc_figure, panel))
    if score_figures.with_precision_recall(panel):
        caption = "Dotted line: share of positive cases."
        add("precision-recall", "Precision and recall", caption, partial(score_figures.precision_recall_figure, panel))
    if score_figures.with_calibration(panel):
        caption = f"Ten bins with {confidence} intervals, the dots larger with more cases; below, their numbers."
        add("calibration", "Calibration", caption, partial(score_figures.calibration_figure, panel))
    if any(item.decision_curve for item in series):
        rates = [item.decision_curve.prevalence for item in series if item.decision_curve]
        caption = f"Net benefit over the threshold probability at a prevalence of {rates[0]:.3g}"
        caption += " (that of these cases)" if settings.prevalence is None else " (as stated)"
        caption += "; dotted line: the operating point."
        add("decision-curve", "Decision curve", caption, partial(score_figures.decision_curve_figure, panel))
    points = [item for item in series if item.score.point]
    if points:
        add("confusion", *CONFUSION, partial(count_figures.confusion_figure, panel), len(points) > 2)
    if any(len(item.y_score) for item in series):
        caption = f"Upwards {panel.classes[1]}, downwards {panel.classes[0]}."
        add("distribution", "Distribution of scores", caption, partial(count_figures.distribution_figure, panel))
    caption = f"AUC with {confidence} intervals."
    if panel.crossval and panel.crossval.folds:
        rows = count_figures.fold_rows(panel.crossval)
        add("folds", "Folds", caption, partial(count_figures.forest_figure, rows, ["AUC"], "AUC"), True)
    if panel.comparisons.subgroups:
        groups, names = count_figures.subgroup_rows(panel), [item.name for item in series]
        add("subgroups", "Subgroups", caption, partial(count_figures.forest_figure, groups, names, "AUC"), True)
    return found


def _notes(panel: BinaryPanel) -> list[str]:
    notes = []
    for series in panel.series:
        notes += [
            f"{series.name}: {point.note or 'The threshold was chosen on these very data.'}"
            for point in series.score.operating_points
            if point.threshold_chosen_on_reported_data
        ]
        notes += [
            f"{series.name}: on other cases expect a sensitivity of "
            f"{with_interval(point.elsewhere.sensitivity, point.elsewhere.sensitivity_ci)} and a specificity of "
            f"{with_interval(point.elsewhere.specificity, point.elsewhere.specificity_ci)}."
            for point in series.score.operating_points
            if point.elsewhere
        ]
    if panel.intended and panel.intended.n_lost:
        notes.append(panel.intended.rule)
    return notes


def _summary(panel: Panel) -> str:
    if isinstance(panel, MulticlassPanel):
        task = panel.task
        return (
            f"n {task.n}, mean AUC {with_interval(task.auc_macro, task.auc_macro_ci)}, accuracy {shown(task.accuracy)}"
        )
    if len(panel.series) > 1:
        scores = [(item.name, item.score) for item in panel.series]
        return "; ".join(f"{name}: AUC {with_interval(score.auc, score.auc_ci)}" for name, score in scores)
    score = panel.series[0].score
    text = f"n {score.n}, {score.n_positive} {panel.classes[1]}, AUC {with_interval(score.auc, score.auc_ci)}"
    if score.point:
        text += f", sensitivity {shown(score.point.sensitivity, 2)}, specificity {shown(score.point.specificity, 2)}"
    return text


def _headlines(evaluation: EvaluationFolder, panel: Panel) -> list[Headline]:
    confidence, metrics = evaluation.metrics.confidence, evaluation.metrics
    result = []
    if isinstance(panel, BinaryPanel):
        result += _score_headlines(panel, confidence)
    else:
        limits = interval(panel.task.auc_macro_ci, 2)
        result.append(Headline(f"{panel.title}: mean AUC", shown(panel.task.auc_macro, 2), _limits(limits, confidence)))
        limits = interval(panel.task.accuracy_ci, 2)
        result.append(Headline("Accuracy", shown(panel.task.accuracy, 2), _limits(limits, confidence)))
    dice = metrics.dice if isinstance(metrics, PredictionMetrics) else None
    if dice and is_number(dice.mean):
        limits = interval(dice.mean_ci, 2)
        result.append(Headline("Dice of the masks", shown(dice.mean, 2), _limits(limits, confidence)))
    return result


def _score_headlines(panel: BinaryPanel, confidence: str) -> list[Headline]:
    result = []
    for series in panel.series[:4]:
        title = f"{series.name}: {'mean AUC over folds' if panel.crossval else 'AUC'}"
        limits = interval(series.score.auc_ci, 2)
        result.append(Headline(title, shown(series.score.auc, 2), _limits(limits, confidence)))
    lost = panel.intended if panel.intended and panel.intended.n_lost else None
    if lost:
        title = f"{panel.title}: AUC, all to be diagnosed"
        result.append(Headline(title, shown(lost.auc, 2), _limits(interval(lost.auc_ci, 2), confidence)))
    if len(panel.series) == 1:
        result += _point_headlines(lost or panel.series[0].score.point, confidence)
    return result


def _point_headlines(point: DecisionValues | None, confidence: str) -> list[Headline]:
    values = [] if point is None else [(name, *point.metric(name)) for name in ("sensitivity", "specificity")]
    return [
        Headline(readable(name), shown(value, 2), _limits(interval(ci, 2), confidence)) for name, value, ci in values
    ]


def _limits(limits: str, confidence: str) -> str:
    return f"{confidence} interval {limits}" if limits else "no interval"


def _reader_study_headlines(metrics: ReaderStudyMetrics) -> list[Headline]:
    if "auc" not in metrics.merits:
        return []
    return [
        Headline(
            f"{item.modality}: mean AUC",
            shown(item.estimate, 2),
            _limits(interval(item.ci, 2), metrics.confidence),
        )
        for item in metrics.merits["auc"].quoted.means
    ]
