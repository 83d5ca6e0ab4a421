"""What `dsmt evaluate` left in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.evaluation.files import (
    CASES_NAME,
    CURVES_NAME,
    JOINED_NAME,
    METRICS_NAME,
    SCHEMA_VERSION,
    SCORES_NAME,
)

Row = Mapping[str, str]
KINDS = ("predictions", "crossval", "table", "readers")


@dataclass(frozen=True)
class EvaluationFolder:
    """One evaluation.

    Attributes:
        path: the folder.
        metrics: content of metrics.json.
        curves: task or score -> its curves; empty where curves.json is missing.
        nodules: rows of joined.csv; empty where it is missing.
        cases: rows of scores.csv; empty where it is missing.
        dice: case -> Dice of its foreground, as cases.csv writes it.
    """

    path: Path
    metrics: Mapping[str, Any]
    curves: Mapping[str, Any]
    nodules: tuple[Row, ...] = ()
    cases: tuple[Row, ...] = ()
    dice: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def kind(self) -> str:
        return str(self.metrics["kind"])

    @property
    def confidence(self) -> str:
        """`95%`."""
        return f"{100 * float(self.metrics['settings']['confidence_level']):g}%"


def read_evaluation(folder: str | Path) -> EvaluationFolder:
    """Reads a folder written by `dsmt evaluate`.

    Raises:
        FileNotFoundError: it holds no metrics.json.
        ValueError: metrics.json is no such file, or of another schema version.
    """
    folder = Path(folder)
    path = folder / METRICS_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {METRICS_NAME}. Give the folder that 'dsmt evaluate ... -o OUT' wrote."
        )
    metrics = _read_json(path)
    if metrics.get("schema_version") != SCHEMA_VERSION or metrics.get("kind") not in KINDS:
        raise ValueError(
            f"{path} must have schema_version {SCHEMA_VERSION} and a kind of {list(KINDS)}; it has "
            f"{metrics.get('schema_version')!r} and {metrics.get('kind')!r}. Evaluate again with this version."
        )
    curves = _read_json(folder / CURVES_NAME) if (folder / CURVES_NAME).is_file() else {}
    cases = _read_rows(folder / CASES_NAME)
    return EvaluationFolder(
        path=folder,
        metrics=metrics,
        curves=curves.get("tasks", curves.get("scores", {})),
        nodules=_read_rows(folder / JOINED_NAME),
        cases=_read_rows(folder / SCORES_NAME),
        dice={row["case_id"]: row.get("dice", "") for row in cases},
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object, got {type(content).__name__}.")
    return content


def _read_rows(path: Path) -> tuple[Row, ...]:
    return tuple(row.values for row in read_csv(path).rows) if path.is_file() else ()
