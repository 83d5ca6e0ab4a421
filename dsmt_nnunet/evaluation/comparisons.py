"""All pairs of scores compared: AUC and decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import TypeVar

import numpy as np
from statsmodels.stats.multitest import multipletests

from dsmt_nnunet.evaluation.records.comparisons import (
    AucDifference,
    DecisionDifference,
    JointTest,
    McNemarTest,
    PairedComparison,
    UnpairedComparison,
)
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.checks import BoolArray
from dsmt_nnunet.statistics.decisions.mcnemar import mcnemar
from dsmt_nnunet.statistics.named_warnings import WarningLog
from dsmt_nnunet.statistics.resampling import Resampler, percentile_interval, resampled_aucs
from dsmt_nnunet.statistics.roc.comparison import (
    AucComparison,
    joint_comparison,
    paired_comparison,
    unpaired_comparison,
)
from dsmt_nnunet.statistics.roc.delong import structural_components

_Comparison = TypeVar("_Comparison", PairedComparison, UnpairedComparison)


def compare_scores(
    table: ScoreTable, settings: EvaluationSettings, resampler: Resampler | None, log: WarningLog
) -> list[PairedComparison]:
    """Paired DeLong and McNemar for each pair of scores, with p values adjusted over the pairs after Holm."""
    names = list(table.scores)
    samples = None
    if resampler is not None and len(names) > 1:
        samples = resampled_aucs(table.y_true, np.stack([table.scores[name] for name in names]), resampler)
    found = []
    for first, second in combinations(range(len(names)), 2):
        pair = (names[first], names[second])
        with log.collect(f"{pair[0]} against {pair[1]}"):
            scores = (table.scores[pair[0]], table.scores[pair[1]])
            result = auc_difference(paired_comparison(table.y_true, *scores, settings.level))
            item = widened(PairedComparison, result, scores=pair, n=len(table))
            if samples is not None:
                differences = samples[:, first] - samples[:, second]
                item = replace(item, ci_bootstrap=percentile_interval(differences, settings.level))
            points = [table.decisions.get(name, ()) for name in pair]
            if all(points):
                one, other = (point[0] for point in points)
                tests = decision_difference(table.y_true, one.called_positive, other.called_positive, settings.level)
                item = replace(item, thresholds=(one.threshold, other.threshold), mcnemar=tests)
            found.append(item)
    return _adjusted(found)


def compare_levels(
    table: ScoreTable, column: str, levels: list[str], settings: EvaluationSettings, log: WarningLog
) -> list[UnpairedComparison]:
    """Unpaired DeLong between each pair of levels of a group column, for each score."""
    membership = np.asarray(table.groups[column], dtype=object)
    found = []
    for name, score in table.scores.items():
        for pair in combinations(levels, 2):
            with log.collect(f"{name}, {column}: {pair[0]} against {pair[1]}"):
                chosen = [membership == level for level in pair]
                parts = [structural_components(table.y_true[mask], score[mask]) for mask in chosen]
                result = unpaired_comparison(parts[0], parts[1], settings.level)
                sizes = (int(chosen[0].sum()), int(chosen[1].sum()))
                described = {"score": name, "group": column, "levels": pair, "n": sizes}
                found.append(widened(UnpairedComparison, auc_difference(result), **described))
    return _adjusted(found)


def joint_test(table: ScoreTable) -> JointTest | None:
    """Test that all scores have the same AUC; None for fewer than three."""
    if len(table.scores) < 3 or table.y_true.all() or not table.y_true.any():
        return None
    result = joint_comparison(table.y_true, np.stack(list(table.scores.values())))
    return widened(JointTest, result, scores=tuple(table.scores), test="joint DeLong (Wald chi-square)")


def auc_difference(result: AucComparison) -> AucDifference:
    """One AUC comparison as `metrics.json` holds it."""
    return AucDifference(
        test=result.test,
        aucs=(result.auc_first, result.auc_second),
        auc_difference=result.difference,
        ci=result.ci,
        se=result.se,
        z=result.z,
        df=result.df,
        p_value=result.p_value,
        p_value_normal=result.p_value_normal,
    )


def decision_difference(y_true: BoolArray, first: BoolArray, second: BoolArray, level: float) -> DecisionDifference:
    """McNemar on accuracy (all cases), sensitivity (the positive ones) and specificity (the negative ones)."""
    rights = (first == y_true, second == y_true)

    def test(mask: BoolArray) -> McNemarTest:
        result = mcnemar(rights[0][mask], rights[1][mask], level)
        return widened(
            McNemarTest,
            result,
            discordant=(result.only_first_right, result.only_second_right),
            p_uncorrected=result.p_value,
            p_value=result.p_exact,
            test="McNemar, exact",
        )

    everyone = np.ones(len(y_true), dtype=bool)
    return DecisionDifference(accuracy=test(everyone), sensitivity=test(y_true), specificity=test(~y_true))


def _adjusted(comparisons: Sequence[_Comparison]) -> list[_Comparison]:
    """With p values after Holm where there is a p value."""
    known = [item.p_value for item in comparisons if np.isfinite(item.p_value)]
    adjusted = iter(multipletests(known, method="holm")[1] if known else ())
    return [
        replace(item, p_value_holm=float(next(adjusted))) if np.isfinite(item.p_value) else item for item in comparisons
    ]
