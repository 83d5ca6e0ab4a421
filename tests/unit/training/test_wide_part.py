from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.dataloading.sampling import SampledNodule
from dsmt_nnunet.tasks import Task
from dsmt_nnunet.training import wide_part
from dsmt_nnunet.training.wide_part import HELD_OUT, WidePart, decide_share
from tests.unit.small_plans import CONFIGURATION, small_plan, stock_plans

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


def test_noise_is_refused_about_as_often_as_its_standard_error_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide_part, "SHARES", wide_part.SHARES[::4])  # neighbours give nearly the same likelihood
    taken = [decide_share(*answers(0.0, seed=seed), TASK).share > 0 for seed in range(12)]
    assert sum(taken) <= 4


def test_unknown_labels_are_left_out() -> None:
    wide, deep, targets = answers(1.0)
    more = torch.cat([wide, torch.full((9, 1), 50.0)]), torch.cat([deep, torch.full((9, 1), -50.0)])
    decided = decide_share(*more, np.concatenate([targets, np.full((9, 3), np.nan)]), TASK)
    assert decided == decide_share(wide, deep, targets, TASK)
    assert decided.nodules == 120
    assert "o: " in decided.sentence(TASK)


CPU, NODULES = torch.device("cpu"), 100
HELD_BACK = np.arange(NODULES) % HELD_OUT == HELD_OUT - 1


def on_probation(network: DSMTNet | None = None) -> tuple[DSMTNet, WidePart]:
    """A training of nodules whose descriptors say nothing, each of a patient of its own."""
    plan = small_plan()
    plan = replace(plan, training=replace(plan.training, probation_epochs=2))
    assert plan.wide is not None
    plan = replace(plan, wide=replace(plan.wide, descriptors=("diameter_mm", "hu_mean")))
    own = network or build_network(plan, PlansManager(stock_plans()).get_configuration(CONFIGURATION), 1, 2, False)
    labels = np.random.default_rng(1).integers(0, 2, NODULES)
    nodules = [
        SampledNodule(str(number), (0.0,) * 3, (0, label), ((1.0, 0.0, 0.0), (1.0 - label, float(label))), number, ())
        for number, label in enumerate(labels.tolist())
    ]
    measured = torch.from_numpy(np.random.default_rng(0).normal(size=(NODULES, 2)))
    cast(Any, own).measure = lambda *_: measured
    patches = SimpleNamespace(of=lambda _: [SimpleNamespace(local=None, mask=None, valid=None)])
    part = WidePart(own, plan, nodules, cast(Any, patches))
    part.prepare(continued=False)
    return own, part


def hidden(part: WidePart, training: bool = True) -> list[np.ndarray]:
    """Of each task the nodules whose target is kept back."""
    targets, _ = part.batch(np.arange(NODULES), CPU, training)
    return [np.flatnonzero(own.isnan().any(dim=1).numpy()) for own in targets]


def test_held_out_patients_teach_nothing_until_the_share_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    network, part = on_probation()
    texture, invasiveness = network.task_heads
    for own in hidden(part):
        np.testing.assert_array_equal(own, np.flatnonzero(HELD_BACK))
    assert all(len(own) == 0 for own in hidden(part, training=False))
    labels = part.batch(np.arange(NODULES), CPU, False)[0][1][:, 1:].double()
    silent, telling = torch.zeros(int(HELD_BACK.sum()), 3), 4 * labels[HELD_BACK] - 2 + 0.5 * torch.randn(20, 1)
    monkeypatch.setattr(part, "_deep_scores", lambda _: [silent, telling])
    sentences = part.decide_shares(last=False)
    assert [sentence.split(":")[0] for sentence in sentences] == [
        "Share of the deep part in texture",
        "Share of the deep part in invasiveness",
    ]
    assert invasiveness.share > 0.5
    assert bool(invasiveness.decided)
    assert (float(texture.share), bool(texture.decided)) == (1.0, False)
    assert [len(own) for own in hidden(part)] == [HELD_BACK.sum(), 0]
    assert len(part.decide_shares(last=True)) == 1
    assert (float(texture.share), bool(texture.decided)) == (0.0, True)
    assert [len(own) for own in hidden(part)] == [0, 0]
    assert part.decide_shares(last=True) == []


def test_a_training_that_goes_on_remembers_what_was_decided() -> None:
    network, _ = on_probation()
    network.task_heads[0].decided.fill_(True)
    _, part = on_probation(network)
    assert [len(own) for own in hidden(part)] == [0, HELD_BACK.sum()]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_only_an_answer_without_a_deep_part_takes_the_thresholds_of_the_last_fit(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, part = on_probation()
    monkeypatch.setattr(part, "_measured", lambda _: part._given)
    head = network.task_heads[1]
    head.share.fill_(share)
    fitted = head.bias.detach().clone()
    with torch.no_grad():
        head.bias.fill_(5.0)
    part.finish()
    assert float(head.bias) == pytest.approx(5.0 if share else float(fitted), abs=0.05)
