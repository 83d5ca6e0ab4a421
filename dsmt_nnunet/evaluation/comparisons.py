"""All pairs of scores compared: AUC and decisions."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from statsmodels.stats.multitest import multipletests

from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.checks import BoolArray
from dsmt_nnunet.statistics.decisions.mcnemar import McNemarResult, mcnemar
from dsmt_nnunet.statistics.named_warnings import WarningLog
from dsmt_nnunet.statistics.resampling import Resampler, percentile_interval, resampled_aucs
from dsmt_nnunet.statistics.roc.comparison import (
    AucComparison,
    joint_comparison,
    paired_comparison,
    unpaired_comparison,
)
from dsmt_nnunet.statistics.roc.delong import structural_components


def paired_comparison_blocks(
    table: ScoreTable, settings: EvaluationSettings, resampler: Resampler | None, log: WarningLog
) -> list[dict[str, Any]]:
    """Paired DeLong and McNemar for each pair of scores, with p values adjusted over the pairs after Holm."""
    names = list(table.scores)
    samples = None
    if resampler is not None and len(names) > 1:
        samples = resampled_aucs(table.y_true, np.stack([table.scores[name] for name in names]), resampler)
    blocks = []
    for first, second in combinations(range(len(names)), 2):
        pair = (names[first], names[second])
        with log.collect(f"{pair[0]} against {pair[1]}"):
            scores = (table.scores[pair[0]], table.scores[pair[1]])
            block: dict[str, Any] = {"kind": "paired", "scores": pair, "n": len(table)}
            block |= auc_comparison_block(paired_comparison(table.y_true, *scores, settings.level))
            if samples is not None:
                differences = samples[:, first] - samples[:, second]
                block["ci_bootstrap"] = percentile_interval(differences, settings.level)
            points = [table.decisions.get(name, ()) for name in pair]
            if all(points):
                block["thresholds"] = [point[0].threshold for point in points]
                calls = [point[0].called_positive for point in points]
                block["mcnemar"] = mcnemar_blocks(table.y_true, calls[0], calls[1], settings.level)
            blocks.append(block)
    _adjust(blocks)
    return blocks


def cohort_comparison_blocks(
    table: ScoreTable, column: str, levels: list[str], settings: EvaluationSettings, log: WarningLog
) -> list[dict[str, Any]]:
    """Unpaired DeLong between each pair of levels of a group column, for each score."""
    membership = np.asarray(table.groups[column], dtype=object)
    blocks = []
    for name, score in table.scores.items():
        for pair in combinations(levels, 2):
            with log.collect(f"{name}, {column}: {pair[0]} against {pair[1]}"):
                chosen = [membership == level for level in pair]
                parts = [structural_components(table.y_true[mask], score[mask]) for mask in chosen]
                result = unpaired_comparison(parts[0], parts[1], settings.level)
                block: dict[str, Any] = {"kind": "unpaired", "score": name, "group": column, "levels": pair}
                block["n"] = [int(mask.sum()) for mask in chosen]
                block |= auc_comparison_block(result)
                blocks.append(block)
    _adjust(blocks)
    return blocks


def joint_comparison_block(table: ScoreTable) -> dict[str, Any] | None:
    """Test that all scores have the same AUC; None for fewer than three."""
    if len(table.scores) < 3 or table.y_true.all() or not table.y_true.any():
        return None
    result = joint_comparison(table.y_true, np.stack(list(table.scores.values())))
    return {"scores": list(table.scores), "test": "joint DeLong (Wald chi-square)", **vars(result)}


def auc_comparison_block(result: AucComparison) -> dict[str, Any]:
    """One AUC comparison as `metrics.json` holds it."""
    return {
        "test": result.test,
        "aucs": (result.auc_first, result.auc_second),
        "auc_difference": result.difference,
        "ci": result.ci,
        "se": result.se,
        "z": result.z,
        "df": result.df,
        "p_value": result.p_value,
        "p_value_normal": result.p_value_normal,
    }


def mcnemar_blocks(y_true: BoolArray, first: BoolArray, second: BoolArray, level: float) -> dict[str, Any]:
    """McNemar on accuracy (all cases), sensitivity (the positive ones) and specificity (the negative ones)."""
    rights = (first == y_true, second == y_true)
    kinds = {"accuracy": np.ones(len(y_true), dtype=bool), "sensitivity": y_true, "specificity": ~y_true}
    return {kind: _mcnemar_block(mcnemar(rights[0][mask], rights[1][mask], level)) for kind, mask in kinds.items()}


def _mcnemar_block(result: McNemarResult) -> dict[str, Any]:
    block = dict(vars(result))
    block["discordant"] = (result.only_first_right, result.only_second_right)
    block["p_uncorrected"] = block["p_value"]
    block["p_value"] = result.p_exact
    block["test"] = "McNemar, exact"
    return block


def _adjust(blocks: list[dict[str, Any]]) -> None:
    known = [block for block in blocks if np.isfinite(block["p_value"])]
    if known:
        adjusted = multipletests([block["p_value"] for block in known], method="holm")[1]
        for block, p_value in zip(known, adjusted, strict=True):
            block["p_value_holm"] = float(p_value)
