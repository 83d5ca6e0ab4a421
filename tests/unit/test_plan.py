from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dsmt_nnunet.plan import PLAN_KEY, DSMTPlan
from tests.unit.small_plans import small_plan, stock_plans


def test_a_plan_survives_json() -> None:
    plan = replace(
        small_plan(jitter_mm=3.5, task_weights={"texture": 0.25, "invasiveness": 1.0}),
        padding_value=(-2.0, None),
        decisions={"local patch": "small"},
        mirror_scans=False,
    )
    plan = replace(plan, context=replace(plan.context, windows=((-1024.0, 300.0), None)))
    assert DSMTPlan.from_block(json.loads(json.dumps(plan.to_block()))) == plan


def test_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 99; this release reads 5"):
        DSMTPlan.from_block({**small_plan().to_block(), "version": 99})


@pytest.mark.parametrize("part", ["context", "heads", "training", "padding_value", "min_diameter_mm"])
def test_a_block_that_lacks_a_part_is_refused(part: str) -> None:
    block = {key: value for key, value in small_plan().to_block().items() if key != part}
    with pytest.raises(ValueError, match="malformed"):
        DSMTPlan.from_block(block)


def test_an_unknown_entry_is_refused() -> None:
    block = small_plan().to_block()
    block["heads"]["depth"] = 3
    with pytest.raises(ValueError, match="depth"):
        DSMTPlan.from_block(block)


def test_plans_without_a_block_are_refused() -> None:
    with pytest.raises(ValueError, match="no 'dsmt' block"):
        DSMTPlan.from_plans(stock_plans())
    plan = small_plan()
    assert DSMTPlan.from_plans({PLAN_KEY: plan.to_block()}) == plan


@pytest.mark.parametrize(("epochs", "joint"), [(1, 1), (2, 2), (5, 4), (50, 40), (250, 200)])
def test_another_number_of_epochs_is_divided_between_the_stages(epochs: int, joint: int) -> None:
    training = small_plan().training.with_epochs(epochs)
    assert (training.epochs, training.joint_epochs) == (epochs, joint)
