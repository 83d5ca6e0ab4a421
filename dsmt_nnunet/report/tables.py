"""The tables of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dsmt_nnunet.report.numbers import interval, is_number, p_value, readable, share, shown, with_interval
from dsmt_nnunet.report.panel import Panel, Series
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


def metric_tables(panel: Panel, confidence: str) -> list[Table]:
    """Discrimination and calibration of all scores, then every operating point."""
    names = [series.name for series in panel.series]
    blocks = [series.block for series in panel.series]
    rows = [
        ("Cases", *(str(block["n"]) for block in blocks)),
        (panel.classes[1].capitalize(), *(str(block["n_positive"]) for block in blocks)),
        ("AUC", *(with_interval(series.block["auc"], series.auc_ci) for series in panel.series)),
        ("AUC, DeLong interval", *(interval(block["auc_ci_delong"]) or "none" for block in blocks)),
        ("AUC, bootstrap interval", *(interval(block["auc_ci_bootstrap"]) or "none" for block in blocks)),
        ("Average precision", *(shown(block["average_precision"]) for block in blocks)),
        ("Brier score", *(shown(block["brier"]) for block in blocks)),
        ("Expected calibration error", *(shown(block["ece"]) for block in blocks)),
        ("Calibration slope", *(_block_interval(block, "calibration_slope") for block in blocks)),
        ("Calibration intercept", *(_block_interval(block, "calibration_intercept") for block in blocks)),
    ]
    columns = ("", *names) if len(names) > 1 else ("", f"Value ({confidence} interval)")
    tables = [Table("Discrimination and calibration", columns, tuple(rows))]
    points = list(_points(panel.series))
    if points:
        tables.append(_point_table(points, confidence))
    return tables


def comparison_tables(panel: Panel, confidence: str) -> list[Table]:
    """Paired tests between scores and unpaired ones between levels."""
    comparisons = panel.block.get("comparisons") or []
    paired = [item for item in comparisons if item["kind"] == "paired"]
    unpaired = [item for item in comparisons if item["kind"] == "unpaired"]
    difference = f"AUC difference ({confidence} interval)"
    aucs: list[Row] = [(" - ".join(item["scores"]), *_difference(item)) for item in paired]
    decisions: list[Row] = [
        (f"{' - '.join(item['scores'])}, {kind}", *_mcnemar(block))
        for item in paired
        for kind, block in (item.get("mcnemar") or {}).items()
    ]
    levels: list[Row] = [
        (
            f"{item['score'] + ', ' if len(panel.series) > 1 else ''}{readable(item['group'])}: "
            f"{' - '.join(item['levels'])}",
            " and ".join(map(str, item["n"])),
            *_difference(item),
        )
        for item in unpaired
    ]
    counts = (f"Difference ({confidence} interval)", "Only first right", "Only second right")
    tables = [
        Table("AUCs compared on the same cases (paired DeLong)", ("Pair", difference, "p", "p, Holm"), tuple(aucs)),
        Table("Decisions compared on the same cases (McNemar)", ("Pair", *counts, "p, exact"), tuple(decisions)),
        Table(
            "AUCs compared between subgroups (unpaired DeLong)",
            ("Subgroups", "Cases", difference, "p", "p, Holm"),
            tuple(levels),
        ),
    ]
    return [table for table in tables if table.rows]


def reader_tables(panel: Panel, confidence: str) -> list[Table]:
    """Readers' sensitivity and specificity, and the model against each and all of them."""
    readers: Mapping[str, Any] = panel.block.get("readers") or {}
    if not readers:
        return []
    titles = dict(zip(_score_keys(panel), [series.name for series in panel.series], strict=True))
    points: list[Row] = []
    against: list[Row] = []
    for name, block in readers.items():
        auc = with_interval(block["auc"], block["auc_ci_delong"]) if "auc" in block else ""
        for item in block["operating_points"]:
            cut = "own decision" if block["kind"] == "binary" else f"rating >= {item['threshold']:g}"
            numbers = (with_interval(item[key], item[f"{key}_ci"]) for key in ("sensitivity", "specificity"))
            points.append((name, cut, *numbers, auc))
        against += [_against(titles[score], name, item) for score, item in block["against"].items()]
    columns = ("Reader", "Positive when", f"Sensitivity ({confidence} interval)", "Specificity", "AUC")
    tables = [Table("Readers", columns, tuple(points))]
    columns = ("Model - reader", "AUC difference", "p", "Accuracy difference", "p, exact")
    note = "McNemar's test is of decisions; a reader of ordinal ratings has none unless a cut was stated beforehand."
    tables.append(Table("Model against each reader", columns, tuple(against), note))
    if panel.block.get("multi_reader"):
        tables.append(_multi_reader_table(panel.block["multi_reader"], titles, confidence))
    return tables


def multiclass_tables(panel: Panel, confidence: str) -> list[Table]:
    """Each class against the rest, and the whole."""
    block = panel.block
    rows = tuple(
        (name, str(item["n"]), with_interval(item["auc"], item["auc_ci_delong"]), shown(item["sensitivity"]))
        for name, item in block["auc_one_vs_rest"].items()
    )
    whole = (
        ("Mean AUC", with_interval(block["auc_macro"], block["auc_macro_ci_bootstrap"])),
        ("Accuracy", with_interval(block["accuracy"], block["accuracy_ci"])),
        ("Balanced accuracy", shown(block["balanced_accuracy"])),
        ("Log loss", shown(block["log_loss"])),
    )
    return [
        Table("All classes", ("", f"Value ({confidence} interval)"), whole),
        Table(
            "Each class against the rest",
            ("Class", "Cases", f"AUC ({confidence} interval)", "Found of its cases"),
            rows,
        ),
    ]


def fold_table(block: Mapping[str, Any]) -> Table:
    """One row a fold."""
    rows = tuple(
        (
            str(item["fold"]),
            share(item["n_positive"], item["n"]),
            with_interval(item["auc"], item["auc_ci_delong"]),
            shown(item["threshold_from_other_folds"]),
            shown(item["sensitivity"]),
            shown(item["specificity"]),
        )
        for item in block["folds"]
    )
    columns = ("Fold", "Positive", "AUC", "Threshold of the other folds", "Sensitivity", "Specificity")
    return Table("Folds", columns, rows, str(block.get("auc_quote") or ""))


def reader_study_tables(metrics: Mapping[str, Any], confidence: str) -> list[Table]:
    """Means of the modalities and their differences, for each merit and design of a reader study."""
    tables = []
    for merit, block in metrics["merits"].items():
        for design in ("random readers and cases", "fixed readers", "fixed cases"):
            result = block.get(design)
            if not result:
                continue
            rows = [(item["modality"], with_interval(item["estimate"], item["ci"]), "") for item in result["means"]]
            rows += [
                (
                    f"{item['first']} - {item['second']}",
                    with_interval(item["estimate"], item["ci"]),
                    p_value(item["p_value"]),
                )
                for item in result["differences"]
            ]
            title = "AUC" if merit == "auc" else readable(merit)
            columns = ("Modality", f"{title} ({confidence} interval)", "p")
            tables.append(Table(f"{title}, {design}", columns, tuple(rows)))
    return tables


def threshold_text(point: Mapping[str, Any]) -> str:
    """The threshold and where it comes from."""
    if not is_number(point["threshold"]):
        return str(point["threshold_source"])
    return f"{point['threshold']:.3g}, {point['threshold_source']}"


def _multi_reader_table(study: Mapping[str, Any], titles: Mapping[str, str], confidence: str) -> Table:
    rows = tuple(
        (
            titles[score],
            shown(item["model_auc"]),
            with_interval(item["difference"], item["ci"]),
            p_value(item["p_value"]),
        )
        for score, item in study["model_minus_readers"].items()
    )
    mean = with_interval(study["mean_auc"], study["mean_auc_ci"])
    columns = ("Model", "AUC", f"Model - readers ({confidence} interval)", "p")
    return Table(f"Model against all readers together; their mean AUC is {mean}", columns, rows, study["method"])


def _score_keys(panel: Panel) -> list[str]:
    """Names that metrics.json gives the series: those of `scores`, or of the one score of a task."""
    first = next(iter(panel.block["readers"].values()))
    return list(panel.block.get("scores") or first["against"])


def _points(series: Sequence[Series]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for item in series:
        for point in item.block.get("operating_points") or []:
            yield item.name if len(series) > 1 else "", point


def _point_table(points: Sequence[tuple[str, Mapping[str, Any]]], confidence: str) -> Table:
    columns = []
    for name, point in points:
        threshold = f"threshold {point['threshold']:.3g}" if is_number(point["threshold"]) else "threshold by fold"
        columns.append(f"{name}, {threshold}" if name else threshold.capitalize())
    rows = []
    for metric in METRIC_NAMES:
        cells = []
        for _, point in points:
            counts = ""
            if metric in COUNTS:
                right, wrong = (point[key] for key in COUNTS[metric])
                counts = f" [{share(right, right + wrong)}]"
            cells.append(with_interval(point[metric], point[f"{metric}_ci"]) + counts)
        rows.append((METRIC_TITLES.get(metric, readable(metric)), *cells))
    sources = dict.fromkeys(str(point["threshold_source"]) for _, point in points)
    note = f"Threshold: {'; '.join(sources)}. {confidence} intervals."
    return Table("At the operating point", ("", *columns), tuple(rows), note)


def _block_interval(block: Mapping[str, Any], key: str) -> str:
    return with_interval(block[key], block.get(f"{key}_ci"), 2)


def _difference(item: Mapping[str, Any]) -> tuple[str, str, str]:
    return (
        with_interval(item["auc_difference"], item["ci"]),
        p_value(item["p_value"]),
        p_value(item.get("p_value_holm")),
    )


def _mcnemar(block: Mapping[str, Any]) -> tuple[str, ...]:
    first, second = block["discordant"]
    return with_interval(block["difference"], block["ci"]), str(first), str(second), p_value(block["p_value"])


def _against(score: str, reader: str, item: Mapping[str, Any]) -> tuple[str, ...]:
    auc, decisions = item.get("auc"), (item.get("mcnemar") or {}).get("accuracy")
    return (
        f"{score} - {reader}",
        with_interval(auc["auc_difference"], auc["ci"]) if auc else "",
        p_value(auc["p_value"]) if auc else "",
        with_interval(decisions["difference"], decisions["ci"]) if decisions else "",
        p_value(decisions["p_value"]) if decisions else "",
    )
