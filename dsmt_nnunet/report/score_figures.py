"""Curves of scores: ROC, precision-recall, calibration, decision curve."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsmt_nnunet.evaluation.records.comparisons import Reader
from dsmt_nnunet.evaluation.records.curves import MulticlassCurves, PrecisionRecall, ScoreCurves
from dsmt_nnunet.evaluation.records.score import AVERAGE_PRECISION
from dsmt_nnunet.report.figure_style import COLOURS, GREY, MARKERS, new_figure, series_style
from dsmt_nnunet.report.numbers import is_number, shown, with_interval
from dsmt_nnunet.report.panel import BinaryPanel, MulticlassPanel, Series
from dsmt_nnunet.statistics.calibration.bins import CalibrationBin

_MAX_BANDS = 3
_LEGEND_LINE_INCHES = 0.16


def with_roc(panel: BinaryPanel) -> list[tuple[Series, ScoreCurves]]:
    """The scores that have a ROC curve."""
    return [(item, item.curves) for item in panel.series if item.curves and len(item.curves.roc.fpr)]


def with_precision_recall(panel: BinaryPanel) -> list[tuple[Series, PrecisionRecall]]:
    """The scores that have a precision-recall curve."""
    return [
        (item, item.curves.precision_recall) for item in panel.series if item.curves and item.curves.precision_recall
    ]


def with_calibration(panel: BinaryPanel) -> list[tuple[Series, tuple[CalibrationBin, ...]]]:
    """The scores that are probabilities, of cases with a known truth."""
    curves = [(item, item.curves.calibration) for item in panel.series if item.curves and item.curves.calibration]
    return [(item, bins) for item, bins in curves if any(one.n for one in bins)]


def roc_figure(panel: BinaryPanel) -> Figure:
    """ROC curves with bands, operating points and readers' points."""
    drawn = with_roc(panel)
    readers = panel.comparisons.readers
    figure, axes = _square(len(drawn) + len(readers))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (2, 3)), linewidth=0.8)
    for index, (series, curves) in enumerate(drawn):
        _roc(axes, series, curves, index, len(drawn))
    for index, (name, reader) in enumerate(readers.items()):
        _reader_points(axes, name, reader, MARKERS[index % len(MARKERS)])
    _unit_axes(axes, "1 - specificity", "Sensitivity")
    return _with_legend(figure, axes, len(drawn) + len(readers))


def multiclass_roc_figure(panel: MulticlassPanel, of_classes: MulticlassCurves) -> Figure:
    """ROC curve of each class against the rest."""
    curves = of_classes.roc_one_vs_rest
    figure, axes = _square(len(curves))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (2, 3)), linewidth=0.8)
    for index, (name, curve) in enumerate(curves.items()):
        item = panel.task.auc_one_vs_rest[name]
        label = f"{name}: AUC {with_interval(item.auc, item.auc_ci, 2)}"
        axes.plot(curve.fpr, curve.tpr, label=label, **series_style(index))
    _unit_axes(axes, "1 - specificity", "Sensitivity")
    return _with_legend(figure, axes, len(curves))


def precision_recall_figure(panel: BinaryPanel) -> Figure:
    """Precision-recall curves; the dotted line is the share of positive cases."""
    drawn = with_precision_recall(panel)
    figure, axes = _square(len(drawn))
    first = drawn[0][0].score
    axes.axhline(first.n_positive / first.n, color=GREY, linestyle=(0, (2, 3)), linewidth=0.8)
    for index, (series, curve) in enumerate(drawn):
        value = series.score.estimate(AVERAGE_PRECISION).value
        label = f"{_name(series, len(drawn))}{AVERAGE_PRECISION} {shown(value, 2)}"
        axes.step(curve.recall, curve.precision, where="post", label=label, **series_style(index))
        point = series.score.point
        if point and is_number(point.sensitivity) and is_number(point.ppv):
            _point(axes, point.sensitivity, point.ppv, index)
    _unit_axes(axes, "Recall (sensitivity)", "Precision (PPV)")
    return _with_legend(figure, axes, len(drawn))


def calibration_figure(panel: BinaryPanel) -> Figure:
    """Observed against predicted frequency with intervals, and how many cases each bin holds."""
    drawn = with_calibration(panel)
    height = 3.5 + _LEGEND_LINE_INCHES * len(drawn)
    figure, (axes, counts) = new_figure(height=height, nrows=2, height_ratios=[3.2, 1], sharex=True)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (2, 3)), linewidth=0.8)
    width = 0.09 / len(drawn)
    for index, (series, bins) in enumerate(drawn):
        filled = [item for item in bins if item.n]
        style = series_style(index)
        x, y = np.array([item.mean_probability for item in filled]), np.array([item.observed for item in filled])
        limits = np.array([item.observed_ci for item in filled], dtype=float).T
        label = f"{_name(series, len(drawn))}slope {shown(series.score.calibration_slope, 2)}, "
        label += f"intercept {shown(series.score.calibration_intercept, 2)}"
        axes.vlines(x, limits[0], limits[1], color=style["color"], linewidth=1, alpha=0.6)
        sizes = np.array([item.n for item in filled])
        axes.plot(x, y, linewidth=0.8, alpha=0.45, **style)
        axes.scatter(
            x,
            y,
            s=12 + 60 * sizes / sizes.max(),
            color=style["color"],
            linewidths=0,
            zorder=3,
            label=label,
            clip_on=False,
        )
        middles = np.array([(item.lower + item.upper) / 2 for item in bins])
        offset = (index - (len(drawn) - 1) / 2) * width
        counts.bar(middles + offset, [item.n for item in bins], width=width, color=style["color"])
        if len(drawn) == 1:
            for middle, item in zip(middles, bins, strict=True):
                if item.n:
                    counts.annotate(str(item.n), (middle, item.n), ha="center", va="bottom", fontsize=6)
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="Observed frequency")
    counts.set(xlabel="Predicted probability", ylabel="Cases")
    counts.margins(y=0.3)
    counts.grid(axis="x", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center")
    return figure


def decision_curve_figure(panel: BinaryPanel) -> Figure:
    """Net benefit of the model, of treating all and of treating none."""
    drawn = [(series, series.decision_curve) for series in panel.series if series.decision_curve]
    figure, axes = _square(len(drawn) + 2)
    highest = 0.05
    for index, (series, curve) in enumerate(drawn):
        if index == 0:
            axes.plot(curve.threshold, curve.net_benefit_all, color=GREY, linewidth=1, label="all positive")
            axes.axhline(0, color="#111827", linewidth=1, linestyle=(0, (4, 2)), label="none positive")
            highest = max(highest, *curve.net_benefit_all)
        highest = max(highest, *curve.net_benefit_model)
        label = series.name if len(drawn) > 1 else "model"
        axes.plot(curve.threshold, curve.net_benefit_model, label=label, **series_style(index))
        point = series.score.point
        if point and is_number(point.threshold):
            axes.axvline(point.threshold, color=COLOURS[index % len(COLOURS)], linewidth=0.7, linestyle=":")
    axes.set(xlim=(0, 1), ylim=(-0.12 * highest, 1.1 * highest), xlabel="Threshold probability", ylabel="Net benefit")
    axes.legend(loc="upper right")
    return figure


def _square(entries: int) -> tuple[Figure, Axes]:
    extra = _LEGEND_LINE_INCHES * entries if entries > 1 else 0.0
    figure, axes = new_figure(height=3.4 + extra)
    return figure, axes


def _with_legend(figure: Figure, axes: Axes, entries: int) -> Figure:
    """One entry sits in the corner, several stand below the axes."""
    if entries == 1:
        axes.legend(loc="lower right")
    elif entries:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center")
    return figure


def _unit_axes(axes: Axes, x_label: str, y_label: str) -> None:
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=ticks, yticks=ticks, xlabel=x_label, ylabel=y_label)
    axes.set_aspect("equal")


def _name(series: Series, total: int) -> str:
    return f"{series.name}: " if total > 1 else ""


def _roc(axes: Axes, series: Series, curves: ScoreCurves, index: int, total: int) -> None:
    style = series_style(index)
    band = curves.roc_band
    if band and total <= _MAX_BANDS:
        axes.fill_between(band.fpr, band.lower, band.upper, color=style["color"], alpha=0.15, linewidth=0)
    prefix = _name(series, total)
    label = f"{prefix}AUC {with_interval(series.score.auc, series.score.auc_ci, 2)}"
    axes.plot(curves.roc.fpr, curves.roc.tpr, label=label, **style)
    point = series.score.point
    if point and is_number(point.specificity) and is_number(point.sensitivity):
        _point(axes, 1 - point.specificity, point.sensitivity, index)


def _point(axes: Axes, x: float, y: float, index: int) -> None:
    colour = COLOURS[index % len(COLOURS)]
    axes.plot([x], [y], "o", markersize=6, color=colour, markeredgecolor="white", markeredgewidth=1, zorder=5)


def _reader_points(axes: Axes, name: str, reader: Reader, marker: str) -> None:
    points = [item for item in reader.operating_points if is_number(item.specificity)]
    points = [item for item in points if is_number(item.sensitivity)]
    x, y = [1 - item.specificity for item in points], [item.sensitivity for item in points]
    axes.plot(
        x,
        y,
        marker=marker,
        markersize=4.5,
        color="#374151",
        markerfacecolor="white",
        linestyle=(0, (1, 2)),
        linewidth=0.8,
        label=name if name.lower().startswith("reader") else f"reader {name}",
        zorder=4,
    )
