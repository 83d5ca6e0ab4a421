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
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor, nn

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.dataloading.context_volumes import ContextStore
from dsmt_nnunet.dataloading.padding import fill_values
from dsmt_nnunet.dataloading.sampling import NoduleSampler
from dsmt_nnunet.geometry import centred_start, crop
from dsmt_nnunet.inference.classifier import mirrorings
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.plan import PLAN_KEY, DSMTPlan
from dsmt_nnunet.statistics.roc.delong import auc_score
from dsmt_nnunet.study.runner import DATASET
from dsmt_nnunet.tasks import UNKNOWN_LABEL
from dsmt_nnunet.training.losses import MultiTaskLoss
from dsmt_nnunet.training.stages import POLY_EXPONENT

PLANS, CONFIGURATION = "DSMTPlansXS", "3d_fullres"
MARGIN = 4
"""Voxels around the patch, for shifts: 5 mm."""
LARGEST_CONTEXT = 42
"""Voxels a side of the context patch that is kept: 200 mm, and one around it for shifts."""
WARM_UP_STEPS = 80
Array = npt.NDArray[Any]


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


@dataclass(frozen=True)
class Patches:
    """Nodule-centred patches in memory.

    Attributes:
        local: (N, Z, Y, X), larger than the network's patch by `MARGIN` on each side.
        masks: of the same shape.
        context: (N, G, G, G), G being `LARGEST_CONTEXT`.
        labels: (N, T).
        probability: (N,) true probability of the primary task.
    """

    local: Array
    masks: Array
    context: Array
    labels: Array
    probability: Array

    def batch(self, indices: Sequence[int], patch: Sequence[int], variant: Variant, rng: Any) -> tuple[Tensor, ...]:
        """Local patches, masks and context patches, augmented if there is a generator."""
        parts: list[list[Array]] = [[], [], []]
        for index in indices:
            shift = rng.integers(-variant.jitter, variant.jitter + 1, 3) if rng is not None else np.zeros(3, dtype=int)
            grid = max(variant.context_grid, 8)
            arrays = [
                _middle(self.local[index], patch, shift).astype(np.float32),
                _middle(self.masks[index], patch, shift).astype(np.float32),
                _middle(self.context[index], (grid,) * 3, shift // 4).astype(np.float32),
            ]
            for part, array in zip(parts, _augmented(arrays, rng), strict=True):
                part.append(np.ascontiguousarray(array)[None])
        local, masks, context = (torch.from_numpy(np.stack(part)) for part in parts)
        return local, masks, context


def _middle(array: Array, size: Sequence[int], shift: Array) -> Array:
    low = [(have - want) // 2 + int(off) for have, want, off in zip(array.shape, size, shift, strict=True)]
    return array[tuple(slice(start, start + want) for start, want in zip(low, size, strict=True))]


def _augmented(arrays: list[Array], rng: Any) -> list[Array]:
    if rng is None:
        return arrays
    for axis in range(3):
        if rng.random() < 0.5:
            arrays = [np.flip(array, axis) for array in arrays]
    local, mask, context = arrays
    if rng.random() < 0.2:
        local = local * np.float32(rng.uniform(0.85, 1.15))
    if rng.random() < 0.15:
        local = local + rng.normal(0, rng.uniform(0, 0.3), local.shape).astype(np.float32)
    if rng.random() < 0.15:
        context = context * np.float32(rng.uniform(0.85, 1.15))
    return [local, mask, context]


def read_patches(study: Path) -> tuple[Patches, Patches, dict[str, Any]]:
    """Training patches of fold 0, patches of the unseen cases, and the plans."""
    raw, folder = study / "nnUNet_raw" / DATASET, study / "nnUNet_preprocessed" / DATASET
    plans = json.loads((folder / f"{PLANS}.json").read_text(encoding="utf-8"))
    learnt = set(json.loads((folder / "splits_final.json").read_text(encoding="utf-8"))[0]["train"])
    data = folder / plans["configurations"][CONFIGURATION]["data_identifier"]
    training = _patches(raw, raw / "nodules.csv", data, plans, learnt)
    unseen = _patches(raw, raw / "nodulesTs.csv", data.with_name(f"{data.name}_test"), plans, None)
    return training, unseen, plans


def _patches(raw: Path, table: Path, folder: Path, plans: dict[str, Any], wanted: set[str] | None) -> Patches:
    plan = DSMTPlan.from_plans(plans)
    size = [length + 2 * MARGIN for length in plans["configurations"][CONFIGURATION]["patch_size"]]
    truth = {
        (row.get("case_id"), row.get("nodule_id")): float(row.get("true_probability"))
        for row in read_csv(raw / "phantom_truth.csv").rows
    }
    dataset, store = infer_dataset_class(str(folder))(str(folder)), ContextStore.beside(folder, plan.context)
    columns: list[list[Any]] = [[], [], [], [], []]
    for nodule in NoduleTable.read(table, plan.schema).nodules:
        if wanted is not None and nodule.case_id not in wanted:
            continue
        image, mask, _, _ = dataset.load_case(nodule.case_id)
        start = centred_start(store.local_geometry(nodule.case_id).to_voxel(nodule.centre_mm), size)
        values = (
            crop(image, start, size, fill_values(plan.padding_value, image))[0].astype(np.float16),
            crop(mask, start, size, [-1])[0] > 0,
            store.load(nodule.case_id).patch(nodule.centre_mm, LARGEST_CONTEXT)[0],
            nodule.label_indices(plan.schema),
            truth[nodule.case_id, nodule.nodule_id],
        )
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return Patches(*(np.stack(column) for column in columns))


class Training:
    """One variant with one seed."""

    def __init__(self, variant: Variant, seed: int, patches: Patches, plans: dict[str, Any]) -> None:
        self.variant, self.patches = variant, patches
        plan = DSMTPlan.from_plans(plans)
        grid = variant.context_grid
        self.plan = replace(
            plan,
            context=replace(plan.context, grid=max(grid, 8)),
            use_context=grid > 0,
            heads=replace(plan.heads, pooling=variant.pooling),
        )
        configuration = PlansManager({**plans, PLAN_KEY: self.plan.to_block()}).get_configuration(CONFIGURATION)
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
        local, masks, context = self.patches.batch(indices, self.patch, self.variant, self.rng)
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
    def answers(self, unseen: Patches) -> tuple[Array, float]:
        """(N, T) log odds of the last class, and the mean Dice."""
        network: DSMTNet = self.network.eval()
        axes = mirrorings((0, 1, 2) if self.variant.mirrored else ())
        scores, dice = [], []
        for part in np.array_split(np.arange(len(unseen.labels)), max(1, len(unseen.labels) // 32)):
            local, masks, context = unseen.batch(part.tolist(), self.patch, self.variant, None)
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


def expected_auc(score: Array, probability: Array) -> float:
    """The AUC on average over labels drawn with their true probabilities: without the noise of one draw."""
    pairs = np.outer(probability, 1 - probability)
    np.fill_diagonal(pairs, 0)
    order = np.sign(score[:, None] - score[None]) / 2 + 0.5
    return float((pairs * order).sum() / pairs.sum())


def rows(study: Path, names: Sequence[str], seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """One row a variant and seed; variants that differ in the fine-tuning share the joint stage."""
    training, unseen, plans = read_patches(study)
    for seed in seeds:
        learnt: dict[Variant, Any] = {}
        for name in names:
            variant, start = VARIANTS[name], time.monotonic()
            run = Training(variant, seed, training, plans)
            if variant.joint() not in learnt:
                run.joint_stage()
                learnt[variant.joint()] = copy.deepcopy(run.network.state_dict())
            run.network.load_state_dict(learnt[variant.joint()])
            run.finetuning_stage()
            scores, dice = run.answers(unseen)
            row: dict[str, Any] = {"variant": name, "seed": seed, "nodules": len(unseen.labels)}
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
