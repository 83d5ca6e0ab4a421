"""Evaluation of arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.evaluation.group_bands import GroupColumn
from dsmt_nnunet.evaluation.measures import estimates
from dsmt_nnunet.evaluation.patients import patients
from dsmt_nnunet.evaluation.records.metrics import TableSources
from dsmt_nnunet.evaluation.records.score import Estimate
from dsmt_nnunet.evaluation.score import is_probability
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.table_file import write_table_evaluation
from dsmt_nnunet.statistics.calibration.bins import expected_calibration_error
from dsmt_nnunet.statistics.calibration.logistic import LogisticCalibration, logistic_calibration
from dsmt_nnunet.statistics.calibration.scaling import DEFAULT_THRESHOLD
from dsmt_nnunet.statistics.checks import SMALL_SAMPLE, BoolArray, FloatArray, binary_labels, finite_scores
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.statistics.decisions.metrics import DecisionMetrics, decision_metrics
from dsmt_nnunet.statistics.decisions.threshold import youden_threshold
from dsmt_nnunet.statistics.named_warnings import NamedWarning, SmallSampleWarning, WarningLog
from dsmt_nnunet.statistics.proportions import IntervalMethod
from dsmt_nnunet.statistics.roc.by_patient import auc_interval
from dsmt_nnunet.statistics.roc.interval import AucInterval

SCORE_NAME = "score"


@dataclass(frozen=True)
class OperatingPointResult:
    """Decisions at one threshold.

    Attributes:
        threshold: called positive at or above it.
        source: in words, where it came from.
        chosen_on_reported_data: whether it was chosen on these very cases, which makes the metrics optimistic.
        metrics: sensitivity, specificity and their kin, each with its interval.
    """

    threshold: float
    source: str
    chosen_on_reported_data: bool
    metrics: DecisionMetrics


@dataclass(frozen=True)
class Calibration:
    """How well probabilities fit; made for scores in 0 to 1 alone.

    Attributes:
        brier: mean squared difference to the truth.
        ece: expected calibration error.
        logistic: slope and intercept of the logistic recalibration.
    """

    brier: float
    ece: float
    logistic: LogisticCalibration


@dataclass(frozen=True)
class Evaluation:
    """Everything of one score.

    Attributes:
        n, n_positive: cases.
        n_groups: patients; None where every case stands alone.
        auc: with its interval on the logit scale; where patients have several cases they are the unit.
        estimates: further figures by their name, such as the average precision, with intervals.
        calibration: None for scores that are no probabilities.
        operating_points: at least one for a probability.
        warnings: what a reader must know of these numbers.
    """

    n: int
    n_positive: int
    n_groups: int | None
    auc: AucInterval
    estimates: tuple[Estimate, ...]
    calibration: Calibration | None
    operating_points: tuple[OperatingPointResult, ...]
    warnings: tuple[NamedWarning, ...]
    _table: ScoreTable = field(repr=False, compare=False)
    _settings: EvaluationSettings = field(repr=False, compare=False)

    def write(self, folder: str | Path) -> Path:
        """Writes metrics.json, curves.json and scores.csv, as `dsmt evaluate table` does.

        Returns:
            The folder, from which `write_report` makes a page.

        >>> import tempfile
        >>> import dsmt_nnunet as dsmt
        >>> result = dsmt.evaluate([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.9], n_resamples=0)
        >>> sorted(path.name for path in result.write(tempfile.mkdtemp()).iterdir())
        ['curves.json', 'metrics.json', 'scores.csv']
        """
        sources = TableSources(
            table="arrays", truth="y_true", positive=None, cluster="groups" if self.n_groups else None, fold=None
        )
        write_table_evaluation(self._table, self._settings, WarningLog(), sources, Path(folder))
        return Path(folder)


def evaluate(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    groups: Sequence[object] | npt.NDArray[np.generic] | None = None,
    *,
    threshold: float | Sequence[float] | None = None,
    choose_threshold: Literal["youden"] | None = None,
    subgroups: Mapping[str, Sequence[object]] | None = None,
    interval: IntervalMethod = "wilson",
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Evaluates a binary score.

    Args:
        y_true: 0 or 1, shape (N,).
        y_score: higher means positive, shape (N,).
        groups: patient of each case, who is the unit, shape (N,); None where every case stands alone. Spellings that
            mean one person (`1`, `1.0`, `01`) are one, which a warning says.
        threshold: one or several; None for 0.5 of a probability, and for none of another score.
        choose_threshold: "youden" adds a threshold chosen on these very cases, and says so.
        subgroups: name -> level of each case; a table of them is written by `Evaluation.write`.
        interval: of proportions, "wilson" or "clopper-pearson".
        level: confidence level.
        n_resamples: of the bootstrap; 0 for none.
        seed: of the bootstrap.

    Raises:
        TypeError: subgroups that are no mapping.
        ValueError: labels that are not 0 or 1, scores that are not finite, lengths or indices of pandas Series that
            differ, or levels that are many numbers or spellings of one name.

    >>> import dsmt_nnunet as dsmt
    >>> y_true, y_score = [0, 0, 1, 1, 0, 1], [0.1, 0.4, 0.35, 0.8, 0.2, 0.9]
    >>> result = dsmt.evaluate(y_true, y_score, groups=["a", "b", "c", "d", "e", "e"])
    >>> result.n, result.n_groups
    (6, 5)
    >>> round(result.auc.auc, 3)
    0.889
    >>> point = result.operating_points[0]
    >>> point.threshold, round(point.metrics.sensitivity.value, 3), round(point.metrics.sensitivity.ci[0], 3)
    (0.5, 0.667, 0.208)
    """
    levels = _by_name(subgroups)
    _check_one_order({"y_true": y_true, "y_score": y_score, "groups": groups, **levels})
    labels = binary_labels(y_true)
    scores = finite_scores(y_score, len(labels))
    if scores.ndim != 1 or not len(labels):
        raise ValueError(f"y_score must be one score of at least one case, got shape {scores.shape}.")
    settings, log = EvaluationSettings(interval, level, n_resamples, seed), WarningLog()
    table = ScoreTable(
        case_names=tuple(str(index) for index in range(len(labels))),
        y_true=labels,
        scores={SCORE_NAME: scores},
        decisions={SCORE_NAME: tuple(_decisions(labels, scores, threshold, choose_threshold))},
        groups={name: GroupColumn(name).levels(_names(name, values, len(labels))) for name, values in levels.items()},
        clusters=None if groups is None else patients(_names("groups", groups, len(labels)), "groups", log),
    )
    return _evaluation(table, settings, log)


def _evaluation(table: ScoreTable, settings: EvaluationSettings, log: WarningLog) -> Evaluation:
    labels, scores, calibration = table.y_true, table.scores[SCORE_NAME], None
    if len(labels) < SMALL_SAMPLE:
        message = f"{len(labels)} cases only: asymptotic intervals and tests are not to be trusted."
        log.add(SmallSampleWarning, SCORE_NAME, message)
    with log.collect(SCORE_NAME):
        auc = auc_interval(labels, scores, table.clusters, settings.level)
        if is_probability(scores):
            calibration = Calibration(
                float(np.mean((scores - labels) ** 2)),
                expected_calibration_error(labels, scores),
                logistic_calibration(labels, scores, settings.level, table.clusters),
            )
        points = tuple(
            OperatingPointResult(
                item.threshold,
                item.source,
                item.chosen_on_reported_data,
                decision_metrics(labels, item.called_positive, settings.interval, settings.level, table.clusters),
            )
            for item in table.decisions[SCORE_NAME]
        )
        found = estimates(table, SCORE_NAME, settings)
    return Evaluation(
        n=len(labels),
        n_positive=int(labels.sum()),
        n_groups=None if table.clusters is None else len(set(table.clusters)),
        auc=auc,
        estimates=found,
        calibration=calibration,
        operating_points=points,
        warnings=tuple(log.entries),
        _table=table,
        _settings=settings,
    )


def _decisions(
    labels: BoolArray, scores: FloatArray, threshold: float | Sequence[float] | None, choose: str | None
) -> Iterator[Decisions]:
    if choose not in (None, "youden"):
        raise ValueError(f"choose_threshold is 'youden' or None, got {choose!r}.")
    cuts = [] if threshold is None else [float(cut) for cut in np.atleast_1d(np.asarray(threshold, dtype=float))]
    for cut in cuts:
        yield Decisions.at_threshold(scores, cut, "stated by the user")
    if choose == "youden":
        yield Decisions.at_threshold(
            scores, youden_threshold(labels, scores).threshold, "Youden's J on these very data", True
        )
    elif not cuts and is_probability(scores):
        yield Decisions.at_threshold(scores, DEFAULT_THRESHOLD, f"default {DEFAULT_THRESHOLD:g} of a probability")


def _by_name(subgroups: Any) -> dict[str, Any]:
    """
    Raises:
        TypeError: it is neither a mapping nor, as a table of pandas, like one.
    """
    if subgroups is not None and not hasattr(subgroups, "keys"):
        raise TypeError(f"subgroups are a mapping of name to the level of each case, got {type(subgroups).__name__}.")
    return {} if subgroups is None else dict(subgroups)


def _check_one_order(columns: Mapping[str, Any]) -> None:
    """
    Raises:
        ValueError: pandas' Series among them have different indices: pandas goes by label, and here it goes by place.
    """
    indices = {name: list(values.index) for name, values in columns.items() if hasattr(values, "iloc")}
    first = next(iter(indices), "")
    if others := [name for name, index in indices.items() if index != indices[first]]:
        raise ValueError(
            f"{first} and {', '.join(others)} are pandas objects with different indices, and may be in different "
            f"orders. Join them by label first; where their places fit, give each as .to_numpy()."
        )


def _names(what: str, values: Sequence[object] | npt.NDArray[np.generic], length: int) -> tuple[str, ...]:
    if isinstance(values, str) or np.asarray(values, dtype=object).ndim != 1:
        raise ValueError(f"{what} must be a list with one value for each case, got {type(values).__name__}.")
    names = tuple("" if _is_missing(value) else str(value).strip() for value in values)
    if len(names) != length or not all(names):
        raise ValueError(f"{what} must name one value for each of the {length} cases, none of them empty.")
    return names


def _is_missing(value: object) -> bool:
    try:
        return value is None or bool(value != value)  # NaN of any type, and no time
    except (TypeError, ValueError):  # pandas' NA is neither equal nor unequal
        return True
