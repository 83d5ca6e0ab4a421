from __future__ import annotations

import numpy as np
import pytest
import torch

from dsmt_nnunet.inference.candidates import scan_marks


def scan(*blobs: tuple[tuple[int, int, int], int, float]) -> torch.Tensor:
    """Two-class logits of cubes (start, side, log odds) in a scan of 24 voxels a side, elsewhere -20."""
    log_odds = torch.full((24, 24, 24), -20.0)
    for (z, y, x), side, value in blobs:
        log_odds[z : z + side, y : y + side, x : x + side] = value
    return torch.stack([-log_odds / 2, log_odds / 2])


def marks(logits: torch.Tensor, max_nodules: int = 5, max_faint: int = 5, min_mm: float = 2.0):
    return scan_marks(logits, (1.0, 1.0, 1.0), min_mm, max_nodules, max_faint)


def test_what_is_too_faint_for_a_nodule_is_a_candidate_with_its_score() -> None:
    found = marks(scan(((2, 2, 2), 3, 4.0), ((10, 10, 10), 3, -1.5), ((18, 18, 18), 3, -3.0)))
    ((nodule, faint),) = zip(found.nodules, found.faint, strict=True)
    assert (nodule.score, nodule.instance.centroid) == (4.0, (3.0, 3.0, 3.0))
    assert (faint.score, faint.instance.centroid) == (-1.5, (11.0, 11.0, 11.0)), "-3 is below a probability of 0.1"


def test_the_rim_of_a_nodule_is_no_candidate() -> None:
    logits = scan(((2, 2, 2), 9, -1.0), ((4, 4, 4), 3, 6.0))
    found = marks(logits)
    assert [item.score for item in found.nodules] == [6.0]
    assert found.faint == ()


def test_components_too_many_to_classify_are_candidates(capsys: pytest.CaptureFixture[str]) -> None:
    found = marks(scan(((1, 1, 1), 5, 1.0), ((9, 9, 9), 4, 2.0), ((16, 16, 16), 3, 3.0)), max_nodules=1)
    assert [item.score for item in found.nodules] == [1.0], "the largest"
    assert [item.score for item in found.faint] == [3.0, 2.0], "the most certain first"
    assert "3 nodule candidates, of which the 1 largest are classified" in capsys.readouterr().out
    assert [item.score for item in marks(scan(((1, 1, 1), 5, 1.0), ((9, 9, 9), 4, -2.0)), max_faint=0).faint] == []


def test_scores_of_the_very_certain_are_told_apart_and_specks_left_out() -> None:
    found = marks(scan(((2, 2, 2), 3, 30.0), ((9, 9, 9), 3, 40.0), ((16, 16, 16), 1, 50.0)))
    assert sorted(item.score for item in found.nodules) == [30.0, 40.0]
    assert found.faint == ()


def test_several_foreground_classes_count_together() -> None:
    logits = torch.zeros(3, 12, 12, 12)
    logits[0] = 20.0
    logits[:, 3:7, 3:7, 3:7] = torch.tensor([0.0, 1.0, 1.0])[:, None, None, None]
    (nodule,) = marks(logits).nodules
    assert nodule.score == pytest.approx(np.log(2 * np.e), abs=1e-5)
