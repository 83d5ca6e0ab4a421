from __future__ import annotations

import pytest
import torch

from benchmarks.machine import Ratio
from benchmarks.training_step import Problem, configuration, smallest_preset_plan
from dsmt_nnunet.architecture.build import build_network


@pytest.mark.parametrize("kind", ["segmentation_step", "whole_step"])
def test_a_step_learns_the_batch_it_is_given(kind: str) -> None:
    plan = smallest_preset_plan()
    network = build_network(plan, configuration((4, 8), 1.25), 1, 2, True)
    step = getattr(Problem(plan, (8, 16, 16), 2, torch.device("cpu")), kind)(network)
    losses = [step() for _ in range(8)]
    assert losses[-1] < losses[0]


def test_a_row_of_the_table_holds_what_was_measured() -> None:
    assert Ratio("step", "2 ms", "1 ms", "2.0", "1.5").row() == "| step | 2 ms | 1 ms | 2.0 | 1.5 |"
