from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dsmt_nnunet.tasks import Task
from dsmt_nnunet.training.wide_part import decide_share

TASK = Task("o", ("1", "2", "3"), ordered=True)


def answers(share: float, n: int = 120, seed: int = 0) -> tuple[Tensor, Tensor, np.ndarray]:
    """Wide and deep scores, and labels to which the deep ones add `share`."""
    rng = np.random.default_rng(seed)
    wide, deep = rng.normal(size=(2, n, 1))
    score = (2 * wide + 2 * share * deep)[:, 0] + rng.logistic(size=n)
    labels = np.searchsorted(np.quantile(score, [1 / 3, 2 / 3]), score)
    return torch.from_numpy(wide), torch.from_numpy(deep), np.eye(3)[labels]


def test_a_deep_part_that_knows_more_counts() -> None:
    for share, low, high in ((1.0, 0.7, 1.0), (0.5, 0.3, 0.75)):
        wide, deep, targets = answers(share)
        decided = decide_share(wide, deep, targets, TASK)
        assert low <= decided.share <= high
        assert decided.gain > decided.error > 0


def test_a_deep_part_that_only_speaks_louder_does_not() -> None:
    wide, _, targets = answers(0.0)
    # Twice the score would be more likely at the given scale; at its own scale it says nothing new.
    decided = decide_share(wide, wide, targets, TASK)
    assert decided.share == 0
    assert abs(decided.gain) < 1e-6


def test_noise_is_refused_about_as_often_as_its_standard_error_promises() -> None:
    taken = [decide_share(*answers(0.0, seed=seed), TASK).share > 0 for seed in range(12)]
    assert sum(taken) <= 4


def test_unknown_labels_are_left_out() -> None:
    wide, deep, targets = answers(1.0)
    more = torch.cat([wide, torch.full((9, 1), 50.0)]), torch.cat([deep, torch.full((9, 1), -50.0)])
    decided = decide_share(*more, np.concatenate([targets, np.full((9, 3), np.nan)]), TASK)
    assert decided == decide_share(wide, deep, targets, TASK)
    assert decided.nodules == 120
    assert "o: " in decided.sentence(TASK)
