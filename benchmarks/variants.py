"""One choice at a time: how DSMT learns with another optimizer, loss weight, field of view, ... on phantoms.

    python -m benchmarks.variants selection --seeds 0 1 --variants default sgd -o docs/results/variants.csv

`selection` is the folder of a phantom study (`dsmt study -o selection --cohort-seed 2 ...`) that is not the one whose
results are reported. Network and losses are the library's; the data path is not: patches lie in memory and are
augmented by mirroring, shifts, noise and scaling alone, so that a variant takes minutes.
"""

from __future__ import annotations

import argparse
import copy
import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor, nn

from benchmarks.patches import CONFIGURATION, MARGIN, Patches, read_patches
from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.dataloading.sampling import NoduleSampler
from dsmt_nnunet.inference.classifier import mirrorings
from dsmt_nnunet.nnunet_files import NnunetPlans
from dsmt_nnunet.plan import PLAN_KEY, DSMTPlan
from dsmt_nnunet.statistics.roc.delong import auc_score
from dsmt_nnunet.tasks import UNKNOWN_LABEL
from dsmt_nnunet.training.losses import MultiTaskLoss
from dsmt_nnunet.training.stages import POLY_EXPONENT

WARM_UP_STEPS = 80
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """How the network is trained and asked; the defaults are those of DSMTPlannerXS and DSMTTrainer but for mirroring.

    Attributes:
        joint_steps, finetune_steps, batch_size, learning_rate: the budget.
        optimizer: adamw or sgd (nnU-Net's: momentum 0.99, Nesterov, weight decay 3e-5).
        backbone_rate: learning rate of encoder and decoder, as a share of the others'.
        segmentation_weight, sign_weight: of the losses.
        fading_segmentation: whether the weight of the segmentation falls to 0 over the joint stage.
        unlabelled_share: of the patches, as background patches are.
        label_smoothing: of the classification.
        averaging: decay of the moving average of the weights that is kept; 0 for none.
        jitter: voxels by which patches are shifted, at most.
        context_grid: voxels of 5 mm, a multiple of 8; 0 for no context.
        pooling: see `POOLINGS` of the plan.
        finetuned: what the fine-tuning trains: `head`, `heads` (and pooling and context), or `all`.
        keeps_joint_loss: whether all losses stay, at a tenth, in the fine-tuning.
        mirrored: whether predictions are averaged over mirrorings, as they are in DSMT; here only where asked, since it
            takes eight times as long.
    """

    joint_steps: int = 640
    finetune_steps: int = 160
    batch_size: int = 8
    learning_rate: float = 2e-3
    optimizer: str = "adamw"
    backbone_rate: float = 1.0
    segmentation_weight: float = 1.0
    sign_weight: float = 0.5
    fading_segmentation: bool = False
    unlabelled_share: float = 0.25
    label_smoothing: float = 0.0
    averaging: float = 0.0
    jitter: int = MARGIN
    context_grid: int = 32
    pooling: str = "mask-guided"
    finetuned: str = "head"
    keeps_joint_loss: bool = False
    mirrored: bool = False

    def joint(self) -> Variant:
        """The same as far as the joint stage goes."""
        return replace(self, finetune_steps=0, finetuned="head", keeps_joint_loss=False, mirrored=False)


VARIANTS: Mapping[str, Variant] = {
    "default": Variant(),
    "joint stage only": Variant(finetune_steps=0),
    "fine-tuning: heads, pooling, context": Variant(finetuned="heads"),
    "fine-tuning: all": Variant(finetuned="all"),
    "fine-tuning: all, joint loss kept": Variant(finetuned="all", keeps_joint_loss=True),
    "mirrored prediction": Variant(mirrored=True),
    "twice as long": Variant(joint_steps=1280),
    "SGD 0.99, 1e-2": Variant(optimizer="sgd", learning_rate=1e-2),
    "SGD 0.99, 1e-3": Variant(optimizer="sgd", learning_rate=1e-3),
    "learning rate 1e-3": Variant(learning_rate=1e-3),
    "learning rate 4e-3": Variant(learning_rate=4e-3),
    "backbone at a third of the rate": Variant(backbone_rate=1 / 3),
    "batch of 4, twice the steps": Variant(batch_size=4, joint_steps=1280, finetune_steps=320),
    "batch of 16, half the steps": Variant(batch_size=16, joint_steps=320, finetune_steps=80),
    "segmentation weight 0.3": Variant(segmentation_weight=0.3),
    "segmentation fades": Variant(fading_segmentation=True),
    "sign weight 1": Variant(sign_weight=1.0),
    "all patches labelled": Variant(unlabelled_share=0.0),
    "label smoothing 0.1": Variant(label_smoothing=0.1),
    "weight averaging 0.995": Variant(averaging=0.995),
    "no jitter": Variant(jitter=0),
    "jitter 2.5 mm": Variant(jitter=2),
    "no context": Variant(context_grid=0),
    "context of 120 mm": Variant(context_grid=24),
    "context of 200 mm": Variant(context_grid=40),
    "average pooling": Variant(pooling="average"),
}


class Training:
    """One variant with one seed."""

    def __init__(self, variant: Variant, seed: int, patches: Patches, plans: NnunetPlans) -> None:
        self.variant, self.patches = variant, patches
        plan = DSMTPlan.from_plans(plans.content)
        grid = variant.context_grid
        self.plan = replace(
            plan,
            context=replace(plan.context, grid=max(grid, 8)),
            use_context=grid > 0,
            heads=replace(plan.heads, pooling=variant.pooling),
        )
        configuration = PlansManager({**plans.content, PLAN_KEY: self.plan.to_block()}).get_configuration(CONFIGURATION)
        self.patch = [int(length) for length in configuration.patch_size]
        torch.manual_seed(seed)
        np.random.seed(seed)
        self.rng = np.random.default_rng(seed)
        self.network = build_network(self.plan, configuration, 1, 2, enable_deep_supervision=False)
        self.network.use_precision(Precision.choose(torch.device("cpu")))
        schema = self.plan.schema
        self.primary = schema.primary_index
        self.weights = {name: 1.0 if name == schema.primary_task else variant.sign_weight for name in schema.task_names}
        ones = {task.name: [1.0] * len(task.classes) for task in schema.tasks}
        self.classification = MultiTaskLoss(schema, self.weights, ones)
        self.segmentation = DC_and_CE_loss(
            {"batch_dice": False, "smooth": 1e-5, "do_bg": False}, {}, dice_class=MemoryEfficientSoftDiceLoss
        )
        self.sampler = NoduleSampler(patches.labels[:, self.primary].tolist())

    def joint_stage(self) -> None:
        """All losses, all parameters."""
        variant, steps = self.variant, self.variant.joint_steps
        optimizer = self._optimizer()
        average = copy.deepcopy(self.network) if variant.averaging else None
        for step in range(steps):
            left = 1 - step / steps
            self._set_rates(optimizer, variant.learning_rate * left**POLY_EXPONENT * min(1, (step + 1) / WARM_UP_STEPS))
            self.network.train()
            classification, segmentation = self._losses(self.weights)
            weight = variant.segmentation_weight * (left if variant.fading_segmentation else 1.0)
            self._step(optimizer, classification + weight * segmentation)
            if average is not None:
                _move_towards(average, self.network, 1 - min(variant.averaging, (1 + step) / (10 + step)))
        self.network = average or self.network

    def finetuning_stage(self) -> None:
        """The primary task alone, at a tenth of the learning rate."""
        variant, steps = self.variant, self.variant.finetune_steps
        head = self.network.heads[self.primary]
        choices: dict[str, list[nn.Module]] = {
            "head": [head],
            "heads": [head, self.network.pooling, *filter(None, [self.network.context_encoder])],
            "all": [self.network],
        }
        trained = choices[variant.finetuned]
        learning = {id(parameter) for part in trained for parameter in part.parameters()}
        for parameter in self.network.parameters():
            parameter.requires_grad_(id(parameter) in learning)
        optimizer = self._optimizer()
        primary_alone = {name: float(name == self.plan.schema.primary_task) for name in self.weights}
        weights = primary_alone
        if variant.keeps_joint_loss:
            weights = {name: max(value, 0.1 * self.weights[name]) for name, value in primary_alone.items()}
        for step in range(steps):
            self._set_rates(optimizer, variant.learning_rate / 10 * (1 - step / steps) ** POLY_EXPONENT)
            self.network.eval()
            for part in trained:
                part.train()
            classification, segmentation = self._losses(weights)
            self._step(optimizer, classification + 0.1 * variant.keeps_joint_loss * segmentation)

    def _optimizer(self) -> torch.optim.Optimizer:
        groups = [
            {"params": self.network.backbone_parameters(), "share": self.variant.backbone_rate},
            {"params": self.network.classification_parameters(), "share": 1.0},
        ]
        if self.variant.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)
        return torch.optim.AdamW(groups, lr=1e-3, weight_decay=self.plan.training.weight_decay)

    def _set_rates(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate * group["share"]

    def _losses(self, weights: Mapping[str, float]) -> tuple[Tensor, Tensor]:
        indices = [self.sampler.draw() for _ in range(self.variant.batch_size)]
        local, masks, context = self.patches.batch(
            indices, self.patch, self.variant.context_grid, self.variant.jitter, self.rng
        )
        labels = torch.from_numpy(self.patches.labels[indices]).long()
        labels[torch.from_numpy(self.rng.random(len(indices)) < self.variant.unlabelled_share)] = UNKNOWN_LABEL
        output = self.network(local, context)
        return self._classification(output.tasks, labels, weights), self.segmentation(output.segmentation, masks)

    def _classification(self, tasks: list[Tensor], labels: Tensor, weights: Mapping[str, float]) -> Tensor:
        loss: Tensor = self.classification(tasks, labels, weights)[0]
        share = self.variant.label_smoothing
        if not share:
            return loss
        known = labels != UNKNOWN_LABEL
        # Every task of the phantoms is binary: the uniform target is the mean over its two classes.
        uniform = [self.classification(tasks, torch.where(known, index, labels), weights)[0] for index in (0, 1)]
        smoothed: Tensor = (1 - share) * loss + share * (uniform[0] + uniform[1]) / 2
        return smoothed

    def _step(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        optimizer.step()

    @torch.inference_mode()
    def answers(self, unseen: Patches) -> tuple[Scores, float]:
        """(N, T) log odds of the last class, and the mean Dice."""
        network: DSMTNet = self.network.eval()
        axes = mirrorings((0, 1, 2) if self.variant.mirrored else ())
        scores, dice = [], []
        for part in np.array_split(np.arange(len(unseen.labels)), max(1, len(unseen.labels) // 32)):
            local, masks, context = unseen.batch(part.tolist(), self.patch, self.variant.context_grid, 0, None)
            outputs = [
                network(*(torch.flip(patch, [axis + 2 for axis in flipped]) for patch in (local, context)))
                for flipped in axes
            ]
            logits = [torch.stack([logit[:, -1] - logit[:, 0] for logit in output.tasks], 1) for output in outputs]
            scores.append(torch.stack(logits).mean(0).numpy())
            found = (outputs[0].segmentation.argmax(1, keepdim=True) > 0).float()
            overlap = 2 * (found * masks).sum((1, 2, 3, 4)) / (found + masks).sum((1, 2, 3, 4))
            dice += overlap.tolist()
        return np.concatenate(scores), float(np.mean(dice))


def _move_towards(average: nn.Module, network: nn.Module, share: float) -> None:
    with torch.no_grad():
        for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, share)
            else:
                mean.copy_(value)


def expected_auc(score: Scores, probability: Scores) -> float:
    """The AUC on average over labels drawn with their true probabilities: without the noise of one draw."""
    pairs = np.outer(probability, 1 - probability)
    np.fill_diagonal(pairs, 0)
    order = np.sign(score[:, None] - score[None]) / 2 + 0.5
    return float((pairs * order).sum() / pairs.sum())


def rows(study: Path, names: Sequence[str], seeds: Sequence[int]) -> Iterator[dict[str, str | int]]:
    """One row a variant and seed; variants that differ in the fine-tuning share the joint stage."""
    training, unseen, plans = read_patches(study)
    for seed in seeds:
        learnt: dict[Variant, dict[str, Tensor]] = {}
        for name in names:
            variant, start = VARIANTS[name], time.monotonic()
            run = Training(variant, seed, training, plans)
            if variant.joint() not in learnt:
                run.joint_stage()
                learnt[variant.joint()] = copy.deepcopy(run.network.state_dict())
            run.network.load_state_dict(learnt[variant.joint()])
            run.finetuning_stage()
            scores, dice = run.answers(unseen)
            row: dict[str, str | int] = {"variant": name, "seed": seed, "nodules": len(unseen.labels)}
            row["expected_auc"] = f"{expected_auc(scores[:, run.primary], unseen.probability):.4f}"
            for position, task in enumerate(run.plan.schema.task_names):
                known = unseen.labels[:, position] >= 0
                auc = auc_score(unseen.labels[known, position], scores[known, position])
                row[f"{task}_auc"] = f"{auc:.4f}"
            yield {**row, "dice": f"{dice:.4f}", "minutes": f"{(time.monotonic() - start) / 60:.1f}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of a phantom study")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("-o", dest="out", type=Path, required=True, help="CSV to which the rows are added")
    args = parser.parse_args()
    for row in rows(args.study, args.variants, args.seeds):
        print(row, flush=True)
        begun = args.out.is_file()
        with args.out.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(row), lineterminator="\n")
            if not begun:
                writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main()
