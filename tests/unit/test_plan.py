from __future__ import annotations

import json
import math
import re
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


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("mirror_scans", "false", "'mirror_scans' must be true or false, got \"false\""),
        ("use_context", 0, "'use_context' must be true or false"),
        ("padding_value", ["-1"], "must be a number"),
        ("max_candidates", 0, "max_candidates must be 1 or more"),
        ("min_diameter_mm", math.nan, "min_diameter_mm must be finite"),
        ("context.grid", "16", "'grid' must be a whole number"),
        ("context.windows", [[-1024.0]], "a list of 2"),
        ("training.learning_rate", None, "training.learning_rate must be finite"),
        ("training.keeps_size_and_density", "no", "must be true or false"),
        ("training.task_weights", {"invasiveness": math.inf}, "task_weights.invasiveness must be finite"),
        ("wide.intensity_shift", math.nan, "wide.intensity_shift must be finite"),
    ],
)
def test_an_entry_of_another_type_or_no_number_is_refused(key: str, value: object, told: str) -> None:
    block = json.loads(json.dumps(small_plan().to_block()))
    part, _, name = key.rpartition(".")
    (block[part] if part else block)[name] = value
    with pytest.raises(ValueError, match="block is malformed: .*" + re.escape(told)):
        DSMTPlan.from_block(block)


def test_an_entry_that_an_earlier_release_did_not_write_has_its_default() -> None:
    block = json.loads(json.dumps(small_plan().to_block()))
    for part, name in (("training", "keeps_size_and_density"), ("training", "task_weights"), ("wide", "covariates")):
        del block[part][name]
    assert DSMTPlan.from_block(block).training.keeps_size_and_density is True


def test_plans_without_a_block_are_refused() -> None:
    with pytest.raises(ValueError, match="no 'dsmt' block"):
        DSMTPlan.from_plans(stock_plans())
    plan = small_plan()
    assert DSMTPlan.from_plans({PLAN_KEY: plan.to_block()}) == plan


@pytest.mark.parametrize(("epochs", "joint"), [(1, 1), (2, 2), (5, 4), (50, 40), (250, 200)])
def test_another_number_of_epochs_is_divided_between_the_stages(epochs: int, joint: int) -> None:
    training = small_plan().training.with_epochs(epochs)
    assert (training.epochs, training.joint_epochs) == (epochs, joint)
