"""One training step: stock segmentation, our segmentation, and the whole of DSMT, on the same backbone and patch."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import nn
from torch.nn import functional

from benchmarks.machine import Ratio, device, medians
from dsmt_nnunet.api.examples import plain_unet
from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.plan import ContextPlan, DSMTPlan, HeadPlan, TrainingPlan
from dsmt_nnunet.plan_rules import CONTEXT_WINDOW_HU
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
CURVE_STEPS = 40
CURVE_SEEDS = 2


def configuration(features: tuple[int, ...], spacing_mm: float) -> Any:
    """What nnU-Net's configuration manager would say of a plain U-Net."""
    return SimpleNamespace(
        network_arch_class_name="dynamic_network_architectures.architectures.unet.PlainConvUNet",
        network_arch_init_kwargs=plain_unet(features, convolutions=2),
        network_arch_init_kwargs_req_import=("conv_op", "norm_op", "dropout_op", "nonlin"),
        spacing=[spacing_mm] * 3,
    )


def smallest_preset_plan() -> DSMTPlan:
    """As DSMTPlannerXS makes it for phantoms."""
    return DSMTPlan(
        schema=SCHEMA,
        context=ContextPlan(spacing_mm=5.0, grid=32, features=(8, 16, 32), windows=(CONTEXT_WINDOW_HU,)),
        heads=HeadPlan(central_region_mm=33.0, lateral_features=12, hidden_features=48),
        training=TrainingPlan(16, 4, 40, 2e-3, 2e-4),
        padding_value=(-1.8,),
    )


class Problem:
    """Batches of noise with a blob to segment, and the steps that learn from them."""

    def __init__(self, plan: DSMTPlan, patch: Sequence[int], batch: int, where: torch.device, seed: int = 0) -> None:
        self.plan, self.patch, self.batch, self.where = plan, [int(n) for n in patch], batch, where
        self.generator = torch.Generator().manual_seed(seed)
        dice = {"batch_dice": False, "smooth": 1e-5, "do_bg": False}
        self.loss = DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)
        balanced = {task.name: [1.0] * len(task.classes) for task in plan.schema.tasks}
        self.task_loss = MultiTaskLoss(plan.schema, plan.training.task_weights, balanced).to(where)
        self.image, self.target = self.draw()
        grid = (plan.context.grid,) * 3
        self.context = torch.randn((batch, 1, *grid), generator=self.generator).to(where)
        self.targets = [self._answers(len(task.classes)).to(where) for task in plan.schema.tasks]

    def _answers(self, classes: int) -> torch.Tensor:
        drawn = torch.randint(0, classes, (self.batch,), generator=self.generator)
        return functional.one_hot(drawn, classes).float()

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch: smooth noise, and where it is brightest."""
        coarse = torch.randn((self.batch, 1, *[max(2, n // 6) for n in self.patch]), generator=self.generator)
        smooth = functional.interpolate(coarse, self.patch, mode="trilinear")
        noise = 0.3 * torch.randn(smooth.shape, generator=self.generator)
        return (smooth + noise).to(self.where), (smooth > 1.0).to(torch.int16).to(self.where)

    def segmentation_step(self, network: nn.Module) -> Callable[[], float]:
        """A function that makes one step of segmentation, in the precision the network brings, on CUDA as nnU-Net."""
        optimizer = torch.optim.AdamW(network.parameters(), 1e-3)

        def step() -> float:
            with torch.autocast("cuda", enabled=self.where.type == "cuda"):
                loss = self._segmentation_loss(network(self.image))
            return _finish(network, optimizer, loss)

        return step

    def whole_step(self, network: nn.Module) -> Callable[[], float]:
        """The same with context and heads."""
        optimizer = torch.optim.AdamW(network.parameters(), 1e-3)

        def step() -> float:
            output = network(self.image, self.context)
            loss = self._segmentation_loss(output.segmentation) + self.task_loss(output.tasks, self.targets)[0]
            return _finish(network, optimizer, loss)

        return step

    def _segmentation_loss(self, scales: Sequence[torch.Tensor]) -> torch.Tensor:
        targets = [functional.interpolate(self.target.float(), scale.shape[2:]).to(torch.int16) for scale in scales]
        weights = [2.0**-i for i in range(len(scales))]
        weights = [weight / sum(weights) for weight in weights]
        loss: torch.Tensor = DeepSupervisionWrapper(self.loss, weights)(list(scales), targets)
        return loss


def _finish(network: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 12)
    optimizer.step()
    return float(loss.detach())


def _networks(*precisions: Precision) -> list[DSMTNet]:
    """The same backbone and weights for each precision."""
    first = build_network(smallest_preset_plan(), configuration((8, 16, 32, 64), 1.25), 1, 2, True).to(device())
    return [deepcopy(first).use_precision(precision) for precision in precisions]


def precisions() -> dict[str, Precision]:
    """In which precisions our step is measured: that of this device, and float32 where that is another."""
    own = Precision.choose(device())
    return {str(kind): kind for kind in (own, replace(own, use_bf16=False))}


def measure(repeats: int) -> list[Ratio]:
    """The smallest preset's step, 8 patches of 32 x 40 x 40, beside stock's step of the segmentation in float32."""
    problem = Problem(smallest_preset_plan(), (32, 40, 40), 8, device())
    (stock,) = _networks(Precision.plain())
    steps = {"stock": problem.segmentation_step(stock)}
    for name, precision in precisions().items():
        segmentation, whole = _networks(precision, precision)
        steps |= {
            f"training step, segmentation alone, {name}": problem.segmentation_step(segmentation),
            f"training step, the whole of DSMT against the segmentation, {name}": problem.whole_step(whole),
        }
    seconds = medians(steps, repeats, warm_up=2)
    theirs = seconds.pop("stock")
    rows = [
        Ratio(name, f"{1000 * ours:.0f} ms", f"{1000 * theirs:.0f} ms", f"{ours / theirs:.2f}", "at most 1.5")
        for name, ours in seconds.items()
    ]
    return [*rows, _curves()]


def _curves() -> Ratio:
    """The segmentation loss after some steps on new batches, in stock's precision and in ours."""
    ends: dict[str, list[float]] = {"stock": [], "ours": []}
    for seed in range(CURVE_SEEDS):
        torch.manual_seed(seed)
        networks = _networks(Precision.plain(), Precision.choose(device()))
        for name, network in zip(ends, networks, strict=True):
            problem = Problem(smallest_preset_plan(), (32, 40, 40), 4, device(), seed)
            step = problem.segmentation_step(network)
            losses = []
            for _ in range(CURVE_STEPS):
                problem.image, problem.target = problem.draw()
                losses.append(step())
            ends[name].append(statistics.mean(losses[-10:]))
    ours, theirs = (statistics.mean(ends[name]) for name in ("ours", "stock"))
    noise = statistics.stdev(ends["stock"])
    return Ratio(
        f"segmentation loss after {CURVE_STEPS} steps, mean of {CURVE_SEEDS} seeds",
        f"{ours:.4f}",
        f"{theirs:.4f}",
        f"{ours - theirs:+.4f} (seeds differ by {noise:.4f})",
        "within noise",
    )
