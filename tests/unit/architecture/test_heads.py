from __future__ import annotations

import pytest
import torch

from dsmt_nnunet.architecture.heads import TaskHead
from dsmt_nnunet.tasks import Task

BINARY, NOMINAL = Task("b", ("no", "yes")), Task("n", ("x", "y", "z"))
ORDINAL = Task("o", ("1", "2", "3", "4"), ordered=True)


def head(task: Task) -> TaskHead:
    return TaskHead(task, 5, 4, 0.0, 3)


@pytest.mark.parametrize("task", [BINARY, NOMINAL, ORDINAL])
def test_it_begins_at_the_wide_answer(task: Task) -> None:
    own = head(task)
    assert not own.deep(torch.randn(6, 5)).any()
    assert own.logits(torch.randn(6, own.scores)).shape == (6, len(task.classes))


def test_grades_follow_proportional_odds() -> None:
    own = head(ORDINAL)
    thresholds = torch.tensor([-1.0, 0.5, 2.0])
    own.take_thresholds(thresholds)
    torch.testing.assert_close(own.thresholds(), thresholds, atol=1e-5, rtol=0)
    score = torch.tensor([[-3.0], [0.2], [5.0]])
    probs = own.logits(score).softmax(1)
    above = torch.sigmoid(score - thresholds)
    expected = torch.cat([1 - above[:, :1], above[:, :2] - above[:, 1:], above[:, 2:]], dim=1)
    torch.testing.assert_close(probs, expected)
    assert torch.isfinite(own.logits(torch.tensor([[80.0], [-80.0]]))).all()


def test_a_binary_head_is_a_logistic_regression_of_its_score() -> None:
    own = head(BINARY)
    own.take_thresholds(torch.tensor([0.7]))
    torch.testing.assert_close(own.logits(torch.tensor([[1.2]])).softmax(1)[0, 1], torch.sigmoid(torch.tensor(0.5)))


def test_each_descriptor_has_its_share_of_the_score() -> None:
    wide = head(BINARY).wide
    assert wide is not None
    mean, scale, weight = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 0.5]), torch.tensor([[0.5, -1.0, 2.0]])
    wide.take(mean, scale, weight, torch.zeros(0, 3))
    shares = wide.contributions(torch.tensor([[2.0, 4.0, 300.0]]))
    # The last one is held at 4 standard deviations.
    torch.testing.assert_close(shares, torch.tensor([[[0.5, -1.0, 8.0]]]))
    torch.testing.assert_close(wide(torch.tensor([[2.0, 4.0, 300.0]])), torch.tensor([[7.5]]))
