"""What the centres that were left out one at a time found together (centres.csv)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dsmt_nnunet.files import write_rows
from dsmt_nnunet.statistics.checks import FloatArray
from dsmt_nnunet.statistics.named_warnings import EvaluationWarning
from dsmt_nnunet.statistics.pooling import METHOD, pooled_auc
from dsmt_nnunet.statistics.roc.by_patient import auc_interval
from dsmt_nnunet.study.seeds import SCORES_NAME, StudyScores, read_scores

CENTRES_NAME = "centres.csv"
POOLED = "pooled"
COLUMNS = (
    "run",
    "centre",
    "nodules",
    "positive",
    "patients",
    "auc",
    "auc_low",
    "auc_high",
    "expected_low",
    "expected_high",
)
MORE_COLUMNS = ("tau2", "q", "q_p_value", "method")


def write_centres(folder: Path, centres: Sequence[str]) -> None:
    """Writes centres.csv from scores.csv of a study's folder: the AUC in each centre and pooled over them, of each run.

    The score of a run is the mean over its seeds. Centres of one class, and those at an AUC of 0 or 1, whose variance
    is not known, are shown and not pooled.

    Args:
        folder: of the study.
        centres: centre of each fold.
    """
    scores = read_scores(folder / SCORES_NAME)
    runs = {name: np.mean(list(seeds.values()), axis=0) for name, seeds in scores.runs.items()} | dict(scores.floors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvaluationWarning)
        rows = [row for name, values in runs.items() for row in _rows(scores, name, values, centres)]
    if rows:
        write_rows(folder / CENTRES_NAME, [(*COLUMNS, *MORE_COLUMNS), *rows], line_end="\n")


def _rows(scores: StudyScores, run: str, values: FloatArray, centres: Sequence[str]) -> Iterator[tuple[str, ...]]:
    folds = np.zeros(len(values), dtype=np.int64) if scores.folds is None else scores.folds.astype(np.int64)
    aucs, errors, n_pooled = [], [], 0
    for fold, centre in enumerate(centres):
        inside = np.asarray(folds == fold, dtype=bool)
        labels, patients = scores.y_true[inside], scores.of(inside)
        counts = (str(inside.sum()), str(labels.sum()), str(len(set(patients))))
        if not 0 < labels.sum() < inside.sum():
            yield (run, centre, *counts, *[""] * 9)
            continue
        found = auc_interval(labels, values[inside], patients)
        yield (run, centre, *counts, *map(_shown, (found.auc, found.lower, found.upper)), *[""] * 6)
        if 0 < found.auc < 1 and found.se > 0:
            aucs.append(found.auc)
            errors.append(found.se)
            n_pooled += 1
    if n_pooled > 1:
        pooled = pooled_auc(aucs, errors)
        counts = (str(len(values)), str(int(scores.y_true.sum())), str(len(set(scores.patients))))
        numbers = (pooled.estimate, *pooled.ci, *pooled.prediction, pooled.tau2, pooled.q, pooled.q_p_value)
        yield (run, POOLED, *counts, *map(_shown, numbers), f"{METHOD}, {n_pooled} centres")


def _shown(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"
