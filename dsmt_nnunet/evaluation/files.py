"""The files of an evaluation: metrics.json, curves.json, and tables of cases."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE, __version__
from dsmt_nnunet import files as whole_files
from dsmt_nnunet.evaluation.records.comparisons import AdjustedFamily
from dsmt_nnunet.evaluation.records.curves import Curves, Kind, MulticlassCurves, ScoreCurves
from dsmt_nnunet.evaluation.records.free_response import FreeResponseCurves
from dsmt_nnunet.evaluation.records.metrics import KINDS, SCHEMA_VERSION, Conventions, Head, Metrics, SettingsUsed
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.records import RecordError, from_json, read_object, write_json
from dsmt_nnunet.statistics.named_warnings import WarningLog

METRICS_NAME = "metrics.json"
CURVES_NAME = "curves.json"
JOINED_NAME = "joined.csv"
CASES_NAME = "cases.csv"
MARKS_NAME = "marks.csv"
SCORES_NAME = "scores.csv"
_File = TypeVar("_File")


def head_of(settings: EvaluationSettings, log: WarningLog, families: Sequence[AdjustedFamily] = ()) -> Head:
    """What every kind of metrics.json has in common."""
    return Head(
        schema_version=SCHEMA_VERSION,
        created_by=f"dsmt-nnunet {__version__}",
        notice=NOT_A_MEDICAL_DEVICE,
        settings=SettingsUsed(
            confidence_level=settings.level,
            proportion_interval=settings.interval,
            bootstrap_resamples=settings.n_resamples,
            seed=settings.seed,
            prevalence=settings.prevalence,
            margin=settings.margin,
            partial_specificity=settings.partial_specificity,
        ),
        conventions=Conventions(),
        multiplicity=tuple(families),
        warnings=tuple(log.entries),
    )


@contextmanager
def whole_evaluation(out: Path, source: Path | None) -> Iterator[Path]:
    """A place for the files of an evaluation; at a clean exit all are in `out`. After an error `out` is as it was.

    Args:
        out: made if need be.
        source: the table that is evaluated, which is not overwritten; None where it is in memory.

    Raises:
        OSError: a file was not written whole.
        ValueError: a file would take the place of the table.
    """
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    whole_files.clean_leftovers(out)
    hidden = whole_files.temporary_folder(out)
    try:
        hidden.mkdir()
        yield hidden
        written = sorted(hidden.iterdir(), key=lambda path: path.name == METRICS_NAME)
        if source is not None and source.resolve() in [(out / path.name).resolve() for path in written]:
            raise ValueError(f"The results would overwrite {source}. Name another output folder (-o).")
        (out / METRICS_NAME).unlink(missing_ok=True)  # whoever is killed here leaves no mixture that passes for whole
        for path in written:
            path.replace(out / path.name)
    except OSError as error:
        if error.filename is not None and str(error.filename).startswith(str(hidden)):
            raise OSError(error.errno, error.strerror, str(out / Path(error.filename).name)) from error
        raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        if made and not any(out.iterdir()):
            out.rmdir()


def write_metrics(folder: str | Path, metrics: Metrics) -> Path:
    """Writes metrics.json."""
    path = Path(folder) / METRICS_NAME
    write_json(metrics, path)
    return path


def read_metrics(folder: str | Path) -> Metrics:
    """Reads metrics.json.

    Raises:
        FileNotFoundError: the folder holds none.
        ValueError: it was written by another release, or a key is missing, not known or wrongly typed.
    """
    path = Path(folder) / METRICS_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {METRICS_NAME}. Give the folder that 'dsmt evaluate ... -o OUT' wrote."
        )
    content = read_object(path)
    _check_version(path, content)
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"{path}: key 'kind' must be one of {list(KINDS)}, got {kind!r}. {_again('...')}")
    return _read(path, KINDS[kind], content, kind)


def write_curves(
    folder: str | Path,
    kind: Kind,
    *,
    tasks: Mapping[str, ScoreCurves | MulticlassCurves] | None = None,
    scores: Mapping[str, ScoreCurves] | None = None,
    free_response: FreeResponseCurves | None = None,
) -> Path:
    """Writes curves.json."""
    path = Path(folder) / CURVES_NAME
    curves = Curves(
        schema_version=SCHEMA_VERSION,
        kind=kind,
        tasks=None if tasks is None else dict(tasks),
        scores=None if scores is None else dict(scores),
        free_response=free_response,
    )
    write_json(curves, path)
    return path


def read_curves(folder: str | Path) -> Curves | None:
    """Reads curves.json; None where the folder holds none.

    Raises:
        ValueError: it was written by another release, or a key is missing, not known or wrongly typed.
    """
    path = Path(folder) / CURVES_NAME
    if not path.is_file():
        return None
    content = read_object(path)
    _check_version(path, content)
    return _read(path, Curves, content, str(content.get("kind")))


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Writes a whole CSV file (UTF-8, commas)."""
    whole_files.write_rows(path, [columns, *rows])
    return Path(path)


def _check_version(path: Path, content: Mapping[str, object]) -> None:
    version = content.get("schema_version")
    if type(version) is not int:
        raise ValueError(f"{path}: key 'schema_version' must be {SCHEMA_VERSION}, got {version!r}. {_again('...')}")
    if version != SCHEMA_VERSION:
        age = "an earlier" if version < SCHEMA_VERSION else "a later"
        kind = str(content.get("kind"))
        raise ValueError(
            f"{path} was written by {age} release (schema_version {version}, this one reads {SCHEMA_VERSION}). "
            f"{_again(f'{kind} ...' if kind in KINDS else '...')}"
        )


def _read(path: Path, kind: type[_File], content: Mapping[str, object], name: str) -> _File:
    try:
        return from_json(kind, content)
    except RecordError as error:
        raise ValueError(f"{path}: {error}. {_again(f'{name} ...')}") from error


def _again(what: str) -> str:
    return f"Run 'dsmt evaluate {what}' again."
