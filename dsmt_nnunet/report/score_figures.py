"""Curves of scores: ROC, precision-recall, calibration, decision curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsmt_nnunet.report.figure_style import COLOURS, GREY, MARKERS, new_figure, series_style
from dsmt_nnunet.report.numbers import is_number, shown, with_interval
from dsmt_nnunet.report.panel import Panel, Series

_MAX_BANDS = 3
_LEGEND_LINE_INCHES = 0.16


def roc_figure(panel: Panel) -> Figure:
    """ROC curves with bands, operating points and readers' points."""
    drawn = [series for series in panel.series if _has(series, "roc", "fpr")]
    readers: Mapping[str, Any] = panel.block.get("readers") or {}
    figure, axes = _square(len(drawn) + len(readers))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (2, 3)), linewidth=0.8)
    for index, series in enumerate(drawn):
        _roc(axes, series, index, len(drawn))
    for index, (name, block) in enumerate(readers.items()):
        _reader_points(axes, name, block, MARKERS[index % len(MARKERS)])
    _unit_axes(axes, "1 - specificity", "Sensitivity")
    return _with_legend(figure, axes, len(drawn) + len(readers))


def multiclass_roc_figure(panel: Panel) -> Figure:
    """ROC curve of each class against the rest."""
    curves: Mapping[str, Any] = panel.curves["roc_one_vs_rest"]
    figure, axes = _square(len(curves))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (2, 3)), linewidth=0.8)
    for index, (name, curve) in enumerate(curves.items()):
        item = panel.block["auc_one_vs_rest"][name]
        label = f"{name}: AUC {with_interval(item['auc'], item['auc_ci_delong'], 2)}"
        axes.plot(curve["fpr"], curve["tpr"], label=label, **series_style(index))
    _unit_axes(axes, "1 - specificity", "Sensitivity")
    return _with_legend(figure, axes, len(curves))


def precision_recall_figure(panel: Panel) -> Figure:
    """Precision-recall curves; the dotted line is the share of positive cases."""
    drawn = [series for series in panel.series if _has(series, "precision_recall", "recall")]
    figure, axes = _square(len(drawn))
    first = drawn[0].block
    axes.axhline(first["n_positive"] / first["n"], color=GREY, linestyle=(0, (2, 3)), linewidth=0.8)
    for index, series in enumerate(drawn):
        curve = series.curves["precision_recall"]
        label = f"{_name(series, drawn)}average precision {shown(series.block['average_precision'], 2)}"
        axes.step(curve["recall"], curve["precision"], where="post", label=label, **series_style(index))
        point = series.point
        if point and is_number(point["sensitivity"]) and is_number(point["ppv"]):
            _point(axes, point["sensitivity"], point["ppv"], index)
    _unit_axes(axes, "Recall (sensitivity)", "Precision (PPV)")
    return _with_legend(figure, axes, len(drawn))


def calibration_figure(panel: Panel) -> Figure:
    """Observed against predicted frequency with intervals, and how many cases each bin holds."""
    drawn = [series for series in panel.series if series.curves.get("calibration")]
    height = 3.5 + _LEGEND_LINE_INCHES * len(drawn)
    figure, (axes, counts) = new_figure(height=height, nrows=2, height_ratios=[3.2, 1], sharex=True)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (2, 3)), linewidth=0.8)
    width = 0.09 / len(drawn)
    for index, series in enumerate(drawn):
        bins = series.curves["calibration"]
        filled = [item for item in bins if item["n"]]
        style = series_style(index)
        x, y = (np.array([item[key] for item in filled]) for key in ("mean_probability", "observed"))
        limits = np.array([item["observed_ci"] for item in filled], dtype=float).T
        label = f"{_name(series, drawn)}slope {shown(series.block['calibration_slope'], 2)}, "
        label += f"intercept {shown(series.block['calibration_intercept'], 2)}"
        axes.vlines(x, limits[0], limits[1], color=style["color"], linewidth=1, alpha=0.6)
        sizes = np.array([item["n"] for item in filled])
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
        middles = np.array([(item["lower"] + item["upper"]) / 2 for item in bins])
        offset = (index - (len(drawn) - 1) / 2) * width
        counts.bar(middles + offset, [item["n"] for item in bins], width=width, color=style["color"])
        if len(drawn) == 1:
            for middle, item in zip(middles, bins, strict=True):
                if item["n"]:
                    counts.annotate(str(item["n"]), (middle, item["n"]), ha="center", va="bottom", fontsize=6)
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="Observed frequency")
    counts.set(xlabel="Predicted probability", ylabel="Cases")
    counts.margins(y=0.3)
    counts.grid(axis="x", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center")
    return figure


def decision_curve_figure(panel: Panel) -> Figure:
    """Net benefit of the model, of treating all and of treating none."""
    drawn = [series for series in panel.series if series.curves.get("decision_curve")]
    figure, axes = _square(len(drawn) + 2)
    highest = 0.05
    for index, series in enumerate(drawn):
        curve = series.curves["decision_curve"]
        if index == 0:
            axes.plot(curve["threshold"], curve["net_benefit_all"], color=GREY, linewidth=1, label="all positive")
            axes.axhline(0, color="#111827", linewidth=1, linestyle=(0, (4, 2)), label="none positive")
            highest = max(highest, *curve["net_benefit_all"])
        highest = max(highest, *curve["net_benefit_model"])
        label = series.name if len(drawn) > 1 else "model"
        axes.plot(curve["threshold"], curve["net_benefit_model"], label=label, **series_style(index))
        point = series.point
        if point and is_number(point["threshold"]):
            axes.axvline(point["threshold"], color=COLOURS[index % len(COLOURS)], linewidth=0.7, linestyle=":")
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


def _has(series: Series, curve: str, key: str) -> bool:
    return bool((series.curves.get(curve) or {}).get(key))


def _name(series: Series, drawn: Sequence[Series]) -> str:
    return f"{series.name}: " if len(drawn) > 1 else ""


def _roc(axes: Axes, series: Series, index: int, total: int) -> None:
    style = series_style(index)
    band = series.curves.get("roc_band")
    if band and total <= _MAX_BANDS:
        axes.fill_between(band["fpr"], band["lower"], band["upper"], color=style["color"], alpha=0.15, linewidth=0)
    prefix = f"{series.name}: " if total > 1 else ""
    curve = series.curves["roc"]
    label = f"{prefix}AUC {with_interval(series.block['auc'], series.auc_ci, 2)}"
    axes.plot(curve["fpr"], curve["tpr"], label=label, **style)
    point = series.point
    if point and is_number(point["specificity"]) and is_number(point["sensitivity"]):
        _point(axes, 1 - point["specificity"], point["sensitivity"], index)


def _point(axes: Axes, x: float, y: float, index: int) -> None:
    colour = COLOURS[index % len(COLOURS)]
    axes.plot([x], [y], "o", markersize=6, color=colour, markeredgecolor="white", markeredgewidth=1, zorder=5)


def _reader_points(axes: Axes, name: str, block: Mapping[str, Any], marker: str) -> None:
    points = [item for item in block["operating_points"] if is_number(item["specificity"])]
    points = [item for item in points if is_number(item["sensitivity"])]
    x, y = [1 - item["specificity"] for item in points], [item["sensitivity"] for item in points]
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
