"""Pictures of a study's results: every run's AUC with its interval, and the nodules that a run got most wrong.

    python -m benchmarks.study_pictures auc study/metrics -o docs/results/auc.svg
    python -m benchmarks.study_pictures worst study/scores.csv --raw study/nnUNet_raw/Dataset510_Phantom \
        --run DSMTTrainer -o docs/results/worst_phantoms.png

What the worst have in common is printed, beside all others; for phantoms their true features too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.evaluation.files import read_metrics
from dsmt_nnunet.evaluation.records.metrics import TableMetrics
from dsmt_nnunet.report.count_figures import ForestRow, forest_figure
from dsmt_nnunet.report.figure_style import figure_style, svg_text
from dsmt_nnunet.report.nodule_picture import AIR_HU, FIELD_MM, read_volume, sample_planes
from dsmt_nnunet.report.windows import WINDOWS
from dsmt_nnunet.study.floors import MeasuredNodule, nodules_of
from dsmt_nnunet.tasks import ClassificationSchema

WORST = 10
TRUTH_NAME = "phantom_truth.csv"
_LABELS = {
    "DSMTTrainer": "DSMT",
    "DSMTTrainer@joint": "DSMT before fine-tuning",
    "DSMTTrainer_mirrored": "DSMT, nodules mirrored",
}
_NOT_A_FEATURE = {"case_id", "nodule_id", "patient_id", "group", "protocol", "invasive"}


def auc_figure(metrics: TableMetrics) -> Figure:
    """One line a score, one mark a cohort (or one for all, where there are no cohorts)."""
    cohorts = metrics.subgroups.get("cohort", {})
    rows = []
    for name, score in metrics.scores.items():
        scores = [level.scores[name] for level in cohorts.values()] or [score]
        values = tuple((own.auc, own.auc_ci) for own in scores)
        label = _LABELS.get(name, name.removeprefix("DSMTTrainer").replace("_", " "))
        rows.append(ForestRow(label, values, f"{score.auc:.3f} in all"))
    return forest_figure(rows, list(cohorts) or ["all"], "AUC, 95 % interval")


def worst(scores: Path, raw: Path, run: str) -> tuple[list[tuple[MeasuredNodule, float]], str]:
    """The nodules whose score is farthest from their label, with their scores; and what they have in common."""
    rows = read_csv(scores).rows
    score = np.array([float(row.get(run)) for row in rows])
    error = np.abs(score - np.array([float(row.get("truth")) for row in rows]))
    order = np.argsort(-error)[:WORST]
    schema = ClassificationSchema.from_dataset_json(json.loads((raw / "dataset.json").read_text(encoding="utf-8")))
    part = "Ts" if (raw / "nodulesTs.csv").is_file() else "Tr"
    nodules = {item.key: item for item in nodules_of(raw, part, schema)}
    keys = [(row.get("case_id"), row.get("nodule_id")) for row in rows]
    features: dict[str, list[float]] = {"diameter_mm": [float(row.get("diameter_mm")) for row in rows]}
    if (raw / TRUTH_NAME).is_file():
        truth = {(row.get("case_id"), row.get("nodule_id")): row.values for row in read_csv(raw / TRUTH_NAME).rows}
        names = [name for name in truth[keys[0]] if name not in _NOT_A_FEATURE]
        features = {name: [float(truth[key][name]) for key in keys] for name in names}
    chosen = np.isin(np.arange(len(rows)), order)
    lines = [f"{'feature':22} {'worst':>8} {'others':>8}"]
    for name, values in features.items():
        array = np.array(values)
        lines.append(f"{name:22} {array[chosen].mean():8.3f} {array[~chosen].mean():8.3f}")
    for name in sorted({row.get("cohort") for row in rows}):
        own = np.array([row.get("cohort") == name for row in rows])
        lines.append(f"{'share ' + (name or 'of all'):22} {own[chosen].mean():8.3f} {own[~chosen].mean():8.3f}")
    if "true_probability" in features:
        unlikely = np.abs(np.array(features["true_probability"]) - np.array([float(row.get("truth")) for row in rows]))
        lines.append(f"{'label against the odds':22} {unlikely[chosen].mean():8.3f} {unlikely[~chosen].mean():8.3f}")
    return [(nodules[keys[position]], float(score[position])) for position in order], "\n".join(lines)


def worst_figure(chosen: list[tuple[MeasuredNodule, float]], positive: str) -> Figure:
    """The three planes of each nodule in a lung window, with label and score."""
    figure = Figure(figsize=(9.6, 7.4), layout="constrained")
    axes = figure.subplots((len(chosen) + 1) // 2, 2, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (item, score) in zip(axes.flat, chosen, strict=False):
        planes = sample_planes(read_volume(item.image), item.nodule.centre_mm, FIELD_MM, AIR_HU)
        axis.imshow(np.hstack(planes), cmap="gray", vmin=WINDOWS[0].low_hu, vmax=WINDOWS[0].high_hu)
        label = f"{'' if item.label else 'not '}{positive}"
        axis.set_title(f"{item.nodule.case_id}: {label}, score {score:.2f}", fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    auc = commands.add_parser("auc")
    auc.add_argument("metrics", type=Path, help="folder that 'dsmt evaluate table' wrote")
    bad = commands.add_parser("worst")
    bad.add_argument("scores", type=Path)
    bad.add_argument("--raw", type=Path, required=True)
    bad.add_argument("--run", default="DSMTTrainer")
    for command in (auc, bad):
        command.add_argument("-o", dest="out", type=Path, required=True)
    args = parser.parse_args()
    if args.command == "auc":
        metrics = read_metrics(args.metrics)
        if not isinstance(metrics, TableMetrics):
            raise ValueError(f"{args.metrics} is of the kind '{metrics.kind}'; give what 'dsmt evaluate table' wrote.")
        with figure_style():
            figure = auc_figure(metrics)
            args.out.write_text(svg_text(figure), encoding="utf-8")
        return
    chosen, text = worst(args.scores, args.raw, args.run)
    print(text)
    dataset = json.loads((args.raw / "dataset.json").read_text(encoding="utf-8"))
    positive = ClassificationSchema.from_dataset_json(dataset).primary.positive_class
    worst_figure(chosen, positive).savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
