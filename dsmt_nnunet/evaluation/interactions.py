"""Whether the AUC of a score, or the difference of two scores, depends on the level of a group column."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from dsmt_nnunet.evaluation.records.comparisons import LevelInteraction, LevelTest
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.records import widened
from dsmt_nnunet.statistics.named_warnings import WarningLog
from dsmt_nnunet.statistics.roc.interaction import INTERACTION_TEST, Interaction, auc_interaction


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
                widened(
                    LevelInteraction,
                    level_test(result, column, names),
                    score=subject[0],
                    against=subject[1] if len(subject) > 1 else None,
                )
            )
    return tuple(found)


def level_test(found: Interaction, column: str, names: Sequence[str]) -> LevelTest:
    """The record of a test over all levels of a column, whose names are given in the order of its masks."""
    return LevelTest(
        group=column,
        levels=tuple(names[index] for index in found.levels),
        estimates=found.estimates,
        test=INTERACTION_TEST,
        f=found.statistic,
        df=found.df,
        p_value=found.p_value,
    )
