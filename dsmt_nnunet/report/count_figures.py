"""Figures of counts and of intervals side by side: confusion matrices, score distributions, forest plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsmt_nnunet.evaluation.records.reader_study import MeritResult
from dsmt_nnunet.evaluation.records.score import Interval, Score
from dsmt_nnunet.evaluation.records.tasks import CrossvalBinaryTask
from dsmt_nnunet.report.figure_style import COLUMN_INCHES, GREY, NEGATIVE, POSITIVE, new_figure, series_style
from dsmt_nnunet.report.numbers import is_number, readable, shown, with_interval
from dsmt_nnunet.report.panel import BinaryPanel, MulticlassPanel, Panel, Series
from dsmt_nnunet.statistics.checks import FloatArray, IntArray

_BINS = 20
_WRAP_AT = 14


@dataclass(frozen=True)
class ForestRow:
    """A line of a forest plot.

    Attributes:
        label: left of the axis.
        values: one (estimate, interval) for each series; None where undefined.
        note: right of the axis.
        is_heading: a line of text only.
    """

    label: str
    values: tuple[tuple[float, Interval | None], ...] = ()
    note: str = ""
    is_heading: bool = False


def confusion_figure(panel: Panel) -> Figure:
    """Counts at the first operating point of each score, with the share of each row."""
    if isinstance(panel, MulticlassPanel):
        matrix = np.array(panel.task.confusion_matrix)
        size = COLUMN_INCHES + 0.25 * max(0, len(panel.classes) - 3)
        figure, axes = new_figure(size, 0.86 * size)
        _matrix(axes, matrix, panel.classes)
        return figure
    drawn = [(series.name, point) for series in panel.series if (point := series.score.point)]
    width = COLUMN_INCHES if len(drawn) == 1 else 2.5 * len(drawn)
    figure, grid = new_figure(width, 3.0, ncols=len(drawn), squeeze=False)
    for axes, (name, point) in zip(grid[0], drawn, strict=True):
        _matrix(axes, np.array([[point.tn, point.fp], [point.fn, point.tp]]), panel.classes)
        axes.set_title(name if len(drawn) > 1 else "")
    return figure


def distribution_figure(panel: BinaryPanel) -> Figure:
    """Scores of the positive cases upwards, of the negative ones downwards, and the threshold."""
    drawn = [series for series in panel.series if len(series.y_score)]
    figure, grid = new_figure(height=1.2 + 1.6 * len(drawn), nrows=len(drawn), squeeze=False)
    for axes, series in zip(grid[:, 0], drawn, strict=True):
        _distribution(axes, series, panel.classes)
        axes.set_xlabel(series.name if len(drawn) > 1 else f"Score ({panel.classes[1]})")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def forest_figure(rows: Sequence[ForestRow], names: Sequence[str], label: str) -> Figure:
    """Estimates with intervals, one line each.

    Args:
        rows: from top to bottom.
        names: of the series.
        label: of the axis.
    """
    height = 0.75 + 0.25 * len(rows) * max(1.0, 0.6 * len(names)) + (0.2 if len(names) > 1 else 0)
    figure, axes = new_figure(2 * COLUMN_INCHES, height)
    for line, row in enumerate(rows):
        for index, (value, limits) in enumerate(row.values):
            offset = (index - (len(row.values) - 1) / 2) * 0.22
            _estimate(axes, line + offset, value, limits, index)
        if row.note:
            axes.annotate(row.note, (1.02, line), xycoords=("axes fraction", "data"), va="center", fontsize=7)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if row.is_heading else "normal")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(label)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    if len(names) > 1:
        handles = [
            axes.plot([], [], marker="s", markersize=4, label=name, **series_style(i))[0] for i, name in _n(names)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(names)))
    return figure


def subgroup_rows(panel: BinaryPanel) -> list[ForestRow]:
    """All cases, then each level of each group; several scores have no notes."""

    def row(label: str, n: int, n_positive: int, scores: Sequence[Score]) -> ForestRow:
        values = tuple((score.auc, score.auc_ci) for score in scores)
        note = f"{with_interval(*values[0], 2)}; " if len(values) == 1 else ""
        return ForestRow(label, values, f"{note}n {n}, {n_positive} positive")

    first = panel.series[0].score
    rows = [row("All", first.n, first.n_positive, [series.score for series in panel.series])]
    for column, levels in panel.comparisons.subgroups.items():
        rows.append(ForestRow(readable(column), is_heading=True))
        for level, item in levels.items():
            rows.append(row(level, item.n, item.n_positive, [item.scores[series.key] for series in panel.series]))
    return rows


def fold_rows(task: CrossvalBinaryTask) -> list[ForestRow]:
    """Each fold, and their mean."""

    def row(label: str, value: float, limits: Interval, note: str = "") -> ForestRow:
        return ForestRow(label, ((value, limits),), f"{with_interval(value, limits, 2)}{note}")

    rows = []
    for item in task.folds:
        note = f"; n {item.n}, {item.n_positive} positive"
        rows.append(row(f"Fold {item.fold}", item.auc, item.auc_ci, note))
    rows.append(row("Mean over folds", task.auc, task.auc_ci))
    return rows


def reader_study_rows(result: MeritResult) -> list[ForestRow]:
    """Each reader of each modality, and their mean."""
    rows = []
    for mean in result.quoted.means:
        rows.append(ForestRow(mean.modality, is_heading=True))
        rows += [
            ForestRow(f"Reader {item.reader}", ((item.estimate, None),), shown(item.estimate))
            for item in result.by_reader
            if item.modality == mean.modality
        ]
        rows.append(ForestRow("Mean", ((mean.estimate, mean.ci),), with_interval(mean.estimate, mean.ci)))
    return rows


def _n(names: Sequence[str]) -> list[tuple[int, str]]:
    return list(enumerate(names))


def _estimate(axes: Axes, y: float, value: float, limits: Interval | None, index: int) -> None:
    if not is_number(value):
        return
    colour = series_style(index)["color"]
    if limits is not None and all(map(is_number, limits)):
        axes.plot(list(limits), [y, y], color=colour, linewidth=1.3)
    axes.plot([value], [y], "s", markersize=4.5, color=colour)


def _matrix(axes: Axes, matrix: IntArray, classes: Sequence[str]) -> None:
    totals = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shares = matrix / totals
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.7 else "#111827"
        text = f"{count}\n{shares[row, column]:.0%}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9, linespacing=1.4)
    names = [name if len(name) <= _WRAP_AT else name.replace(" ", "\n").replace("-", "-\n") for name in classes]
    axes.set_xticks(range(len(classes)), names)
    axes.set_yticks(range(len(classes)), names, rotation=90, va="center")
    axes.set(xlabel="Decision", ylabel="Truth")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _distribution(axes: Axes, series: Series, classes: Sequence[str]) -> None:
    edges = _edges(series.y_score)
    upwards, _ = np.histogram(series.y_score[series.y_true], edges)
    downwards, _ = np.histogram(series.y_score[~series.y_true], edges)
    width, middles = edges[1] - edges[0], (edges[1:] + edges[:-1]) / 2
    style = {"width": 0.92 * width, "linewidth": 0.5, "edgecolor": "white"}
    axes.bar(middles, upwards, color=POSITIVE, label=classes[1], **style)
    axes.bar(middles, -downwards, color=NEGATIVE, hatch="////", label=classes[0], **style)
    axes.axhline(0, color="#111827", linewidth=0.7)
    point = series.score.point
    if point and is_number(point.threshold):
        axes.axvline(point.threshold, color=GREY, linestyle="--", linewidth=1, label="threshold")
    highest = max(1, upwards.max(), downwards.max())
    axes.set_ylim(-1.1 * highest, 1.1 * highest)
    ticks = [int(tick) for tick in np.unique(np.linspace(-highest, highest, 5).round())]
    axes.set_yticks(ticks, [str(abs(tick)) for tick in ticks])
    axes.set_ylabel("Cases")
    axes.grid(axis="x", visible=False)


def _edges(scores: FloatArray) -> FloatArray:
    low, high = float(scores.min()), float(scores.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return np.linspace(low, high if high > low else low + 1, _BINS + 1)
