"""Starting from other weights: every tensor that is taken equals theirs, every other one is as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.start import Start, take_start
from dsmt_nnunet.tasks import Task, TaskKind
from tests.unit.architecture.test_network import stock_network
from tests.unit.small_plans import CONFIGURATION, SCHEMA, awake, small_plan, stock_plans

TEXTURE, INVASIVENESS = SCHEMA.tasks
MALIGNANCY = Task("malignancy", ("low", "middle", "high"), TaskKind.ORDINAL)


def network(tasks: tuple[Task, ...] = SCHEMA.tasks, channels: int = 1, **of_plan: Any) -> DSMTNet:
    plans = stock_plans()
    plan = small_plan(plans)
    plan = replace(plan, schema=replace(plan.schema, tasks=tasks, primary_task=tasks[0].name), **of_plan)
    return build_network(plan, PlansManager(plans).get_configuration(CONFIGURATION), channels, 2, False)


def started(
    target: DSMTNet,
    state: dict[str, Tensor],
    of_tasks: tuple[Task, ...] | None = None,
    tasks: tuple[Task, ...] = SCHEMA.tasks,
) -> tuple[Start, set[str]]:
    """What it says, and the names of the tensors that changed; every one of them is the file's."""
    before = {name: value.clone() for name, value in target.state_dict().items()}
    start = take_start(target, tasks, state, of_tasks)
    changed = {name for name, value in target.state_dict().items() if not torch.equal(value, before[name])}
    return start, changed


def noisy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same names with values that no network starts with."""
    shared: dict[int, Tensor] = {}
    return {
        name: shared.setdefault(value.data_ptr(), torch.randn_like(value)) if value.is_floating_point() else value
        for name, value in state.items()
    }


def parts(start: Start) -> dict[str, tuple[int, int]]:
    return {part.name: (part.taken, part.tensors) for part in start.parts}


@pytest.mark.parametrize(
    "named",
    [
        lambda name: name,
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.{name}",
        lambda name: f"net.{name}",
    ],
)
def test_a_stock_network_gives_its_backbone_and_nothing_else(named: Callable[[str], str]) -> None:
    given = noisy(stock_network(stock_plans()).state_dict())
    target = network()
    start, changed = started(target, {named(name): value for name, value in given.items()})
    of_backbone = {name for name in target.state_dict() if name.startswith(("encoder.", "decoder."))}
    assert changed == {name for name in of_backbone if ".seg_layers." not in name}
    for name in changed:
        torch.testing.assert_close(target.state_dict()[name], given[name])
    taken = parts(start)
    assert taken["encoder"][0] == taken["encoder"][1] == len(list(target.encoder.parameters()))
    assert taken["segmentation layers"][0] == taken["pooling"][0] == taken["head of texture"][0] == 0
    said = " ".join(start.sentences())
    assert "segmentation layers (of other labels)" in said
    assert "head of invasiveness (not in the weights)" in said
    assert "Not used" not in said


def test_weights_that_name_every_tensor_once_are_enough() -> None:
    stock = stock_network(stock_plans())
    given = {name: torch.randn_like(value) for name, value in stock.named_parameters()}
    assert len(given) < len(stock.state_dict()), "nnU-Net's networks hold tensors under several names"
    target = network()
    start, _ = started(target, given)
    assert parts(start)["encoder"][0] == parts(start)["encoder"][1]
    for name, value in given.items():
        assert torch.equal(target.state_dict()[name], value) is (".seg_layers." not in name)


def test_a_dsmt_network_of_the_same_tasks_gives_all_but_what_is_fitted() -> None:
    given = noisy(network().state_dict())
    target = network()
    _, changed = started(target, given, SCHEMA.tasks)
    own = ("wide", "share", "decided", "bias")
    fitted = {name for name in given if name.startswith("heads.") and name.split(".")[2] in own}
    counters = {name for name, value in given.items() if not value.is_floating_point()}
    assert changed == set(given) - fitted - counters


def test_a_head_goes_to_the_task_of_its_name_wherever_it_stands() -> None:
    given = noisy(network((INVASIVENESS, MALIGNANCY, TEXTURE)).state_dict())
    target = network()
    start, changed = started(target, given, (INVASIVENESS, MALIGNANCY, TEXTURE))
    assert {name for name in changed if name.startswith("heads.")}
    for own, theirs in ((0, 2), (1, 0)):
        name = "deep.0.weight"
        assert torch.equal(target.state_dict()[f"heads.{own}.{name}"], given[f"heads.{theirs}.{name}"])
    assert start.sentences()[-1] == "Not used of the weights: the head of malignancy."


def test_heads_that_learnt_from_features_on_their_own_scales_are_left() -> None:
    given = {name: value for name, value in noisy(network().state_dict()).items() if "feature_norm" not in name}
    start, changed = started(network(), given, SCHEMA.tasks)
    assert any(name.startswith("pooling.") for name in changed)
    assert not any(name.startswith(("heads.", "feature_norm.")) for name in changed)
    assert "scale of the features (not in the weights)" in start.sentences()[1]
    assert "head of texture (what it rests on was not taken whole)" in start.sentences()[1]


@pytest.mark.parametrize(
    ("of_tasks", "why"),
    [
        ((replace(TEXTURE, classes=("solid", "part-solid", "ground-glass")), INVASIVENESS), "nominal of solid, part-"),
        ((MALIGNANCY, INVASIVENESS), "not asked there"),
        (None, "the weights do not say what their heads answer"),
    ],
)
def test_a_head_whose_task_does_not_match_is_left_and_named(of_tasks: tuple[Task, ...] | None, why: str) -> None:
    given = noisy(network(of_tasks or SCHEMA.tasks).state_dict())
    target = network()
    start, changed = started(target, given, of_tasks)
    assert not any(name.startswith("heads.0.") for name in changed)
    assert any(name.startswith("heads.1.deep.") for name in changed) is (of_tasks is not None)
    assert f"head of texture ({why}" in start.sentences()[1]
    assert any(name.startswith("pooling.") for name in changed)


def test_heads_are_left_where_what_they_rest_on_was_not_taken_whole() -> None:
    given = noisy(network().state_dict())
    lacking = next(name for name in given if name.startswith("pooling.laterals"))
    del given[lacking]
    start, changed = started(network(), given, SCHEMA.tasks)
    assert not any(name.startswith(("heads.", "pooling.")) for name in changed)
    assert any(name.startswith("context_encoder.") for name in changed)
    assert f"pooling (1 not in the weights: {lacking}), head of texture (what it rests on" in start.sentences()[1]


def test_another_number_of_channels_leaves_the_first_layer_alone_and_says_its_shapes() -> None:
    given = noisy(stock_network(stock_plans()).state_dict())
    target = network(channels=2)
    start, changed = started(target, given)
    first = {name for name in changed if name.startswith("encoder.stages.0.0.convs.0.") and "conv.weight" in name}
    assert not first
    assert any(name.startswith("encoder.stages.1.") for name in changed)
    assert (
        "1 of another shape: encoder.stages.0.0.convs.0.conv.weight is 4x1x3x3x3 there and 4x2x3x3x3 here"
        in (start.sentences()[1])
    )


def test_half_precision_and_strange_tensors_are_taken_as_far_as_they_go() -> None:
    given: dict[str, Tensor] = {name: value.half() for name, value in network().state_dict().items()}
    given["mask_token"] = torch.zeros(3)
    target = network()
    start, _ = started(target, given, SCHEMA.tasks)
    assert target.encoder.stages[0][0].convs[0].conv.weight.dtype == torch.float32
    assert "1 tensors that have no place here, such as mask_token" in start.sentences()[-1]


def test_an_encoder_that_does_not_fit_at_all_is_refused() -> None:
    state = {name: value[:1] for name, value in network().state_dict().items() if value.dim()}
    with pytest.raises(ValueError, match=r"Nothing of the encoder .* 4x1x3x3x3 .* Plan with the architecture"):
        take_start(network(), SCHEMA.tasks, state, SCHEMA.tasks)
    with pytest.raises(ValueError, match="not in the weights"):
        take_start(network(), SCHEMA.tasks, {"eva.blocks.0.weight": torch.zeros(2)}, None)


def test_a_task_keeps_the_awake_answer_of_the_network_it_came_from() -> None:
    source, target = awake(network()).eval(), network().eval()
    take_start(target, SCHEMA.tasks, source.state_dict(), SCHEMA.tasks)
    x, context = torch.randn(2, 1, 16, 16, 16), torch.randn(2, 1, 16, 16, 16)
    torch.testing.assert_close(target(x, context).deep, source(x, context).deep)
