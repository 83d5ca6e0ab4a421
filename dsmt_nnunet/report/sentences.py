"""What a section says of its data and of its settings."""

from __future__ import annotations

from dsmt_nnunet.evaluation.records.metrics import (
    ClassTableMetrics,
    CrossvalMetrics,
    ReaderStudyMetrics,
    TableMetrics,
)
from dsmt_nnunet.evaluation.records.tasks import BinaryTask
from dsmt_nnunet.report.folder import EvaluationFolder
from dsmt_nnunet.report.numbers import counted, readable

SOURCES = {
    "predictions": ("predictions", "truth", "labels"),
    "crossval": ("dataset", "model", "truth"),
    "table": ("table",),
    "classes": ("table",),
    "readers": ("table",),
}
"""Kind -> the names in `inputs` of metrics.json that stand for files and folders."""


def data_sentence(evaluation: EvaluationFolder) -> str:
    """How many cases, and from where."""
    metrics = evaluation.metrics
    named = [(name, getattr(metrics.inputs, name)) for name in SOURCES[metrics.kind]]
    source = ", ".join(f"{name} '{value}'" for name, value in named if value)
    if isinstance(metrics, ReaderStudyMetrics):
        text = f"{metrics.n_cases} cases ({metrics.n_positive} positive), {len(metrics.readers)} readers, "
        return f"{text}{len(metrics.modalities)} modalities. Source: {source}."
    if isinstance(metrics, TableMetrics):
        return f"{metrics.n} cases, {metrics.n_positive} of them positive. Source: {source}."
    if isinstance(metrics, ClassTableMetrics):
        return f"{metrics.n} cases of {len(metrics.classes)} classes. Source: {source}."
    if isinstance(metrics, CrossvalMetrics):
        text = f"{len(metrics.folds)} folds, {counted(len(evaluation.nodules), 'nodule')}."
    else:
        detection = metrics.detection
        text = f"{counted(detection.n_scans, 'scan')} with {counted(detection.n_truth, 'nodule')}: "
        text += f"{detection.n_matched} found, {detection.n_missed} missed, "
        if detection.n_scans_crashed:
            text += f"{detection.n_crashed} in {counted(detection.n_scans_crashed, 'scan')} without a prediction, "
        text += f"{counted(detection.n_extra, 'extra finding')}."
        text += f" {detection.note}" if detection.note else ""
    primary = metrics.tasks.get(metrics.primary_task)
    if isinstance(primary, BinaryTask):
        task = readable(metrics.primary_task)
        text += f" {task}: {primary.n_positive} of {primary.n} {primary.positive_class}."
    return f"{text} Source: {source}."


def settings_sentence(evaluation: EvaluationFolder) -> str:
    """How intervals were made, and what is the unit."""
    metrics = evaluation.metrics
    settings, maker, confidence = metrics.settings, metrics.created_by, metrics.confidence
    if isinstance(metrics, ReaderStudyMetrics):
        return f"{confidence} intervals. {metrics.method}. Made by {maker}."
    proportions = f"{confidence} intervals; proportions after {settings.proportion_interval.title()}"
    clustered = f"; the patient ({metrics.inputs.cluster}) is the unit" if metrics.inputs.cluster else ""
    if isinstance(metrics, ClassTableMetrics):
        return f"{proportions}{clustered}. Made by {maker}."
    resamples = settings.bootstrap_resamples
    bootstrap = f"{resamples} bootstrap resamples, seed {settings.seed}" if resamples else "no bootstrap"
    return (
        f"{proportions}; {bootstrap}{clustered}. Positive when score >= threshold; no score is flipped. "
        f"Made by {maker}."
    )
