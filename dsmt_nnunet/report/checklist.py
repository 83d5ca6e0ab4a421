"""Checklists of reporting, filled with what is on disk; what only a person can say stays open."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from dsmt_nnunet.evaluation.records.metrics import ClassTableMetrics, CrossvalMetrics, ReaderStudyMetrics, TableMetrics
from dsmt_nnunet.evaluation.records.score import Score
from dsmt_nnunet.files import write_rows
from dsmt_nnunet.report.cohort_tables import cohort_table, flow_table
from dsmt_nnunet.report.folder import EvaluationFolder
from dsmt_nnunet.report.numbers import readable, with_interval
from dsmt_nnunet.report.tables import Table
from dsmt_nnunet.statistics.decisions.metrics import METRIC_NAMES

OPEN = "open: only a person can say"
CHECKLISTS = {
    "claim_2024": "CLAIM 2024 (Tejani et al., Radiology: Artificial Intelligence 2024; 6: e240300)",
    "tripod_ai": "TRIPOD+AI (Collins et al., BMJ 2024; 385: e078378)",
}
"""Name of the file of items -> title. Items are named in our own words: quote the published ones."""


def checklist_tables(evaluations: Sequence[EvaluationFolder], explained: bool) -> dict[str, Table]:
    """Flow of cases, cohort and both checklists, by the name of their file.

    Args:
        evaluations: the sections of the page, reader studies left out.
        explained: whether the page shows what drove scores.
    """
    chosen = [item for item in evaluations if not isinstance(item.metrics, ReaderStudyMetrics)]
    facts = _facts(chosen, explained)
    tables = {"flow": flow_table(chosen), "cohort": cohort_table(chosen)}
    return tables | {name: _filled(name, title, facts) for name, title in CHECKLISTS.items()}


def write_checklist_files(tables: dict[str, Table], page: Path) -> list[Path]:
    """Writes each table as CSV beside the page: `<name of the page>_<table>.csv`."""
    written = []
    for name, table in tables.items():
        path = page.with_name(f"{page.stem}_{name}.csv")
        write_rows(path, [table.columns, *table.rows])
        written.append(path)
    return written


def _filled(name: str, title: str, facts: dict[str, str]) -> Table:
    text = files("dsmt_nnunet.report").joinpath("assets", f"{name}.csv").read_text(encoding="utf-8")
    rows = []
    for item in csv.DictReader(text.splitlines()):
        said = " ".join(facts[fact] for fact in item["facts"].split() if facts.get(fact))
        rows.append((item["item"], item["section"], item["asked"], said or OPEN))
    answered = sum(row[-1] != OPEN for row in rows)
    note = (
        f"{answered} of {len(rows)} items say what is on disk, which is seldom all that is asked; the others are open."
    )
    return Table(title, ("Item", "Part", "What is asked", "What is on disk"), tuple(rows), note)


def _facts(evaluations: Sequence[EvaluationFolder], explained: bool) -> dict[str, str]:
    """Sentences by the name that the files of items use; an empty one leaves its items open."""
    scores = [(item.name, name, score) for item in evaluations for name, score in _scores(item)]
    makers = dict.fromkeys(item.metrics.created_by for item in evaluations)
    points = [(where, name, score.point) for where, name, score in scores if score.point]
    return {
        "sources": "; ".join(f"{item.name}: {_inputs(item)}" for item in evaluations),
        "software": f"Made by {', '.join(makers)}; the model card (dsmt model card) names the model." if makers else "",
        "flow": "See the flow of cases.",
        "cohort": "See the table of the cohort.",
        "missing": "Nodules without a known class are left out of the task; missed nodules and cases without a "
        "prediction are counted by intention to diagnose.",
        "partition": " ".join(filter(None, map(_partition, evaluations))),
        "agreement": " ".join(filter(None, map(_agreement, evaluations))),
        "metrics": "AUC, average precision, Brier score, calibration slope and intercept, calibration error, "
        "sensitivity, specificity, predictive values, F1, accuracy, decision curve."
        if scores
        else "",
        "uncertainty": " ".join(dict.fromkeys(map(_uncertainty, evaluations))),
        "robustness": " ".join(filter(None, map(_subgroups, evaluations))),
        "explained": "Maps of what drove each score are on the page." if explained else "",
        "balance": " ".join(
            f"{where}, {name}: {score.n_positive} of {score.n} positive." for where, name, score in scores
        ),
        "performance": " ".join(f"{where}, {name}: {score.auc_sentence}" for where, name, score in scores),
        "decisions": " ".join(
            f"{where}, {name}: "
            + ", ".join(f"{readable(key).lower()} {with_interval(*point.metric(key))}" for key in METRIC_NAMES[:4])
            + "."
            for where, name, point in points
        ),
        "thresholds": " ".join(f"{where}, {name}: {point.threshold_source}." for where, name, point in points),
        "failures": "Wrong decisions stand first among the nodules of the page."
        if any(item.nodules for item in evaluations)
        else "",
    }


def _scores(evaluation: EvaluationFolder) -> list[tuple[str, Score]]:
    metrics = evaluation.metrics
    found = metrics.scores if isinstance(metrics, TableMetrics) else evaluation.tasks
    return [(name, item) for name, item in found.items() if isinstance(item, Score)]


def _inputs(evaluation: EvaluationFolder) -> str:
    metrics = evaluation.metrics
    if isinstance(metrics, CrossvalMetrics):
        return f"data set {metrics.inputs.dataset}, model {metrics.inputs.model}"
    if isinstance(metrics, TableMetrics | ClassTableMetrics):
        return f"table {metrics.inputs.table}"
    return f"predictions {evaluation.source}"


def _partition(evaluation: EvaluationFolder) -> str:
    metrics = evaluation.metrics
    if not isinstance(metrics, CrossvalMetrics):
        return ""
    left_out = "each nodule is judged by the model that left it out"
    return f"{evaluation.name}: {len(metrics.folds)} folds of one data set; {left_out}."


def _agreement(evaluation: EvaluationFolder) -> str:
    metrics = evaluation.metrics
    found = [metrics] if isinstance(metrics, TableMetrics) else list(evaluation.tasks.values())
    said = [
        f"{evaluation.name}: Krippendorff's alpha {with_interval(agreement.all.alpha, agreement.all.alpha_ci)}."
        for item in found
        if (agreement := getattr(item, "agreement", None)) is not None and agreement.all is not None
    ]
    return " ".join(said)


def _uncertainty(evaluation: EvaluationFolder) -> str:
    metrics = evaluation.metrics
    cluster = metrics.inputs.cluster
    unit = f"with the patient ({cluster}) as the unit" if cluster else "with each case as a unit of its own"
    return f"{metrics.confidence} intervals {unit}; p values after Holm."


def _subgroups(evaluation: EvaluationFolder) -> str:
    metrics = evaluation.metrics
    of_table = isinstance(metrics, TableMetrics | ClassTableMetrics)
    found = [metrics] if of_table else list(evaluation.tasks.values())
    columns = dict.fromkeys(column for item in found for column in getattr(item, "subgroups", {}))
    if not columns:
        return ""
    return f"{evaluation.name}: by {', '.join(map(readable, columns))}, with tests of interaction."
