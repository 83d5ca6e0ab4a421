"""Subgroups: every score within every level of a group column."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsmt_nnunet.evaluation.comparisons import cohort_comparison_blocks
from dsmt_nnunet.evaluation.score import is_probability, score_block
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.checks import BoolArray
from dsmt_nnunet.statistics.named_warnings import IncompleteDataWarning, WarningLog

MAX_LEVELS_COMPARED = 6
UNKNOWN_LEVEL = "(unknown)"


def subgroup_blocks(
    table: ScoreTable, settings: EvaluationSettings, log: WarningLog
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Blocks of each level, and the unpaired comparisons between levels (up to `MAX_LEVELS_COMPARED` levels).

    Returns:
        `{column: {level: {"n": .., "n_positive": .., "scores": {score: block}}}}` and a list of comparisons.
    """
    subgroups: dict[str, Any] = {}
    comparisons: list[dict[str, Any]] = []
    for column, membership in table.groups.items():
        levels = [level for level in sorted(set(membership), key=_level_order) if level]
        subgroups[column] = {}
        for level in [*levels, *([""] if "" in membership else [])]:
            chosen = np.asarray([value == level for value in membership], dtype=bool)
            name = level or UNKNOWN_LEVEL
            subgroups[column][name] = _level_block(table, chosen, settings, log, f"{column} = {name}")
        if len(levels) <= MAX_LEVELS_COMPARED:
            comparisons += cohort_comparison_blocks(table, column, levels, settings, log)
        else:
            message = f"{len(levels)} levels; levels are compared with each other up to {MAX_LEVELS_COMPARED}."
            log.add(IncompleteDataWarning, column, message)
    return subgroups, comparisons


def _level_block(
    whole: ScoreTable, chosen: BoolArray, settings: EvaluationSettings, log: WarningLog, where: str
) -> dict[str, Any]:
    table = whole.subset(chosen)
    blocks = {}
    for name, scores in table.scores.items():
        with log.collect(f"{name}, {where}"):
            blocks[name] = score_block(
                table.y_true,
                scores,
                table.decisions.get(name, ()),
                settings,
                table.resampler(settings),
                table.is_clustered,
                is_probability(whole.scores[name]),
            )
    return {"n": len(table), "n_positive": int(table.y_true.sum()), "scores": blocks}


def _level_order(level: str) -> tuple[int, float, str]:
    try:
        return 0, float(level.lstrip("<>= ").split(" ")[0]) - (0.5 if level.startswith("<") else 0.0), level
    except ValueError:
        return 1, 0.0, level
