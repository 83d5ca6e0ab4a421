"""What a study shows when its seeds are drawn from many, as its cases are: seeds.csv and cohorts.csv."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.csv_table import CsvTable, read_csv
from dsmt_nnunet.evaluation.folds import FOLD_COLUMN
from dsmt_nnunet.evaluation.patients import PATIENT_COLUMN
from dsmt_nnunet.files import write_rows
from dsmt_nnunet.identifiers import same_person_key
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray
from dsmt_nnunet.statistics.multiplicity import holm
from dsmt_nnunet.statistics.named_warnings import EvaluationWarning
from dsmt_nnunet.statistics.readers.seeds import CohortScores, SeedContrast, seed_contrast
from dsmt_nnunet.statistics.roc.fold_comparison import mean_fold_auc, paired_fold_comparison
from dsmt_nnunet.statistics.t_test import bounded_interval
from dsmt_nnunet.study.preregistration import marked

SCORES_NAME, SEEDS_NAME, COHORTS_NAME = "scores.csv", "seeds.csv", "cohorts.csv"
REFERENCE = "DSMTTrainer"
"""The run that the others are compared with; the first one where it is not among them."""
ALL = "all"
SEEDS_RANDOM = "Obuchowski-Rockette, seeds and patients random"
ONE_SEED = "Obuchowski, this seed alone"
WITHIN_FOLDS = "corrected resampled t over folds and seeds"
_SEED_COLUMN = re.compile(r"(?P<run>.+)_seed(?P<seed>\d+)")


@dataclass(frozen=True)
class StudyScores:
    """scores.csv.

    Attributes:
        y_true: shape (N,).
        patients: of each nodule.
        cohorts: of each nodule, "" where there are none.
        folds: of each nodule; None where every run is one model.
        runs: run -> seed -> scores, shape (N,).
        floors: column without seeds -> scores, shape (N,).
    """

    y_true: BoolArray
    patients: tuple[str, ...]
    cohorts: tuple[str, ...]
    folds: npt.NDArray[np.str_] | None
    runs: Mapping[str, Mapping[int, FloatArray]]
    floors: Mapping[str, FloatArray]

    @property
    def reference(self) -> str:
        return REFERENCE if REFERENCE in self.runs else next(iter(self.runs))

    def common_seeds(self, run: str) -> list[int]:
        """Seeds that a run shares with the reference."""
        return [seed for seed in self.runs[run] if seed in self.runs[self.reference]]

    def part(self, run: str, seeds: Sequence[int], chosen: BoolArray) -> FloatArray:
        """Scores of a run, shape (S, n)."""
        return np.stack([self.runs[run][seed][chosen] for seed in seeds])

    def of(self, chosen: BoolArray) -> tuple[str, ...]:
        """Patients of some nodules."""
        return tuple(name for name, inside in zip(self.patients, chosen.tolist(), strict=True) if inside)


def write_seed_tables(folder: Path) -> None:
    """Writes seeds.csv, and where there are several cohorts cohorts.csv, from scores.csv of a study's folder."""
    scores = read_scores(folder / SCORES_NAME)
    if not scores.runs:
        return
    with warnings.catch_warnings():
        # What is not defined is an empty cell.
        warnings.simplefilter("ignore", EvaluationWarning)
        rows = [row for cohort in _cohorts(scores) for row in _with_holm(list(_rows(scores, *cohort)), cohort[0])]
        pairs = combinations(sorted(set(scores.cohorts)), 2) if scores.folds is None else ()
        drops = [row for pair in pairs for row in _drops(scores, pair)]
    if rows:
        _write(folder / SEEDS_NAME, marked(folder, rows))
    if drops:
        adjusted = _with_holm(drops, "all pairs of cohorts", "interaction_")
        _write(folder / COHORTS_NAME, marked(folder, adjusted))


def read_scores(path: Path) -> StudyScores:
    """Reads scores.csv.

    Raises:
        ValueError: a column is missing or a score is no number.
    """
    table = read_csv(path)
    missing = [name for name in ("truth", PATIENT_COLUMN) if name not in table.columns]
    if missing:
        raise ValueError(f"{path} has no column {missing}; it must be a table that 'dsmt study' wrote.")
    runs: dict[str, dict[int, FloatArray]] = {}
    for name in table.columns:
        match = _SEED_COLUMN.fullmatch(name)
        if match:
            runs.setdefault(match["run"], {})[int(match["seed"])] = _column(table, name)
    floors = {name: _column(table, name) for name in table.columns if name.startswith("logistic_")}
    folds = np.array([row.get(FOLD_COLUMN) for row in table.rows]) if FOLD_COLUMN in table.columns else None
    return StudyScores(
        y_true=_column(table, "truth") == 1,
        patients=tuple(same_person_key(row.get(PATIENT_COLUMN)) for row in table.rows),
        cohorts=tuple(row.get("cohort") for row in table.rows),
        folds=folds,
        runs=runs,
        floors=floors,
    )


def _column(table: CsvTable, name: str) -> FloatArray:
    values = []
    for row in table.rows:
        try:
            values.append(float(row.get(name)))
        except ValueError:
            text = row.get(name)
            raise ValueError(f"{table.path}, line {row.line}: '{name}' must be a number, got '{text}'.") from None
    return np.array(values, dtype=np.float64)


def _cohorts(scores: StudyScores) -> list[tuple[str, BoolArray]]:
    """All nodules, and those of each cohort where there are several; without the ones that hold one class."""
    names = np.array(scores.cohorts)
    parts = [(ALL, np.ones(len(names), dtype=bool))]
    if len(set(scores.cohorts)) > 1:
        parts += [(name, np.asarray(names == name, dtype=bool)) for name in sorted(set(scores.cohorts))]
    return [(name, part) for name, part in parts if 0 < scores.y_true[part].sum() < part.sum()]


def _rows(scores: StudyScores, cohort: str, chosen: BoolArray) -> Iterator[dict[str, str]]:
    """The reference and every other run, each with its mean AUC and its difference to the reference."""
    for run in [scores.reference, *(name for name in scores.runs if name != scores.reference)]:
        seeds = scores.common_seeds(run) if run != scores.reference else list(scores.runs[run])
        if seeds:
            row = {"cohort": cohort, "run": run, "seeds": str(len(seeds)), "nodules": str(int(chosen.sum()))}
            row |= {"patients": str(len(set(scores.of(chosen)))), **_mean(scores, run, list(scores.runs[run]), chosen)}
            own = scores.part(scores.reference, seeds, chosen)
            compared = run != scores.reference
            yield {**row, **_difference(scores, scores.part(run, seeds, chosen), own if compared else None, chosen)}
    for name, values in scores.floors.items():
        seeds = list(scores.runs[scores.reference])
        row = {"cohort": cohort, "run": name, "seeds": "", "nodules": str(int(chosen.sum()))}
        row |= {"patients": str(len(set(scores.of(chosen))))}
        row |= _interval("auc", _contrast(scores, values[chosen][None], None, chosen))
        own = scores.part(scores.reference, seeds, chosen)
        yield {**row, **_difference(scores, own, values[chosen], chosen, turned=True)}


def _mean(scores: StudyScores, run: str, seeds: Sequence[int], chosen: BoolArray) -> dict[str, str]:
    return _interval("auc", _contrast(scores, scores.part(run, seeds, chosen), None, chosen))


def _contrast(scores: StudyScores, values: FloatArray, against: FloatArray | None, chosen: BoolArray) -> SeedContrast:
    """Seeds (S, n) against others, or their AUC; within folds where there are several."""
    labels, patients = scores.y_true[chosen], scores.of(chosen)
    if scores.folds is None:
        found = seed_contrast([CohortScores(labels, values, against, patients)])
        if against is not None:
            return found
        ci = bounded_interval(found.estimate, found.se, found.df)
        return SeedContrast(found.estimate, found.se, found.df, ci, math.nan, found.by_seed)
    folds = np.repeat(scores.folds[chosen][None], len(values), axis=0)
    if against is None:
        mean = mean_fold_auc(labels, values, folds)
        ci = bounded_interval(mean.mean, mean.se, mean.df)
        return SeedContrast(mean.mean, mean.se, mean.df, ci, math.nan, ())
    other = np.repeat(against[None], len(values), axis=0) if against.ndim == 1 else against
    pair = paired_fold_comparison(labels, values, other, folds)
    return SeedContrast(pair.mean, pair.se, pair.df, pair.ci, pair.p_value, ())


def _difference(
    scores: StudyScores, values: FloatArray, against: FloatArray | None, chosen: BoolArray, turned: bool = False
) -> dict[str, str]:
    """A run less the reference; empty for the reference itself. `turned` where the reference was given first."""
    columns = ("difference", "difference_low", "difference_high", "p_value")
    if against is None:
        return {**dict.fromkeys(columns, ""), "test": ""}
    found = _contrast(scores, values, against, chosen)
    estimate, limits = found.estimate, found.ci
    if turned:
        estimate, limits = -estimate, (-limits[1], -limits[0])
    test = WITHIN_FOLDS if scores.folds is not None else SEEDS_RANDOM if len(values) > 1 else ONE_SEED
    numbers = (estimate, *limits, found.p_value)
    return {**{name: _shown(value) for name, value in zip(columns, numbers, strict=True)}, "test": test}


def _drops(scores: StudyScores, pair: tuple[str, str]) -> Iterator[dict[str, str]]:
    """By how much each run's AUC is lower in one cohort than in the other, and whether by more than the reference's."""
    names = np.array(scores.cohorts)
    parts = [np.asarray(names == name, dtype=bool) for name in pair]
    if any(not 0 < scores.y_true[part].sum() < part.sum() for part in parts):
        return
    if set(scores.of(parts[0])) & set(scores.of(parts[1])):
        raise ValueError(f"Cohorts '{pair[0]}' and '{pair[1]}' share patients; a drop needs cohorts of their own.")

    def contrast(run: str, seeds: Sequence[int], against: str | None) -> SeedContrast:
        return seed_contrast(
            [
                CohortScores(
                    scores.y_true[part],
                    scores.part(run, seeds, part),
                    None if against is None else scores.part(against, seeds, part),
                    scores.of(part),
                    sign,
                )
                for part, sign in zip(parts, (1, -1), strict=True)
            ]
        )

    for run in scores.runs:
        drop = contrast(run, list(scores.runs[run]), None)
        row = {"run": run, "first": pair[0], "second": pair[1], "seeds": str(len(scores.runs[run]))}
        row |= {**_interval("first_minus_second", drop), "p_value": _shown(drop.p_value)}
        seeds = scores.common_seeds(run)
        interaction = contrast(run, seeds, scores.reference) if run != scores.reference and seeds else None
        row |= _interval("interaction", interaction)
        yield {**row, "interaction_p_value": "" if interaction is None else _shown(interaction.p_value)}


def _with_holm(rows: list[dict[str, str]], where: str, prefix: str = "") -> list[dict[str, str]]:
    """The rows with p values after Holm, and over what."""
    known = {str(index): float(row[f"{prefix}p_value"]) for index, row in enumerate(rows) if row[f"{prefix}p_value"]}
    reference = REFERENCE if any(row["run"] == REFERENCE for row in rows) else "the first run"
    family = holm(known, f"runs against {reference}, {where}")
    return [
        {
            **row,
            f"{prefix}p_value_holm": _shown(family.adjusted.get(str(index), math.nan)),
            "adjusted_over": family.over if str(index) in known else "",
        }
        for index, row in enumerate(rows)
    ]


def _interval(name: str, found: SeedContrast | None) -> dict[str, str]:
    values = (math.nan,) * 3 if found is None else (found.estimate, *found.ci)
    return {f"{name}{end}": _shown(value) for end, value in zip(("", "_low", "_high"), values, strict=True)}


def _shown(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}" if abs(value) >= 1e-3 or value == 0 else f"{value:.2e}"


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    columns = list(rows[0])
    write_rows(path, (columns, *([row[name] for name in columns] for row in rows)), line_end="\n")
