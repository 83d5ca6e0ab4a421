"""A section of the page: one evaluation with its figures, tables, warnings and cards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from dsmt_nnunet.report import count_figures, score_figures, tables
from dsmt_nnunet.report.cards import Card
from dsmt_nnunet.report.count_figures import ForestRow
from dsmt_nnunet.report.figure_style import FigureFolder, PageFigure
from dsmt_nnunet.report.folder import EvaluationFolder
from dsmt_nnunet.report.numbers import counted, interval, is_number, readable, shown, with_interval
from dsmt_nnunet.report.panel import Panel, Series, panels_of
from dsmt_nnunet.report.plain_warnings import PlainWarning, plain_warnings
from dsmt_nnunet.report.tables import Table

KIND_TITLES = {
    "predictions": "Predictions against the truth",
    "crossval": "Cross-validation",
    "table": "Scores compared",
    "readers": "Reader study",
}
SOURCES = {
    "predictions": ("predictions", "truth", "labels"),
    "crossval": ("dataset", "model", "truth"),
    "table": ("table",),
    "readers": ("table",),
}
"""Kind -> the names in `inputs` of metrics.json that stand for files and folders."""
NO_CURVES = "The curves are missing: curves.json is not in the folder. Run 'dsmt evaluate' again to have them drawn."


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


def build_section(evaluation: EvaluationFolder, key: str, title: str, figures: FigureFolder) -> Section:
    """Figures, tables and texts of an evaluation; the cards come later."""
    if evaluation.kind == "readers":
        views: list[PanelView] = [_reader_study_view(evaluation, key, figures)]
        headlines = _reader_study_headlines(evaluation)
    else:
        panels = panels_of(evaluation)
        views = [_panel_view(evaluation, panel, key, figures) for panel in panels]
        headlines = _headlines(evaluation, panels[0]) if panels else []
    return Section(
        key=key,
        title=title,
        kind_title=KIND_TITLES[evaluation.kind],
        data=_data_sentence(evaluation),
        headlines=tuple(headlines),
        panels=tuple(views),
        warnings=tuple(plain_warnings(evaluation.metrics.get("warnings", []))),
        settings=_settings_sentence(evaluation),
    )


def _panel_view(evaluation: EvaluationFolder, panel: Panel, key: str, figures: FigureFolder) -> PanelView:
    confidence = evaluation.confidence
    drawn = [
        figures.add(f"{key}-{panel.key}-{name}", title, caption, draw, is_wide)
        for name, title, caption, draw, is_wide in _figure_list(panel, confidence)
    ]
    if panel.is_binary:
        listed = tables.metric_tables(panel, confidence) + tables.comparison_tables(panel, confidence)
        listed += tables.reader_tables(panel, confidence)
    else:
        listed = tables.multiclass_tables(panel, confidence)
    notes = [] if evaluation.curves else [NO_CURVES]
    if "folds" in panel.block:
        listed.insert(0, tables.fold_table(panel.block))
        notes.append(str(evaluation.metrics["operating_point"]["note"]))
    notes += _notes(panel)
    return PanelView(
        panel.key, panel.title, panel.is_primary, _summary(panel), tuple(drawn), tuple(listed), tuple(notes)
    )


def _figure_list(panel: Panel, confidence: str) -> list[tuple[str, str, str, Callable[[], Figure], bool]]:
    """(name, title, caption, draw, is_wide) of every figure whose data are there."""
    series, found = panel.series, []

    def add(name: str, title: str, caption: str, draw: Callable[[], Figure], is_wide: bool = False) -> None:
        found.append((name, title, caption, draw, is_wide))

    if any((item.curves.get("roc") or {}).get("fpr") for item in series):
        caption = f"Dots: operating points. Band: pointwise {confidence} bootstrap."
        caption += " Open markers: readers." if panel.block.get("readers") else ""
        add("roc", "ROC curve", caption, partial(score_figures.roc_figure, panel))
    if (panel.curves or {}).get("roc_one_vs_rest"):
        caption = "Each class against the rest."
        add("roc", "ROC curves", caption, partial(score_figures.multiclass_roc_figure, panel))
    if any((item.curves.get("precision_recall") or {}).get("recall") for item in series):
        caption = "Dotted line: share of positive cases."
        add("precision-recall", "Precision and recall", caption, partial(score_figures.precision_recall_figure, panel))
    if any(item.curves.get("calibration") for item in series):
        caption = f"Ten bins with {confidence} intervals, the dots larger with more cases; below, their numbers."
        add("calibration", "Calibration", caption, partial(score_figures.calibration_figure, panel))
    if any(item.curves.get("decision_curve") for item in series):
        caption = "Net benefit over the threshold probability; dotted line: the operating point."
        add("decision-curve", "Decision curve", caption, partial(score_figures.decision_curve_figure, panel))
    points = [item for item in series if item.point]
    if points or not panel.is_binary:
        caption = "Counts, and the share of each true class, at the operating point."
        draw = partial(count_figures.confusion_figure, panel)
        add("confusion", "Confusion matrix", caption, draw, len(points) > 2)
    if any(len(item.y_score) for item in series):
        caption = f"Upwards {panel.classes[1]}, downwards {panel.classes[0]}."
        add("distribution", "Distribution of scores", caption, partial(count_figures.distribution_figure, panel))
    names = [item.name for item in series]
    if panel.block.get("folds") and panel.is_binary:
        rows = count_figures.fold_rows(panel.block)
        caption = f"AUC with {confidence} intervals."
        add("folds", "Folds", caption, partial(count_figures.forest_figure, rows, ["AUC"], "AUC"), True)
    if panel.block.get("subgroups"):
        caption = f"AUC with {confidence} intervals."
        groups = count_figures.subgroup_rows(panel)
        add("subgroups", "Subgroups", caption, partial(count_figures.forest_figure, groups, names, "AUC"), True)
    return found


def _notes(panel: Panel) -> list[str]:
    notes = []
    for series in panel.series:
        notes += [
            f"{series.name}: {point.get('note', 'The threshold was chosen on these very data.')}"
            for point in series.block.get("operating_points") or []
            if point["threshold_chosen_on_reported_data"]
        ]
    missed = panel.block.get("including_missed")
    if missed and missed.get("n_missed"):
        numbers = [
            f"{name} {with_interval(missed[name], missed[f'{name}_ci'])}" for name in ("sensitivity", "specificity")
        ]
        notes.append(
            f"{counted(missed['n_missed'], 'labelled nodule')} not found; counted as called negative, the figures are: "
            f"{', '.join(numbers)}."
        )
    return notes


def _summary(panel: Panel) -> str:
    if not panel.is_binary:
        block = panel.block
        return f"n {block['n']}, mean AUC {shown(block['auc_macro'])}, accuracy {shown(block['accuracy'])}"
    if len(panel.series) > 1:
        return "; ".join(f"{item.name}: AUC {with_interval(item.block['auc'], item.auc_ci)}" for item in panel.series)
    block, first = panel.series[0].block, panel.series[0]
    text = f"n {block['n']}, {block['n_positive']} {panel.classes[1]}, AUC {with_interval(block['auc'], first.auc_ci)}"
    point = first.point
    if point:
        text += f", sensitivity {shown(point['sensitivity'], 2)}, specificity {shown(point['specificity'], 2)}"
    return text


def _headlines(evaluation: EvaluationFolder, panel: Panel) -> list[Headline]:
    confidence = evaluation.confidence
    result = []
    if "auc_mean_over_folds" in panel.block:
        limits = interval(panel.block["auc_mean_over_folds_ci"], 2)
        value = shown(panel.block["auc_mean_over_folds"], 2)
        result.append(Headline(f"{panel.title}: mean AUC over folds", value, _limits(limits, confidence)))
    for series in panel.series[:4]:
        title = f"{series.name}: {'pooled AUC' if result and 'folds' in panel.block else 'AUC'}"
        limits = interval(series.auc_ci, 2)
        result.append(Headline(title, shown(series.block["auc"], 2), _limits(limits, confidence)))
    if len(panel.series) == 1 and panel.series[0].point:
        result += _point_headlines(panel.series[0], confidence)
    if not panel.is_binary:
        block = panel.block
        result.append(Headline(f"{panel.title}: mean AUC", shown(block["auc_macro"], 2)))
        limits = interval(block["accuracy_ci"], 2)
        result.append(Headline("Accuracy", shown(block["accuracy"], 2), _limits(limits, confidence)))
    dice = evaluation.metrics.get("dice")
    if dice and is_number(dice.get("mean")):
        limits = interval(dice.get("mean_ci_bootstrap"), 2)
        result.append(Headline("Dice of the masks", shown(dice["mean"], 2), _limits(limits, confidence)))
    return result


def _point_headlines(series: Series, confidence: str) -> list[Headline]:
    point = series.point or {}
    return [
        Headline(readable(name), shown(point[name], 2), _limits(interval(point[f"{name}_ci"], 2), confidence))
        for name in ("sensitivity", "specificity")
    ]


def _limits(limits: str, confidence: str) -> str:
    return f"{confidence} interval {limits}" if limits else "no interval"


def _data_sentence(evaluation: EvaluationFolder) -> str:
    metrics = evaluation.metrics
    files = [f"{key} '{metrics['inputs'][key]}'" for key in SOURCES[evaluation.kind] if metrics["inputs"].get(key)]
    source = ", ".join(files)
    if evaluation.kind == "readers":
        text = f"{metrics['n_cases']} cases ({metrics['n_positive']} positive), {len(metrics['readers'])} readers, "
        return f"{text}{len(metrics['modalities'])} modalities. Source: {source}."
    if evaluation.kind == "table":
        return f"{metrics['n']} cases, {metrics['n_positive']} of them positive. Source: {source}."
    detection = metrics.get("detection")
    if detection is None:
        text = f"{len(metrics['folds'])} folds, {counted(len(evaluation.nodules), 'nodule')}."
    else:
        text = f"{counted(detection['n_scans'], 'scan')} with {counted(detection['n_truth'], 'nodule')}: "
        text += f"{detection['n_matched']} found, {detection['n_missed']} missed, "
        text += f"{counted(detection['n_extra'], 'extra finding')}."
        text += f" {detection['note']}" if detection["note"] else ""
    primary = metrics["tasks"].get(metrics.get("primary_task"))
    if primary and "n_positive" in primary:
        task = readable(metrics["primary_task"])
        text += f" {task}: {primary['n_positive']} of {primary['n']} {primary['positive_class']}."
    return f"{text} Source: {source}."


def _settings_sentence(evaluation: EvaluationFolder) -> str:
    settings, maker = evaluation.metrics["settings"], evaluation.metrics["created_by"]
    if evaluation.kind == "readers":
        return f"{evaluation.confidence} intervals. {evaluation.metrics['method']}. Made by {maker}."
    resamples = settings["bootstrap_resamples"]
    bootstrap = f"{resamples} bootstrap resamples, seed {settings['seed']}" if resamples else "no bootstrap"
    cluster = evaluation.metrics["inputs"].get("cluster")
    clustered = f", resampled by {cluster}" if cluster else ""
    return (
        f"{evaluation.confidence} intervals; proportions after {settings['proportion_interval'].title()}; "
        f"{bootstrap}{clustered}. Positive when score >= threshold; no score is flipped. "
        f"Made by {maker}."
    )


def _reader_study_view(evaluation: EvaluationFolder, key: str, figures: FigureFolder) -> PanelView:
    confidence, drawn = evaluation.confidence, []
    for merit, block in evaluation.metrics["merits"].items():
        title = "AUC" if merit == "auc" else readable(merit)
        draw = partial(count_figures.forest_figure, _reader_study_rows(block), [title], title)
        caption = f"Readers, and their mean with {confidence} interval (random readers and cases if there are several)."
        drawn.append(figures.add(f"{key}-{merit}", f"{title} of each modality", caption, draw, True))
    listed = tables.reader_study_tables(evaluation.metrics, confidence)
    return PanelView("readers", "Readers and modalities", True, "", tuple(drawn), tuple(listed))


def _reader_study_rows(block: Mapping[str, Any]) -> list[ForestRow]:
    means: Sequence[Mapping[str, Any]] = (block["random readers and cases"] or block["fixed readers"])["means"]
    rows = []
    for mean in means:
        rows.append(ForestRow(mean["modality"], is_heading=True))
        rows += [
            ForestRow(f"Reader {item['reader']}", ((item["estimate"], None),), shown(item["estimate"]))
            for item in block["by_reader"]
            if item["modality"] == mean["modality"]
        ]
        note = with_interval(mean["estimate"], mean["ci"])
        rows.append(ForestRow("Mean", ((mean["estimate"], mean["ci"]),), note))
    return rows


def _reader_study_headlines(evaluation: EvaluationFolder) -> list[Headline]:
    block = evaluation.metrics["merits"].get("auc")
    if not block:
        return []
    means = (block["random readers and cases"] or block["fixed readers"])["means"]
    return [
        Headline(
            f"{item['modality']}: mean AUC",
            shown(item["estimate"], 2),
            _limits(interval(item["ci"], 2), evaluation.confidence),
        )
        for item in means
    ]
