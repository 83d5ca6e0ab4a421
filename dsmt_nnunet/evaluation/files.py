"""The files of an evaluation: metrics.json, curves.json, and tables of cases."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE, __version__
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.records import write_json
from dsmt_nnunet.statistics.named_warnings import WarningLog

SCHEMA_VERSION = 1
METRICS_NAME = "metrics.json"
CURVES_NAME = "curves.json"
JOINED_NAME = "joined.csv"
CASES_NAME = "cases.csv"
SCORES_NAME = "scores.csv"
Kind = Literal["predictions", "crossval", "table", "readers"]


def write_metrics(
    folder: str | Path,
    kind: Kind,
    settings: EvaluationSettings,
    inputs: Mapping[str, Any],
    content: Mapping[str, Any],
    log: WarningLog,
) -> Path:
    """Writes metrics.json: what every kind has in common, then `content`."""
    path = Path(folder) / METRICS_NAME
    head = {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "created_by": f"dsmt-nnunet {__version__}",
        "notice": NOT_A_MEDICAL_DEVICE,
        "inputs": inputs,
        "settings": {
            "confidence_level": settings.level,
            "proportion_interval": settings.interval,
            "bootstrap_resamples": settings.n_resamples,
            "seed": settings.seed,
        },
        "conventions": {
            "positive_when": "score >= threshold",
            "undefined": "null, with an entry in warnings",
            "auc_direction": "higher scores mean positive; never flipped",
        },
    }
    write_json({**head, **content, "warnings": log.entries}, path)
    return path


def write_curves(folder: str | Path, kind: Kind, content: Mapping[str, Any]) -> Path:
    """Writes curves.json."""
    path = Path(folder) / CURVES_NAME
    write_json({"schema_version": SCHEMA_VERSION, "kind": kind, **content}, path)
    return path


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Writes a CSV (UTF-8, commas) under a temporary name, then renames it."""
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)
    partial.replace(path)
    return path
