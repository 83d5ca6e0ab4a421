"""How well nodules are found, whatever is said of them: FROC and AFROC of all marks."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from dsmt_nnunet.evaluation.records.free_response import FreeResponse, FreeResponseCurves
from dsmt_nnunet.report.figure_style import FigureFolder, PageFigure, new_figure, series_style
from dsmt_nnunet.report.numbers import with_interval
from dsmt_nnunet.report.tables import Row, Table
from dsmt_nnunet.statistics.detection.froc import CPM_RATES


def detection_figures(curves: FreeResponseCurves | None, key: str, figures: FigureFolder) -> tuple[PageFigure, ...]:
    """FROC and AFROC; none where curves.json is missing."""
    if curves is None:
        return ()
    froc = "Share of nodules found against false marks a scan (log scale); dots: the rates that the CPM averages."
    afroc = f"Share of nodules found against the share of {curves.afroc_over} with a false mark."
    return (
        figures.add(f"{key}-detection-froc", "FROC curve", froc, partial(froc_figure, curves)),
        figures.add(f"{key}-detection-afroc", "AFROC curve", afroc, partial(afroc_figure, curves)),
    )


def froc_figure(curves: FreeResponseCurves) -> Figure:
    """Sensitivity over 1/8 to 8 false marks a scan, as the CPM reads it: straight lines between points, then level."""
    figure, axes = new_figure()
    lowest, highest = CPM_RATES[0], CPM_RATES[-1]
    for rates, style in ((np.geomspace(lowest, highest, 301), "-"), (np.array(CPM_RATES), "o")):
        values = np.interp(rates, curves.false_per_scan, curves.sensitivity)
        axes.plot(rates, values, style, markersize=4, color=series_style(0)["color"])
    axes.set_xscale("log", base=2)
    axes.set_xticks(CPM_RATES, ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axes.set(xlabel="False marks a scan", ylabel="Sensitivity", ylim=(-0.02, 1.02))
    return figure


def afroc_figure(curves: FreeResponseCurves) -> Figure:
    """Sensitivity over the share of scans with a false mark."""
    figure, axes = new_figure()
    axes.plot(curves.scans_with_false_mark, curves.afroc_sensitivity, **series_style(0))
    label = f"Share of {curves.afroc_over} with a false mark"
    axes.set(xlabel=label, ylabel="Sensitivity", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return figure


def detection_table(found: FreeResponse, confidence: str) -> Table:
    """CPM, the sensitivities behind it, and the areas under AFROC curves."""
    rows: list[Row] = [("CPM", with_interval(found.cpm, found.cpm_ci))]
    rows += [
        (f"Sensitivity at {item.false_per_scan:g} a scan", with_interval(item.sensitivity, item.sensitivity_ci))
        for item in found.sensitivity_at
    ]
    if found.afroc:
        title = f"AFROC area, {found.afroc.n_scans} scans without a nodule"
        rows.append((title, with_interval(found.afroc.auc, found.afroc.auc_ci)))
    title = f"AFROC1 area, all {found.afroc1.n_scans} scans"
    rows.append((title, with_interval(found.afroc1.auc, found.afroc1.auc_ci)))
    note = f"{found.n_marks} marks, {found.n_neither} of which count neither way: further marks of a nodule, and marks "
    note += "of nodules that are not asked about. "
    note += f"The curve ends at {found.max_false_per_scan:.3g} false marks a scan; from there its last value holds."
    if found.n_scans_crashed:
        note += f" Nodules of {found.n_scans_crashed} scans without a prediction count as missed."
    return Table("Finding nodules, every mark counted", ("", f"Value ({confidence} interval)"), tuple(rows), note)
