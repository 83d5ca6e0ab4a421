"""Scores compared with each other, and with themselves between the levels of a group; patients are the unit."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from dsmt_nnunet.evaluation.records.comparisons import (
    AucDifference,
    DecisionDifference,
    Durkalski,
    JointTest,
    McNemarDetails,
    PairedComparison,
    ProportionDifference,
    UnpairedComparison,
)
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray
from dsmt_nnunet.statistics.clusters.units import Clusters, are_clustered, cluster_codes
from dsmt_nnunet.statistics.decisions.clustered_pairs import clustered_pairs
from dsmt_nnunet.statistics.decisions.mcnemar import mcnemar
from dsmt_nnunet.statistics.named_warnings import WarningLog
from dsmt_nnunet.statistics.non_inferiority import non_inferiority
from dsmt_nnunet.statistics.resampled_t import ResampledT
from dsmt_nnunet.statistics.roc.by_patient import joint_auc_comparison, level_difference, paired_auc_difference
from dsmt_nnunet.statistics.roc.comparison import AucComparison
from dsmt_nnunet.statistics.roc.fold_comparison import level_fold_comparison, mean_fold_auc, paired_fold_comparison

WITHIN_FOLDS = "corrected resampled t within folds"
MCNEMAR = "McNemar, Tango's interval"
CLUSTERED_PAIRS = "ratio over patients, t"


def compare_scores(table: ScoreTable, settings: EvaluationSettings, log: WarningLog) -> list[PairedComparison]:
    """AUCs and decisions of each pair of scores."""
    found = []
    for pair in combinations(table.scores, 2):
        with log.collect(f"{pair[0]} against {pair[1]}"):
            difference = compare_aucs(table, table.scores[pair[0]], table.scores[pair[1]], settings)
            item = widened(PairedComparison, difference, scores=pair, n=len(table))
            points = [table.decisions.get(name, ()) for name in pair]
            if all(points):
                one, other = (point[0] for point in points)
                calls = (one.called_positive, other.called_positive)
                tests = decision_difference(table.y_true, *calls, settings.level, table.clusters)
                item = replace(item, thresholds=(one.threshold, other.threshold), decisions=tests)
            found.append(item)
    return found


def compare_aucs(
    table: ScoreTable, first: FloatArray, second: FloatArray, settings: EvaluationSettings
) -> AucDifference:
    """AUCs of two scores of the cases of a table, within folds where there are several."""
    found = _compared(table, first, second, settings.level)
    if settings.margin is None:
        return found
    shown = non_inferiority(found.auc_difference, found.se, found.df, settings.margin, settings.level)
    return replace(found, non_inferiority=shown)


def _compared(table: ScoreTable, first: FloatArray, second: FloatArray, level: float) -> AucDifference:
    if table.folds is None:
        return _auc_difference(paired_auc_difference(table.y_true, first, second, table.clusters, level))
    result = paired_fold_comparison(table.y_true, first, second, table.folds, level)
    aucs = tuple(mean_fold_auc(table.y_true, score, table.folds, level).mean for score in (first, second))
    return _fold_difference(result, (aucs[0], aucs[1]))


def compare_levels(
    table: ScoreTable, column: str, levels: list[str], settings: EvaluationSettings, log: WarningLog
) -> list[UnpairedComparison]:
    """AUCs between each pair of levels of a group column, for each score."""
    membership = np.asarray(table.groups[column], dtype=object)
    found = []
    for name, score in table.scores.items():
        for pair in combinations(levels, 2):
            with log.collect(f"{name}, {column}: {pair[0]} against {pair[1]}"):
                chosen = (membership == pair[0], membership == pair[1])
                if table.folds is None:
                    difference = _auc_difference(
                        level_difference(table.y_true, score, chosen, table.clusters, settings.level)
                    )
                else:
                    within = level_fold_comparison(table.y_true, score, chosen, table.folds, settings.level)
                    difference = _fold_difference(within.difference, within.means)
                sizes = (int(chosen[0].sum()), int(chosen[1].sum()))
                described = {"score": name, "group": column, "levels": pair, "n": sizes}
                found.append(widened(UnpairedComparison, difference, **described))
    return found


def joint_test(table: ScoreTable) -> JointTest | None:
    """Test that all scores have the same AUC; None for fewer than three, and for scores of several folds."""
    if len(table.scores) < 3 or table.folds is not None or table.y_true.all() or not table.y_true.any():
        return None
    result = joint_auc_comparison(table.y_true, np.stack(list(table.scores.values())), table.clusters)
    test = "joint Obuchowski (Hotelling's F)" if table.is_clustered else "joint DeLong (Hotelling's F)"
    return widened(JointTest, result, scores=tuple(table.scores), test=test)


def decision_difference(
    y_true: BoolArray, first: BoolArray, second: BoolArray, level: float, clusters: Clusters = None
) -> DecisionDifference:
    """Accuracy (all cases), sensitivity (the positive ones) and specificity (the negative ones) compared."""
    rights, codes = (first == y_true, second == y_true), cluster_codes(clusters, len(y_true))

    def test(mask: BoolArray) -> ProportionDifference:
        return proportion_difference(rights[0][mask], rights[1][mask], level, codes[mask])

    everyone = np.ones(len(y_true), dtype=bool)
    return DecisionDifference(accuracy=test(everyone), sensitivity=test(y_true), specificity=test(~y_true))


def proportion_difference(
    first: BoolArray, second: BoolArray, level: float, clusters: Clusters = None
) -> ProportionDifference:
    """Two shares of the same cases: McNemar's test, or with several cases a patient the ratio over patients."""
    alone = mcnemar(first, second, level)
    item = ProportionDifference(
        test=MCNEMAR,
        n=alone.n,
        n_clusters=alone.n,
        both_right=alone.both_right,
        only_first_right=alone.only_first_right,
        only_second_right=alone.only_second_right,
        both_wrong=alone.both_wrong,
        difference=alone.difference,
        ci=alone.ci,
        p_value=alone.p_value,
    )
    if not are_clustered(clusters, len(first)):
        details = McNemarDetails(
            chi2=alone.chi2,
            p_exact=alone.p_exact,
            p_mid=alone.p_mid,
            chi2_corrected=alone.chi2_corrected,
            p_corrected=alone.p_corrected,
        )
        return replace(item, mcnemar=details)
    pairs = clustered_pairs(first, second, clusters, level)
    beside = Durkalski(chi2=pairs.durkalski_chi2, p_value=pairs.durkalski_p)
    return replace(
        item,
        test=CLUSTERED_PAIRS,
        n_clusters=pairs.n_clusters,
        ci=pairs.ci,
        p_value=pairs.p_value,
        durkalski=beside,
    )


def _auc_difference(result: AucComparison) -> AucDifference:
    return AucDifference(
        test=result.test,
        aucs=(result.auc_first, result.auc_second),
        auc_difference=result.difference,
        ci=result.ci,
        se=result.se,
        z=result.z,
        df=result.df,
        p_value=result.p_value,
    )


def _fold_difference(result: ResampledT, aucs: tuple[float, float]) -> AucDifference:
    return AucDifference(
        test=WITHIN_FOLDS,
        aucs=aucs,
        auc_difference=result.mean,
        ci=result.ci,
        se=result.se,
        z=result.t,
        df=result.df,
        p_value=result.p_value,
    )
