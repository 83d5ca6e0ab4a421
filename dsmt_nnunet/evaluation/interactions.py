"""Whether the AUC of a score, or the difference of two scores, depends on the level of a group column."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from dsmt_nnunet.evaluation.records.comparisons import LevelInteraction
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.statistics.named_warnings import WarningLog
from dsmt_nnunet.statistics.roc.interaction import INTERACTION_TEST, auc_interaction


def interactions_of(table: ScoreTable, log: WarningLog) -> tuple[LevelInteraction, ...]:
    """One test a column and score, and one a column and pair of scores; none for scores of several folds."""
    if table.folds is not None:
        return ()
    subjects: list[tuple[str, ...]] = [(name,) for name in table.scores]
    subjects += list(combinations(table.scores, 2))
    found = []
    for column, membership in table.groups.items():
        names = sorted({level for level in membership if level})
        masks = [np.array([value == name for value in membership], dtype=bool) for name in names]
        for subject in subjects if len(names) > 1 else ():
            with log.collect(f"{' - '.join(subject)}, {column}, interaction"):
                scores = np.stack([table.scores[name] for name in subject])
                result = auc_interaction(table.y_true, scores, masks, table.clusters, names)
            found.append(
                LevelInteraction(
                    score=subject[0],
                    against=subject[1] if len(subject) > 1 else None,
                    group=column,
                    levels=tuple(names[index] for index in result.levels),
                    estimates=result.estimates,
                    test=INTERACTION_TEST,
                    f=result.statistic,
                    df=result.df,
                    p_value=result.p_value,
                )
            )
    return tuple(found)
