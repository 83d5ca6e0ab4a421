from __future__ import annotations

import builtins
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.architecture.densenet import DenseNetFeatures
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.pooling import AveragePooling
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.plan import PLAN_KEY, DSMTPlan
from dsmt_nnunet.trainers.comparisons import (
    COMPARISONS,
    DSMTTrainerAveragePooling,
    DSMTTrainerDenseNet,
    DSMTTrainerJointOnly,
    DSMTTrainerNoContext,
    DSMTTrainerNoSegmentation,
    DSMTTrainerNoSigns,
    DSMTTrainerSingleTask,
)
from dsmt_nnunet.trainers.dsmt_trainer import DSMTTrainer
from tests.unit.small_plans import CONFIGURATION, DATASET_JSON, awake, small_plan, stock_plans

WITHOUT_MONAI = tuple(trainer for trainer in COMPARISONS if trainer is not DSMTTrainerDenseNet)


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{kind}", str(tmp_path / kind))
    monkeypatch.setenv("dsmt_precision", "fp32")


def made(trainer: type[DSMTTrainer]) -> tuple[DSMTPlan, DSMTNet]:
    """The plan of a training and the network it builds from the plans that are saved with the model."""
    plans = stock_plans()
    plans[PLAN_KEY] = small_plan(plans, joint_epochs=4, finetune_epochs=2).to_block()
    own = trainer(plans, CONFIGURATION, 0, deepcopy(DATASET_JSON), torch.device("cpu"))
    saved = PlansManager(own.plans_manager.plans)
    network: Any = own.build_network_architecture(saved, saved.get_configuration(CONFIGURATION), 1, 2, False)
    return own.dsmt_plan, network


@pytest.mark.parametrize("trainer", WITHOUT_MONAI)
def test_every_comparison_answers_every_task(trainer: type[DSMTTrainer]) -> None:
    plan, network = made(trainer)
    output = network.eval()(torch.randn(2, 1, 16, 16, 16), torch.randn(2, 1, 16, 16, 16))
    assert [tuple(logits.shape) for logits in output.tasks] == [(2, len(task.classes)) for task in plan.schema.tasks]
    assert plan.training.epochs == 6, "the same budget for all"


@pytest.mark.parametrize("trainer", [DSMTTrainerNoContext, DSMTTrainerSingleTask])
def test_without_context_the_surroundings_do_not_count(trainer: type[DSMTTrainer]) -> None:
    network = awake(made(trainer)[1].eval())
    x = torch.randn(1, 1, 16, 16, 16)
    first, second = (network(x, torch.randn(1, 1, 16, 16, 16)).tasks[1] for _ in range(2))
    torch.testing.assert_close(first, second)
    with_context = awake(made(DSMTTrainer)[1].eval())
    first, second = (with_context(x, torch.randn(1, 1, 16, 16, 16)).tasks[1] for _ in range(2))
    assert not torch.allclose(first, second)


def test_without_segmentation_neither_its_loss_nor_its_mask_counts() -> None:
    plan, network = made(DSMTTrainerNoSegmentation)
    assert (plan.training.segmentation_weight, plan.training.background_share) == (0.0, 0.0)
    network = network.eval()
    x, context = torch.randn(1, 1, 16, 16, 16), torch.randn(1, 1, 16, 16, 16)
    before = network(x, context)
    for parameter in network.decoder.seg_layers.parameters():
        torch.nn.init.normal_(parameter, std=10.0)
    after = network(x, context)
    assert not torch.allclose(before.segmentation, after.segmentation)
    torch.testing.assert_close(before.tasks[1], after.tasks[1])


def test_without_signs_the_primary_task_alone_has_weight() -> None:
    plan, _ = made(DSMTTrainerNoSigns)
    assert plan.training.task_weights == {"texture": 0.0, "invasiveness": 1.0}
    assert plan.training.segmentation_weight == 1.0
    assert plan.use_context


def test_joint_training_alone_never_fine_tunes() -> None:
    training = made(DSMTTrainerJointOnly)[0].training
    assert (training.joint_epochs, training.finetune_epochs) == (6, 0)


def test_the_baseline_leaves_out_everything() -> None:
    plan, network = made(DSMTTrainerSingleTask)
    assert network.context_encoder is None
    assert plan.training.segmentation_weight == 0.0
    assert plan.training.task_weights == {"texture": 0.0, "invasiveness": 1.0}
    assert plan.training.finetune_epochs == 0


def test_average_pooling_is_the_mean_of_the_bottleneck() -> None:
    _, network = made(DSMTTrainerAveragePooling)
    assert isinstance(network.pooling, AveragePooling)
    x = torch.randn(2, 1, 16, 16, 16)
    with torch.no_grad():
        expected = network.encoder(x)[-1].mean(dim=(2, 3, 4))
        torch.testing.assert_close(network.eval().describe(x), expected)


def test_densenet_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_monai(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("monai"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_monai)
    with pytest.raises(ImportError, match=r"dsmt-nnunet\[study\]"):
        made(DSMTTrainerDenseNet)


def test_densenet_looks_at_the_patch_alone() -> None:
    pytest.importorskip("monai", reason="MONAI is not installed (pip install 'dsmt-nnunet[study]')")
    _, network = made(DSMTTrainerDenseNet)
    for part in (network.encoder, network.decoder):
        for parameter in part.parameters():
            parameter.requires_grad_(False)
    x = torch.randn(2, 1, 16, 24, 40, requires_grad=True)
    network.eval().describe(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_densenet_learns_on_a_cpu_from_patches_of_the_smallest_preset() -> None:
    pytest.importorskip("monai", reason="MONAI is not installed (pip install 'dsmt-nnunet[study]')")
    # In bfloat16, channels last, some gradients of this patch were not finite.
    precision = Precision("cpu", use_bf16=True, channels_last=True)
    features = DenseNetFeatures(1)
    precision.prepare(features)
    with precision.autocast():
        described = features(precision.prepare_input(torch.randn(8, 1, 32, 40, 40)), [], torch.empty(0))
    (described**2).mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in features.parameters())


def test_an_unknown_pooling_is_named() -> None:
    plans = stock_plans()
    block = small_plan(plans).to_block()
    block["heads"]["pooling"] = "attention"
    plans[PLAN_KEY] = block
    manager = PlansManager(plans)
    with pytest.raises(ValueError, match="the pooling 'attention', there are"):
        DSMTTrainer.build_network_architecture(manager, manager.get_configuration(CONFIGURATION), 1, 2)
