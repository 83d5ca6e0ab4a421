from __future__ import annotations

import copy
import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.precision import PRECISION_VARIABLE, Precision, cpu_has_bf16
from tests.unit.small_plans import CONFIGURATION, awake, small_plan, stock_plans

KINDS = [
    {"residual": residual, "anisotropic": anisotropic} for residual in (False, True) for anisotropic in (False, True)
]
PATCH = {False: (16, 16, 16), True: (6, 16, 12)}


def network(deep_supervision: bool = False, use_context: bool = True, **kind: bool) -> DSMTNet:
    plans = stock_plans(spacing=(3.0, 1.0, 1.0) if kind.get("anisotropic") else (1.0, 1.0, 1.0), **kind)
    configuration = PlansManager(plans).get_configuration(CONFIGURATION)
    plan = replace(small_plan(plans), use_context=use_context)
    return build_network(plan, configuration, 1, 2, deep_supervision).eval()


def batch(anisotropic: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 1, *PATCH[anisotropic]), torch.randn(2, 1, 16, 16, 16)


def stock_network(plans: dict[str, Any], deep_supervision: bool = False) -> torch.nn.Module:
    configuration = PlansManager(plans).get_configuration(CONFIGURATION)
    return get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        1,
        2,
        allow_init=True,
        deep_supervision=deep_supervision,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_segmentation_and_one_answer_a_task_have_the_right_shapes(kind: dict[str, bool]) -> None:
    x, context = batch(kind["anisotropic"])
    output = network(**kind)(x, context)
    assert output.segmentation.shape == (2, 2, *x.shape[2:])
    assert [logits.shape for logits in output.tasks] == [(2, 3), (2, 2)]
    assert all(torch.isfinite(logits).all() for logits in output.tasks)


@pytest.mark.parametrize("kind", KINDS)
def test_deep_supervision_gives_every_resolution(kind: dict[str, bool]) -> None:
    x, context = batch(kind["anisotropic"])
    model = network(deep_supervision=True, **kind)
    shapes = [tuple(scale.shape[2:]) for scale in model(x, context).segmentation]
    finest = tuple(x.shape[2:])
    assert shapes == [finest, (finest[0] if kind["anisotropic"] else finest[0] // 2, finest[1] // 2, finest[2] // 2)]
    model.decoder.deep_supervision = False
    assert model(x, context).segmentation.shape[2:] == finest


@pytest.mark.parametrize("deep_supervision", [False, True])
def test_the_local_patch_alone_gives_the_same_segmentation(deep_supervision: bool) -> None:
    x, context = batch()
    model = network(deep_supervision=deep_supervision)
    alone, both = model(x), model(x, context).segmentation
    for one, other in zip(alone, both, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("residual", [False, True])
def test_encoder_and_decoder_take_the_weights_of_the_stock_network(residual: bool) -> None:
    stock = stock_network(stock_plans(residual=residual)).eval()
    model = network(residual=residual)
    backbone_keys = {key for key in model.state_dict() if key.startswith(("encoder.", "decoder."))}
    assert backbone_keys == set(stock.state_dict())
    report = model.load_state_dict(stock.state_dict(), strict=False)
    assert not report.unexpected_keys
    x, _ = batch()
    torch.testing.assert_close(model(x), stock(x))


def test_the_answers_change_with_the_context() -> None:
    x, context = batch()
    model = network()
    torch.testing.assert_close(model(x, context).tasks[0], model(x, context + 1).tasks[0])
    awake(model)
    assert not torch.allclose(model(x, context).tasks[0], model(x, context + 1).tasks[0])


def test_without_a_context_encoder_the_context_does_not_matter() -> None:
    x, context = batch()
    model = network(use_context=False)
    assert model.context_encoder is None
    assert not any("context" in name for name, _ in model.named_parameters())
    awake(model)
    torch.testing.assert_close(model(x, context).tasks[0], model(x, torch.zeros_like(context)).tasks[0])


def test_segmentation_layers_get_no_gradient_from_the_heads() -> None:
    x, context = batch()
    model = network()
    sum(logits.sum() for logits in model(x, context).tasks).backward()
    assert all(parameter.grad is None for parameter in model.decoder.seg_layers.parameters())
    assert all(parameter.grad is not None for parameter in model.encoder.stages[0].parameters())


def test_every_parameter_belongs_to_one_of_the_two_groups() -> None:
    model = network()
    backbone, others = model.backbone_parameters(), model.classification_parameters()
    assert not {id(p) for p in backbone} & {id(p) for p in others}
    assert {id(p) for p in backbone} | {id(p) for p in others} == {id(p) for p in model.parameters()}
    assert {id(p) for p in backbone} == {id(p) for n, p in model.named_parameters() if n[:2] in ("en", "de")}


def test_copies_and_pickles_answer_the_same() -> None:
    x, context = batch()
    model = network()
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    for other in (copy.deepcopy(model), torch.load(stream, weights_only=False)):
        torch.testing.assert_close(other(x, context).tasks, model(x, context).tasks)


@pytest.mark.skipif(not cpu_has_bf16(), reason="this processor has no bfloat16")
def test_bfloat16_is_close_to_float32_and_keeps_the_weights() -> None:
    x, context = batch()
    model = network()
    exact, weights = model(x, context), copy.deepcopy(model.state_dict())
    coarse = model.use_precision(Precision("cpu", use_bf16=True, channels_last=True))(x, context)
    assert coarse.segmentation.dtype == coarse.tasks[0].dtype == torch.float32
    torch.testing.assert_close(coarse.segmentation, exact.segmentation, rtol=0.1, atol=0.1)
    torch.testing.assert_close(coarse.tasks, exact.tasks, rtol=0.1, atol=0.1)
    assert not torch.equal(coarse.segmentation, exact.segmentation), "autocast was not on"
    torch.testing.assert_close(model.state_dict(), weights, rtol=0, atol=0)


def test_channels_last_changes_the_layout_alone() -> None:
    x, context = batch()
    model = network()
    exact, weights = model(x, context), copy.deepcopy(model.state_dict())
    other = model.use_precision(Precision("cpu", use_bf16=False, channels_last=True))(x, context)
    torch.testing.assert_close(other.segmentation, exact.segmentation, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other.tasks, exact.tasks, rtol=1e-4, atol=1e-4)
    first = next(weight for weight in model.encoder.parameters() if weight.ndim == 5 and weight.shape[1] > 1)
    assert first.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(model.state_dict(), weights, rtol=0, atol=0)


def test_the_environment_chooses_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for word, expected in (("bf16", True), ("fp32", False), ("", cpu_has_bf16())):
        monkeypatch.setenv(PRECISION_VARIABLE, word)
        assert Precision.choose(cpu) == Precision("cpu", expected, channels_last=True)
    assert Precision.choose(torch.device("cuda")) == Precision("cuda", use_bf16=False, channels_last=False)
    monkeypatch.setenv(PRECISION_VARIABLE, "fp16")
    with pytest.raises(ValueError, match="'bf16', 'fp32' or unset, got 'fp16'"):
        Precision.choose(cpu)


def test_blocks_of_the_context_encoder_follow_the_plan() -> None:
    plans = stock_plans()
    plan = small_plan(plans)
    plan = replace(plan, context=replace(plan.context, features=(4, 6, 8), blocks=2))
    model = build_network(plan, PlansManager(plans).get_configuration(CONFIGURATION), 1, 2, False)
    assert model.context_encoder is not None
    assert [len(stage.blocks) for stage in model.context_encoder.encoder.stages] == [2, 2, 2]
    assert model.context_encoder(torch.randn(3, 1, 16, 16, 16)).shape == (3, 3 * 8 + 2 * plan.context.density_bins)


def test_a_feature_counts_alike_on_whatever_scale_it_is_measured() -> None:
    model = awake(network(use_context=False))
    model.feature_norm.train()
    features = torch.randn(6, model.pooling.out_features)
    louder = features * torch.logspace(0, 3, features.shape[1])
    for own, other in zip(model.deep_scores(features, None), model.deep_scores(louder, None), strict=True):
        torch.testing.assert_close(own, other, rtol=0.01, atol=0.01)


def test_weights_of_features_that_were_not_standardised_answer_as_they_did() -> None:
    older, newer = awake(network()), network()
    x, context = batch()
    older.feature_norm = torch.nn.Identity()  # type: ignore[assignment]
    state = older.state_dict()
    assert not any(name.startswith("feature_norm") for name in state)
    newer.feature_norm.running_mean.fill_(3.0)
    newer.load_state_dict(state)
    assert not any(name.startswith("feature_norm") for name in state)
    for own, other in zip(older(x, context).tasks, newer(x, context).tasks, strict=True):
        torch.testing.assert_close(own, other)
