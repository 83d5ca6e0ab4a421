"""One training step: stock segmentation, our segmentation, and the whole of DSMT, on the same backbone and patch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.plan import CONTEXT_WINDOW_HU, ContextPlan, DSMTPlan, HeadPlan, TrainingPlan
from dsmt_nnunet.tasks import ClassificationSchema, Task
from dsmt_nnunet.training.losses import MultiTaskLoss

SCHEMA = ClassificationSchema(
    (
        Task("invasiveness", ("non-invasive", "invasive")),
        Task("bubble_lucency", ("absent", "present")),
        Task("pleural_retraction", ("absent", "present")),
    ),
    "invasiveness",
)
WEIGHTS = (4 / 7, 2 / 7, 1 / 7)


def configuration(features: tuple[int, ...], spacing_mm: float) -> Any:
    """What nnU-Net's configuration manager would say of a plain U-Net."""
    stages = len(features)
    return SimpleNamespace(
        network_arch_class_name="dynamic_network_architectures.architectures.unet.PlainConvUNet",
        network_arch_init_kwargs={
            "n_stages": stages,
            "features_per_stage": list(features),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        network_arch_init_kwargs_req_import=("conv_op", "norm_op", "dropout_op", "nonlin"),
        spacing=[spacing_mm] * 3,
    )


def smallest_preset_plan() -> DSMTPlan:
    """As DSMTPlannerXS makes it for phantoms."""
    return DSMTPlan(
        schema=SCHEMA,
        context=ContextPlan(spacing_mm=5.0, grid=32, features=(8, 16, 32), windows=(CONTEXT_WINDOW_HU,)),
        heads=HeadPlan(central_region_mm=33.0, lateral_features=12, hidden_features=48),
        training=TrainingPlan(22, 4, 40, 2e-3, 2e-4),
        padding_value=(-1.8,),
    )


def steps(device: torch.device, batch: int, patch: tuple[int, int, int]) -> dict[str, Callable[[], None]]:
    """Name -> a function that makes one step."""
    generator = torch.Generator().manual_seed(0)
    plan = smallest_preset_plan()
    settings = configuration((8, 16, 32, 64), 1.25)
    image = torch.randn((batch, 1, *patch), generator=generator).to(device)
    grid = (plan.context.grid,) * 3
    context = torch.randn((batch, 1, *grid), generator=generator).to(device)
    target = (torch.rand((batch, 1, *patch), generator=generator) > 0.9).to(torch.int16).to(device)
    targets = [target, target[:, :, ::2, ::2, ::2], target[:, :, ::4, ::4, ::4]]
    labels = torch.randint(0, 2, (batch, 3), generator=generator).to(device)
    dice = {"batch_dice": False, "smooth": 1e-5, "do_bg": False}
    segmentation_loss = DeepSupervisionWrapper(
        DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss), WEIGHTS
    )
    balanced = {name: [1.0, 1.0] for name in SCHEMA.task_names}
    task_loss = MultiTaskLoss(SCHEMA, plan.training.task_weights, balanced)
    task_loss.to(device)
    stock = get_network_from_plans(
        settings.network_arch_class_name,
        settings.network_arch_init_kwargs,
        settings.network_arch_init_kwargs_req_import,
        1,
        2,
        deep_supervision=True,
    ).to(device)
    ours = build_network(plan, settings, 1, 2, True).to(device).use_precision(Precision.choose(device))
    optimizers = {id(network): torch.optim.AdamW(network.parameters(), 1e-3) for network in (stock, ours)}

    def finish(network: torch.nn.Module, loss: torch.Tensor) -> None:
        optimizer = optimizers[id(network)]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        optimizer.step()

    def stock_segmentation() -> None:
        with torch.autocast("cuda", enabled=device.type == "cuda"):
            loss = segmentation_loss(stock(image), targets)
        finish(stock, loss)

    def our_segmentation() -> None:
        finish(ours, segmentation_loss(ours(image), targets))

    def our_step() -> None:
        output = ours(image, context)
        finish(ours, segmentation_loss(output.segmentation, targets) + task_loss(output.tasks, labels)[0])

    return {"stock": stock_segmentation, "segmentation": our_segmentation, "dsmt": our_step}


def measure(device: torch.device, repeats: int) -> dict[str, float]:
    """Median seconds a step, the variants taking turns."""
    functions = steps(device, batch=8, patch=(32, 40, 40))
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 2):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn >= 2:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
