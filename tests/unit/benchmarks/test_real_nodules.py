from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.real_nodules import Cohort, describe, describe_repeats, learning_curve, together
from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.statistics.roc.delong import auc_score
from dsmt_nnunet.tasks import Task

TASK = Task("malignancy", ("benign", "malignant"))
EVERY = 0


def cohort(telling: float, seed: int = 0, patients: int = 100) -> Cohort:
    """Two nodules a patient, ten descriptors of which the first tells the answer; the diameter says nothing."""
    rng = np.random.default_rng(seed)
    malignant = rng.integers(0, 2, 2 * patients)
    measured = rng.normal(size=(len(malignant), 10))
    measured[:, 0] += telling * (2 * malignant - 1)
    nodules = tuple(
        Nodule(f"case{number}", "1", f"P{number // 2}", (0.0, 0.0, 0.0), 10.0 + float(rng.normal()), {TASK.name: name})
        for number, name in enumerate(TASK.classes[label] for label in malignant.tolist())
    )
    folds = np.repeat(np.arange(patients) % 5, 2)
    return Cohort(TASK, nodules, folds, measured[:, 0], measured, np.full(10, 10.0), 0, np.full(5, 0.8))


def test_more_nodules_teach_the_wide_part_more() -> None:
    own = cohort(telling=1.0)
    few, all_of_them = learning_curve(own, own.judged(0.0, 100.0), [10, EVERY], draws=8)
    assert few.auc + few.spread / np.sqrt(8) < all_of_them.auc
    assert all_of_them.auc > 0.85
    assert few.spread > all_of_them.spread == 0.0


def test_what_says_nothing_is_learnt_as_nothing() -> None:
    own = cohort(telling=0.0)
    point = learning_curve(own, own.judged(0.0, 100.0), [EVERY], draws=1)[0]
    assert 0.4 < point.auc < 0.6
    assert 0.4 < point.ruler < 0.6


def test_only_known_answers_within_the_range_are_judged() -> None:
    own = cohort(telling=1.0)
    judged = own.judged(10.0, 11.0)
    inside = (own.diameter_mm >= 10.0) & (own.diameter_mm <= 11.0)
    np.testing.assert_array_equal(judged, inside)
    undecided = [
        Nodule(n.case_id, "1", n.patient_id, n.centre_mm, n.diameter_mm, {TASK.name: None}) for n in own.nodules
    ]
    nobody = Cohort(TASK, tuple(undecided), own.folds, own.score, own.measured, own.penalties, 0, own.dice)
    assert not nobody.judged(0.0, 100.0).any()


def test_two_models_together_weigh_the_same_whatever_their_scale() -> None:
    first = cohort(telling=0.5)
    noise = np.random.default_rng(1).normal(size=len(first.folds))
    second = replace(first, score=100.0 * (first.answers + noise))
    both = together(first, second)
    assert np.corrcoef(both.score, first.score)[0, 1] == pytest.approx(np.corrcoef(both.score, second.score)[0, 1])
    known = first.answers.astype(int)
    assert auc_score(known, both.score) > max(auc_score(known, own.score) for own in (first, second))
    with pytest.raises(ValueError, match="the same nodules in the same folds"):
        together(first, cohort(telling=0.5, patients=99))


def test_repeats_are_put_in_one_order_before_they_are_averaged() -> None:
    first = cohort(telling=1.0)
    order = np.random.default_rng(2).permutation(len(first.nodules))
    shuffled = replace(
        first,
        nodules=tuple(first.nodules[row] for row in order),
        folds=first.folds[order],
        score=first.score[order],
        measured=first.measured[order],
    )
    alone = describe(first, first.judged(0.0, 100.0))
    mean, pooled = (
        next(row for row in alone if row.startswith(f"| {name}")).split("|")[3] for name in ("mean", "pooled")
    )
    lines = describe_repeats([first, shuffled], 0.0, 100.0)
    for name in ("1", "2", "mean"):
        cells = next(row for row in lines if row.startswith(f"| {name} ")).split("|")
        assert (cells[2], cells[3]) == (mean, pooled)
    assert f"pooled AUC{pooled.rstrip()}" in lines[-1]
    with pytest.raises(ValueError, match="the same nodules"):
        describe_repeats([first, cohort(telling=1.0, patients=99)], 0.0, 100.0)
