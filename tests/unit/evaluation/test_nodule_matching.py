from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest

from dsmt_nnunet.evaluation.dice import dice_score
from dsmt_nnunet.evaluation.nodule_matching import (
    DUPLICATE,
    FALSE,
    distance_limit_mm,
    hits_of_marks,
    match_nodules,
)
from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.statistics.named_warnings import EmptyMaskWarning


def at(x_mm: float, diameter_mm: float = 12.0) -> Nodule:
    return Nodule("case", str(x_mm), "p", (x_mm, 0.0, 0.0), diameter_mm)


def pairs(truth: list[Nodule], predicted_x: list[float], limit: float | None = None) -> dict[int, int]:
    matches = match_nodules(truth, [(x, 0.0, 0.0) for x in predicted_x], limit)
    return {match.truth: match.predicted for match in matches}


def test_greedy_nearest_would_lose_a_nodule() -> None:
    """The nearest pair first (6 to 7) would leave 0 and 14 apart; together both are found."""
    assert pairs([at(0.0), at(7.0)], [6.0, 14.0]) == {0: 0, 1: 1}


def test_each_prediction_is_used_once() -> None:
    assert pairs([at(0.0), at(4.0)], [1.0]) == {0: 0}


def test_the_limit_is_10_mm_or_the_radius_or_what_is_asked() -> None:
    assert pairs([at(0.0)], [10.0]) == {0: 0}
    assert pairs([at(0.0)], [10.1]) == {}
    assert pairs([at(0.0, 30.0)], [14.9]) == {0: 0}
    assert pairs([at(0.0)], [4.0], 3.0) == {}
    assert distance_limit_mm(at(0.0, math.nan)) == 10.0


def test_nothing_to_match() -> None:
    assert match_nodules([], [(0, 0, 0)]) == ()
    assert match_nodules([at(0.0)], []) == ()


def test_matches_are_as_many_and_as_near_as_a_search_of_all_assignments_finds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        truth = [at(x) for x in rng.uniform(0, 40, 4)]
        predicted = rng.uniform(0, 40, 5).tolist()
        best = (0, 0.0)
        for order in permutations(range(5), 4):
            near = [abs(truth[k].centre_mm[0] - predicted[order[k]]) for k in range(4)]
            kept = [value for value in near if value <= 10]
            best = min(best, (-len(kept), sum(kept)))
        found = match_nodules(truth, [(x, 0.0, 0.0) for x in predicted])
        assert (-len(found), pytest.approx(sum(match.distance_mm for match in found))) == best


def test_dice_by_hand() -> None:
    one, other = np.zeros((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    one[0], other[0, 0], other[1, 0, 0] = True, True, True
    assert dice_score(one, other) == pytest.approx(2 * 3 / (9 + 4))
    assert dice_score(one, ~one) == 0.0
    with pytest.warns(EmptyMaskWarning):
        assert math.isnan(dice_score(one & False, other & False))


def hits(truth: list[Nodule], marks_x: list[float], scores: list[float]) -> list[int]:
    return hits_of_marks(truth, [(x, 0.0, 0.0) for x in marks_x], scores).tolist()


def test_the_most_certain_mark_hits_and_a_further_one_counts_neither_way() -> None:
    truth, marks = [at(0), at(60)], [0.0, 5.0, 30.0, 61.0]
    assert hits(truth, marks, [1.0, 2.0, 3.0, -4.0]) == [DUPLICATE, 0, FALSE, 1]
    assert hits(truth, marks, [2.0, 1.0, 3.0, -4.0]) == [0, DUPLICATE, FALSE, 1]
    assert hits([], marks, [1.0] * 4) == [FALSE] * 4
    assert hits(truth, [], []) == []


def test_a_mark_takes_the_next_nodule_where_the_nearest_is_hit() -> None:
    assert hits([at(0), at(4)], [0.0, 1.0], [2.0, 1.0]) == [0, 1]
