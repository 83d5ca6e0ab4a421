"""The AUC that is to be quoted: one number, one interval, one sentence."""

from __future__ import annotations

import math

from dsmt_nnunet.evaluation.records.score import QuotedAuc
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.statistics.roc.by_patient import auc_interval
from dsmt_nnunet.statistics.roc.folds import FOLDS_METHOD, CrossvalAuc, crossval_auc
from dsmt_nnunet.statistics.roc.interval import AucInterval

NOT_POOLED = "The pooled AUC is not to be quoted: it ranks cases by scores of different models."


def quoted_auc(table: ScoreTable, name: str, level: float) -> QuotedAuc:
    """AUC of one score: of scores of several folds the mean over folds, else that of all cases."""
    if table.folds is not None:
        return of_folds(crossval_auc(table.y_true, table.scores[name], table.folds, level, table.clusters), level)
    interval = auc_interval(table.y_true, table.scores[name], table.clusters, level)
    return QuotedAuc(
        auc=interval.auc,
        auc_se=interval.se,
        auc_ci=(interval.lower, interval.upper),
        auc_method=interval.method,
        auc_sentence=_sentence(table, interval, level),
    )


def of_folds(found: CrossvalAuc, level: float) -> QuotedAuc:
    """The mean over folds; the AUC of the only fold where there is one."""
    known = [item.interval for item in found.folds if not math.isnan(item.interval.auc)]
    if len(known) == 1:
        only = known[0]
        shown = _shown(only.auc, (only.lower, only.upper), level)
        sentence = f"AUC {shown}, of the only fold that holds both classes."
        return QuotedAuc(
            auc=only.auc,
            auc_se=only.se,
            auc_ci=(only.lower, only.upper),
            auc_method=only.method,
            auc_sentence=sentence,
        )
    if not known:
        sentence = "There is no AUC: no fold holds both classes."
    else:
        shown, these = _shown(found.mean, found.ci, level), _limits(found.ci_these_models)
        sentence = f"Mean AUC over {found.n_folds} folds {shown}, for the training procedure on other training sets"
        sentence += f"; for these very models on other cases {these}. " if these else ". "
        sentence += NOT_POOLED
    method = "undefined" if math.isnan(found.ci[0]) else FOLDS_METHOD
    return QuotedAuc(auc=found.mean, auc_se=found.se, auc_ci=found.ci, auc_method=method, auc_sentence=sentence)


def _sentence(table: ScoreTable, interval: AucInterval, level: float) -> str:
    if math.isnan(interval.auc):
        return "There is no AUC: all cases belong to one class."
    cases = f"{len(table)} cases, {int(table.y_true.sum())} of them positive"
    if table.is_clustered:
        cases += f", of {table.n_clusters} patients, who are the unit"
    return f"AUC {_shown(interval.auc, (interval.lower, interval.upper), level)}; {cases}."


def _shown(value: float, ci: tuple[float, float], level: float) -> str:
    limits = _limits(ci)
    return f"{value:.3f} ({100 * level:g}% interval {limits})" if limits else f"{value:.3f} (no interval)"


def _limits(ci: tuple[float, float]) -> str:
    return "" if any(map(math.isnan, ci)) else f"{ci[0]:.3f} to {ci[1]:.3f}"
