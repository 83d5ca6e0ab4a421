"""Subgroups: every score within every level of a group column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dsmt_nnunet.evaluation.comparisons import compare_levels
from dsmt_nnunet.evaluation.records.comparisons import UnpairedComparison
from dsmt_nnunet.evaluation.records.score import SubgroupLevel
from dsmt_nnunet.evaluation.score import evaluate_score, is_probability
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.checks import BoolArray
from dsmt_nnunet.statistics.named_warnings import IncompleteDataWarning, WarningLog

MAX_LEVELS_COMPARED = 6
UNKNOWN_LEVEL = "(unknown)"


def evaluate_subgroups(
    table: ScoreTable, settings: EvaluationSettings, log: WarningLog
) -> tuple[dict[str, dict[str, SubgroupLevel]], list[UnpairedComparison]]:
    """Blocks of each level, and the unpaired comparisons between levels (up to `MAX_LEVELS_COMPARED` levels).

    Returns:
        Column -> level -> its scores, and a list of comparisons.
    """
    subgroups: dict[str, dict[str, SubgroupLevel]] = {}
    comparisons: list[UnpairedComparison] = []
    for column, membership in table.groups.items():
        levels = ordered_levels(membership)
        subgroups[column] = {}
        for level in [*levels, *([""] if "" in membership else [])]:
            chosen = np.asarray([value == level for value in membership], dtype=bool)
            name = level or UNKNOWN_LEVEL
            subgroups[column][name] = _level(table, chosen, settings, log, f"{column} = {name}")
        if len(levels) <= MAX_LEVELS_COMPARED:
            comparisons += compare_levels(table, column, levels, settings, log)
        else:
            message = f"{len(levels)} levels; levels are compared with each other up to {MAX_LEVELS_COMPARED}."
            log.add(IncompleteDataWarning, column, message)
    return subgroups, comparisons


def _level(
    whole: ScoreTable, chosen: BoolArray, settings: EvaluationSettings, log: WarningLog, where: str
) -> SubgroupLevel:
    table = whole.subset(chosen)
    scored = {}
    for name in table.scores:
        with log.collect(f"{name}, {where}"):
            scored[name] = evaluate_score(table, name, settings, is_probability(whole.scores[name]))
    return SubgroupLevel(n=len(table), n_positive=int(table.y_true.sum()), scores=scored)


def ordered_levels(membership: Sequence[str]) -> list[str]:
    """Known levels of a column, numbers and bands by size."""
    return [level for level in sorted(set(membership), key=_level_order) if level]


def _level_order(level: str) -> tuple[int, float, str]:
    try:
        return 0, float(level.lstrip("<>= ").split(" ")[0]) - (0.5 if level.startswith("<") else 0.0), level
    except ValueError:
        return 1, 0.0, level
