"""DSMTTrainer: nnU-Net's trainer with the context, the heads and the two stages. It wires; the library computes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.configuration import default_num_processes
from nnunetv2.training.loss.dice import get_tp_fp_fn_tn
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.collate_outputs import collate_outputs
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from torch import distributed as dist
from torch import nn

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.dataloading.augmentation import dual_scale, keeping_size_and_density
from dsmt_nnunet.dataloading.context_volumes import ContextStore, make_context_volumes
from dsmt_nnunet.dataloading.dual_scale_loader import DualScaleDataLoader
from dsmt_nnunet.dataloading.sampling import SampledNodule, class_weights, locate_nodules
from dsmt_nnunet.dataloading.splits import check_fold, grouped_splits
from dsmt_nnunet.files import whole_file, write_json
from dsmt_nnunet.inference.air_padding import AirPaddedPredictor
from dsmt_nnunet.inference.nnunet_hook import validation_predictor
from dsmt_nnunet.inference.validation import classify_validation_cases
from dsmt_nnunet.nnunet_files import resolve_configuration
from dsmt_nnunet.nnunet_folders import read_nodule_table, training_images
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.plan import PLAN_KEY, DSMTPlan, check_configuration, derive_plan
from dsmt_nnunet.tasks import UNKNOWN_LABEL, ClassificationSchema
from dsmt_nnunet.training.environment import (
    SEED_VARIABLE,
    VALIDATION_VARIABLE,
    seed_of_run,
    threads_of_run,
    validation_wanted,
)
from dsmt_nnunet.training.epoch_metrics import mean_of_defined, nodule_aucs, smoothed
from dsmt_nnunet.training.logger import DSMTLogger
from dsmt_nnunet.training.losses import MultiTaskLoss
from dsmt_nnunet.training.stages import (
    BACKBONE,
    CLASSIFICATION,
    PRIMARY_HEAD,
    Stage,
    StageScheduler,
    stage_of,
    task_weights,
)
from dsmt_nnunet.training.wide_part import NodulePatches, WidePart

MAX_VALIDATION_ITERATIONS = 50


class DSMTTrainer(nnUNetTrainer):
    """Trains segmentation and classification of nodules: a joint stage, then fine-tuning of the primary task.

    The budget is the plan's; subclasses may set `epochs`.
    """

    epochs: ClassVar[int | None] = None
    save_every: int
    changes: ClassVar[tuple[Callable[[DSMTPlan], DSMTPlan], ...]] = ()
    """Applied to the plan one after the other: what makes a baseline or an ablation."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008  nnU-Net's own signature, which it inspects
    ) -> None:
        dsmt_plan = self.make_plan(plans, configuration, dataset_json)
        plans[PLAN_KEY] = dsmt_plan.to_block()
        # nnU-Net's command sets this key and its constructor takes it away; other callers need not know.
        plans.setdefault("continue_training", False)
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.label_manager.has_regions or self.label_manager.has_ignore_label:
            raise ValueError("DSMT needs plain labels in dataset.json: no regions and no ignore label.")
        self.dsmt_plan = dsmt_plan
        training = dsmt_plan.training
        self.num_epochs = training.epochs
        self.num_iterations_per_epoch = training.iterations_per_epoch
        self.initial_lr, self.weight_decay = training.learning_rate, training.weight_decay
        self.save_every = min(self.save_every, max(1, self.num_epochs // 10))
        self.classification_loss: MultiTaskLoss | None = None  # -> get_dataloaders
        self.wide_part: WidePart | None = None  # -> get_dataloaders
        self.validation_wide_part: WidePart | None = None
        self.logger.local_logger = DSMTLogger(
            dsmt_plan.schema.task_names, dsmt_plan.schema.primary_task, training.joint_epochs
        )
        # Pseudo Dice never selects a checkpoint; the slot of nnU-Net's checkpoints holds our score.
        self._best_ema = math.inf
        self._best_score = -math.inf

    @classmethod
    def make_plan(cls, plans: Mapping[str, Any], configuration: str, dataset_json: Mapping[str, Any]) -> DSMTPlan:
        """The plans' own plan, or one derived for stock plans, with this class's epochs and changes.

        Raises:
            ValueError: the configuration cannot be used, or plans and dataset.json name different tasks.
        """
        check_configuration(resolve_configuration(plans, configuration), configuration)
        if PLAN_KEY in plans:
            plan = DSMTPlan.from_plans(plans)
            schema = ClassificationSchema.from_dataset_json(dataset_json)
            if plan.schema != schema:
                raise ValueError(
                    f"The plans were made for the tasks {plan.schema.to_block()}, dataset.json names "
                    f"{schema.to_block()}. Plan again with 'dsmt plan'."
                )
        else:
            plan = derive_plan(plans, configuration, dataset_json)
        if cls.epochs:
            plan = replace(plan, training=plan.training.with_epochs(cls.epochs))
        for change in cls.changes:
            plan = change(plan)
        return plan

    @staticmethod
    def build_network_architecture(
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        return build_network(
            DSMTPlan.from_plans(plans_manager.plans),
            configuration_manager,
            num_input_channels,
            num_output_channels,
            enable_deep_supervision,
        )

    def initialize(self) -> None:
        seed = seed_of_run()
        if seed is not None:
            self.print_to_log_file(f"{SEED_VARIABLE} is {seed}.")
            torch.manual_seed(seed)
            np.random.seed(seed)
        threads = threads_of_run()
        if threads is not None and self.device.type == "cpu":
            torch.set_num_threads(threads)
        super().initialize()
        self._bare_network().use_precision(Precision.choose(self.device))

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, StageScheduler]:
        network = self._bare_network()
        primary_head = list(network.heads[self.dsmt_plan.schema.primary_index].parameters())
        of_primary = {id(parameter) for parameter in primary_head}
        others = [parameter for parameter in network.classification_parameters() if id(parameter) not in of_primary]
        # nnU-Net logs the rate of the first group: the one that learns in both stages.
        groups = [
            {"params": primary_head, "name": PRIMARY_HEAD},
            {"params": others, "name": CLASSIFICATION},
            {"params": network.backbone_parameters(), "name": BACKBONE},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, StageScheduler(optimizer, self.dsmt_plan)

    def _bare_network(self) -> DSMTNet:
        network: Any = self.network.module if self.is_ddp and hasattr(self.network, "module") else self.network
        bare: DSMTNet = getattr(network, "_orig_mod", network)  # torch.compile wraps it
        return bare

    def do_split(self) -> tuple[list[str], list[str]]:
        splits_file = Path(self.preprocessed_dataset_folder_base) / "splits_final.json"
        if self.fold != "all" and not splits_file.is_file():
            dataset = self._whole_dataset()
            splits = grouped_splits(self._nodule_table(), dataset.identifiers, self.dsmt_plan.schema)
            write_json(splits_file, splits, indent=4)
            self.print_to_log_file(
                f"Made {len(splits)} folds grouped by patient and stratified by {self.dsmt_plan.schema.primary_task}."
            )
        if self.fold != "all":
            check_fold(load_json(str(splits_file)), int(self.fold), self._nodule_table(), self.dsmt_plan.schema)
        return super().do_split()

    def _whole_dataset(self) -> Any:
        if self.dataset_class is None:
            raise RuntimeError("The trainer must be initialised before its data are read.")
        return self.dataset_class(self.preprocessed_dataset_folder)

    def _nodule_table(self) -> NoduleTable:
        return read_nodule_table(self.plans_manager.dataset_name, self.dsmt_plan.schema)

    def _context_store(self) -> ContextStore:
        return ContextStore.beside(self.preprocessed_dataset_folder, self.dsmt_plan.context)

    def _make_context_volumes(self) -> None:
        if self.local_rank == 0:
            made = make_context_volumes(
                self._whole_dataset(),
                self._context_store(),
                training_images(self.plans_manager.dataset_name),
                self.plans_manager,
                self.configuration_manager.spacing,
                processes=max(1, min(default_num_processes, os.cpu_count() or 1)),
            )
            if made:
                self.print_to_log_file(f"Made {made} context volumes.")
        if self.is_ddp:
            dist.barrier()

    def get_dataloaders(self) -> tuple[Any, Any]:
        self._make_context_volumes()
        patch_size = self.configuration_manager.patch_size
        scales = self._get_deep_supervision_scales()
        rotation, dummy_2d, initial_patch_size, mirror_axes = (
            self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        stock = self.get_training_transforms(
            patch_size,
            rotation,
            scales,
            mirror_axes,
            dummy_2d,
            use_mask_for_norm=self.configuration_manager.use_mask_for_norm,
            foreground_labels=self.label_manager.foreground_labels,
        )
        training_transforms = dual_scale(
            keeping_size_and_density(stock) if self.dsmt_plan.training.keeps_size_and_density else stock,
            self.configuration_manager.spacing,
            self.dsmt_plan.context.grid,
        )
        validation_transforms = self.get_validation_transforms(
            scales, foreground_labels=self.label_manager.foreground_labels
        )
        train_set, validation_set = self.get_tr_and_val_datasets()
        table = self._nodule_table()
        train_nodules = self._nodules_of(table, train_set.identifiers)
        validation_nodules = self._nodules_of(table, validation_set.identifiers)
        self._check_training_nodules(train_nodules)
        self.num_val_iterations_per_epoch = max(
            1, min(MAX_VALIDATION_ITERATIONS, math.ceil(len(validation_nodules) / self.batch_size))
        )
        self.classification_loss = MultiTaskLoss(
            self.dsmt_plan.schema,
            self.dsmt_plan.training.task_weights,
            class_weights(train_nodules, self.dsmt_plan),
        ).to(self.device)
        self._make_wide_parts(train_nodules, validation_nodules)
        train = self._loader(train_set, initial_patch_size, train_nodules, training_transforms, training=True)
        validation = self._loader(validation_set, patch_size, validation_nodules, validation_transforms, training=False)
        # One worker takes the validation nodules in turn, so that every epoch sees each of them.
        return self._in_background(train, get_allowed_n_proc_DA()), self._in_background(validation, 1)

    def _make_wide_parts(self, train: list[SampledNodule], validation: list[SampledNodule]) -> None:
        start = time.time()
        patches = NodulePatches(
            self._whole_dataset(),
            self._context_store(),
            self.dsmt_plan,
            tuple(int(length) for length in self.configuration_manager.patch_size),
            self.device,
        )
        network = self._bare_network()
        self.wide_part = WidePart(network, self.dsmt_plan, train, patches)
        self.wide_part.prepare(continued=self.current_epoch > 0)
        self.validation_wide_part = WidePart(network, self.dsmt_plan, validation, patches)
        self.validation_wide_part.ask_fitted()
        self.print_to_log_file(
            f"Measured and fitted the wide part on {len(train)} training nodules in {time.time() - start:.0f} s."
        )

    def _nodules_of(self, table: NoduleTable, case_ids: list[str]) -> list[SampledNodule]:
        return locate_nodules(table, case_ids, self._context_store(), self.dsmt_plan)

    def _check_training_nodules(self, nodules: list[SampledNodule]) -> None:
        schema = self.dsmt_plan.schema
        primary = schema.primary
        known = [label for nodule in nodules if (label := nodule.labels[schema.primary_index]) != UNKNOWN_LABEL]
        seen = {primary.stratum(primary.classes[label]) for label in known}
        absent = [name for name in primary.strata if name not in seen]
        if absent:
            raise ValueError(
                f"Fold {self.fold} has no training nodule of class {absent} of the primary task "
                f"'{schema.primary_task}', which cannot be learnt then. Add cases, or remove splits_final.json to have "
                f"stratified folds made anew."
            )

    def _loader(
        self, dataset: Any, patch_size: Any, nodules: list[SampledNodule], transforms: Any, training: bool
    ) -> DualScaleDataLoader:
        return DualScaleDataLoader(
            dataset,
            self.batch_size,
            patch_size,
            self.configuration_manager.patch_size,
            self.label_manager,
            transforms=transforms,
            nodules=nodules,
            store=self._context_store(),
            plan=self.dsmt_plan,
            spacing_mm=self.configuration_manager.spacing,
            training=training,
        )

    def _in_background(self, loader: DualScaleDataLoader, workers: int) -> Any:
        seed = seed_of_run()
        if get_allowed_n_proc_DA() == 0:
            return SingleThreadedAugmenter(loader, None)
        augmenter = NonDetMultiThreadedAugmenter(
            data_loader=loader,
            transform=None,
            num_processes=workers,
            num_cached=max(3, workers),
            seeds=None if seed is None else [1000 * seed + worker for worker in range(workers)],
            pin_memory=self.device.type == "cuda",
            wait_time=0.002,
        )
        next(augmenter)
        return augmenter

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        stage = stage_of(self.current_epoch, self.dsmt_plan)
        self.print_to_log_file(f"Stage: {stage.value}")
        if stage is Stage.FINETUNING:
            # Statistics of the batch and dropout belong to what is learning.
            network = self._bare_network()
            network.eval()
            network.heads[self.dsmt_plan.schema.primary_index].train()
        # DistributedDataParallel waits for a gradient of every parameter it has seen: there a rate of 0 has to do.
        if not self.is_ddp:
            for group in self.optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.requires_grad_(stage is Stage.JOINT or group["name"] == PRIMARY_HEAD)

    def _forward(self, batch: Mapping[str, Any]) -> tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor, Any]:
        """Output, segmentation loss, classification loss, single task losses (T,), target."""
        data = batch["data"].to(self.device, non_blocking=True)
        context = batch["context"].to(self.device, non_blocking=True)
        target = [scale.to(self.device, non_blocking=True) for scale in self._as_list(batch["target"])]
        stage = stage_of(self.current_epoch, self.dsmt_plan)
        training = torch.is_grad_enabled()
        part = self.wide_part if training else self.validation_wide_part
        assert part is not None
        targets, wide = part.batch(batch["nodules"], self.device, training and self._on_probation())
        output = self.network(data, context, wide)
        segmentation = self._as_list(output.segmentation)
        if self.enable_deep_supervision:
            segmentation_loss = self.loss(segmentation, target)
        else:
            segmentation_loss = self.loss(segmentation[0], target[0])
        assert self.classification_loss is not None
        classification_loss, single = self.classification_loss(
            output.tasks, targets, task_weights(stage, self.dsmt_plan)
        )
        return output, segmentation_loss, classification_loss, single, target

    def _on_probation(self) -> bool:
        """Whether the deep part's share has still to be decided."""
        return self.current_epoch < self.dsmt_plan.training.probation_epochs

    @staticmethod
    def _as_list(value: Any) -> list[torch.Tensor]:
        return list(value) if isinstance(value, list | tuple) else [value]

    def train_step(self, batch: dict) -> dict:
        self.optimizer.zero_grad(set_to_none=True)
        _, segmentation_loss, classification_loss, single, _ = self._forward(batch)
        joint = stage_of(self.current_epoch, self.dsmt_plan) is Stage.JOINT
        weight = self.dsmt_plan.training.segmentation_weight if joint else 0.0
        # Distributed training waits for a gradient of every parameter; otherwise half a step is saved.
        loss = classification_loss + weight * segmentation_loss if weight or self.is_ddp else classification_loss
        if self.grad_scaler is not None:
            self.grad_scaler.scale(loss).backward()
            self.grad_scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
        else:
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
            if not torch.isfinite(norm):
                raise RuntimeError(
                    f"Epoch {self.current_epoch}: the gradients are not finite (norm {norm.item()}, loss "
                    f"{loss.item()}); the step was not taken. Continue from the last checkpoint with --c, on a CPU "
                    f"with dsmt_precision=fp32; if it happens again, look for voxels that are not finite."
                )
            self.optimizer.step()
        losses = torch.cat([loss.detach()[None], segmentation_loss.detach()[None], single]).cpu().numpy()
        return {"loss": losses[0], "seg_loss": losses[1], "task_losses": losses[2:]}

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        super().on_train_epoch_end(train_outputs)
        outputs = collate_outputs(train_outputs)
        task_losses = np.reshape(outputs["task_losses"], (len(train_outputs), -1))
        self.logger.log("train_seg_loss", float(np.mean(outputs["seg_loss"])), self.current_epoch)
        self._log_task_values("train_loss", mean_of_defined(np.concatenate(self._from_all_ranks(task_losses))))

    def validation_step(self, batch: dict) -> dict:
        output, segmentation_loss, classification_loss, single, target = self._forward(batch)
        finest = self._as_list(output.segmentation)[0]
        predicted = torch.zeros_like(finest, dtype=torch.float16).scatter_(1, finest.argmax(1, keepdim=True), 1)
        tp, fp, fn, _ = get_tp_fp_fn_tn(predicted, target[0], axes=[0, 2, 3, 4])
        return {
            "loss": (segmentation_loss + classification_loss).cpu().numpy(),
            "tp_hard": tp[1:].cpu().numpy(),
            "fp_hard": fp[1:].cpu().numpy(),
            "fn_hard": fn[1:].cpu().numpy(),
            "tasks": {
                "logits": [logits.float().cpu().numpy() for logits in output.tasks],
                "labels": batch["labels"].numpy(),
                "nodules": batch["nodules"],
                "losses": single.cpu().numpy(),
            },
        }

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        outputs = [output.pop("tasks") for output in val_outputs]
        super().on_validation_epoch_end(val_outputs)
        outputs = [output for rank in self._from_all_ranks(outputs) for output in rank]
        self._log_task_values("val_loss", mean_of_defined(np.stack([output["losses"] for output in outputs])))
        self._log_task_values("val_auc", nodule_aucs(outputs, self.dsmt_plan.schema.tasks))

    def _from_all_ranks(self, item: Any) -> list[Any]:
        """The item of each process of a distributed training."""
        if not self.is_ddp:
            return [item]
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, item)
        return gathered

    def _log_task_values(self, kind: str, values: Any) -> None:
        for name, value in zip(self.dsmt_plan.schema.task_names, values, strict=True):
            self.logger.log(f"{kind}_{name}", float(value), self.current_epoch)

    def on_epoch_end(self) -> None:
        schema = self.dsmt_plan.schema
        score = self._selection_score()
        self.logger.log("selection_score", score, self.current_epoch)
        for name in schema.task_names:
            self.print_to_log_file(
                f"{name}: train loss {self.logger.get_value(f'train_loss_{name}', -1):.4f}, "
                f"val loss {self.logger.get_value(f'val_loss_{name}', -1):.4f}, "
                f"val AUC {self.logger.get_value(f'val_auc_{name}', -1):.3f}"
            )
        assert self.wide_part is not None
        improved = score > self._best_score
        self._best_score = max(score, self._best_score)
        super().on_epoch_end()
        # nnU-Net has counted on; the checkpoints belong to the epoch that ended.
        self.current_epoch -= 1
        if improved:
            self.print_to_log_file(f"New best smoothed AUC of {schema.primary_task}: {score:.4f}")
            self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_best.pth"))
        if self.current_epoch == self.dsmt_plan.training.probation_epochs - 1:
            for sentence in self.wide_part.decide_shares():
                self.print_to_log_file(sentence)
        if self.current_epoch == self.dsmt_plan.training.joint_epochs - 1:
            self.wide_part.finish()
            self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_joint.pth"))
        self.current_epoch += 1

    def _selection_score(self) -> float:
        """Smoothed AUC of the primary task; where it is never defined, the smoothed Dice, ranked below any AUC."""
        primary = self.dsmt_plan.schema.primary_task
        auc = smoothed(self.logger.get_value(f"val_auc_{primary}", None))
        return float(self.logger.get_value("ema_fg_dice", -1)) - 1.0 if math.isnan(auc) else auc

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's checkpoint, appearing whole or not at all."""
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        self._best_ema = self._best_score
        try:
            with whole_file(filename) as place:
                super().save_checkpoint(str(place))
        finally:
            self._best_ema = math.inf

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        super().load_checkpoint(filename_or_checkpoint)
        self._best_score, self._best_ema = self._best_ema, math.inf

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        if not validation_wanted():
            self.print_to_log_file(f"{VALIDATION_VARIABLE} is off: no validation.")
            return
        start = time.time()
        with validation_predictor(AirPaddedPredictor):
            super().perform_actual_validation(save_probabilities)
        if self.local_rank == 0:
            _, case_ids = self.do_split()
            self.set_deep_supervision_enabled(False)
            classified = classify_validation_cases(self, case_ids, self._nodule_table())
            self.set_deep_supervision_enabled(self.enable_deep_supervision)
            self.print_to_log_file(
                f"Classified {classified} validation nodules; validation took {time.time() - start:.0f} s."
            )
        if self.is_ddp:
            dist.barrier()
