from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.covariates import Covariate, encode
from dsmt_nnunet.dataloading.sampling import SampledNodule
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.training.wide_part import WidePart
from tests.unit.small_plans import CONFIGURATION, small_plan, stock_plans

AGE, SEX = Covariate("age", "years"), Covariate("sex", categories=("female", "male"))
NODULES = 60


def told_plan() -> DSMTPlan:
    """Of a model with two descriptors and two covariates."""
    plan = small_plan()
    assert plan.wide is not None
    wide = replace(plan.wide, descriptors=("diameter_mm", "hu_mean"), covariates=("age", "sex"))
    return replace(plan, wide=wide, schema=replace(plan.schema, covariates=(AGE, SEX)))


def fitted(plan: DSMTPlan) -> tuple[Any, WidePart]:
    """Nodules whose descriptors say nothing, and whose age tells the label; every third is not known."""
    network = build_network(plan, PlansManager(stock_plans()).get_configuration(CONFIGURATION), 1, 2, False)
    rng = np.random.default_rng(0)
    nodules = []
    for number in range(NODULES):
        label = number % 2
        told = {"age": None if number % 3 == 0 else 50.0 + 20.0 * label, "sex": "male"}
        targets = (None, (1.0 - label, float(label)))
        columns = encode(plan.covariates, told)
        nodules.append(SampledNodule(str(number), (0.0,) * 3, (0, label), targets, number, columns))
    measured = torch.from_numpy(rng.normal(size=(NODULES, 2)))
    cast(Any, network).measure = lambda *_: measured
    patches = SimpleNamespace(of=lambda _: [SimpleNamespace(local=None, mask=None, valid=None)])
    part = WidePart(network, plan, nodules, cast(Any, patches))
    part.prepare(continued=False)
    return network, part


def test_covariates_enter_the_fit_and_what_the_deep_part_learns_beside() -> None:
    network, part = fitted(told_plan())
    wide = network.task_heads[1].wide
    assert wide.weight.shape == (1, 4)
    assert wide.mean[2] == pytest.approx(60.0)
    assert wide.weight[0, 2] > 0.5
    assert wide.weight[0, 3] == 0  # all are male
    _, offsets = part.batch(np.array([1, 2, 0]), torch.device("cpu"), training=False)
    old, young, unknown = (float(value) for value in offsets[1][:, 0])
    assert old > 0.5 > unknown > -0.5 > young


def test_without_them_nothing_is_learnt_here() -> None:
    plan = told_plan()
    assert plan.wide is not None
    network, part = fitted(replace(plan, wide=replace(plan.wide, covariates=())))
    assert network.task_heads[1].wide.weight.shape == (1, 2)
    _, offsets = part.batch(np.arange(NODULES), torch.device("cpu"), training=False)
    assert offsets[1].abs().max() < 0.5


def test_the_plan_keeps_them() -> None:
    plan = told_plan()
    assert DSMTPlan.from_block(plan.to_block()) == plan
    assert plan.covariate_columns == ("age", "sex=male")
