"""DSMTTrainer: nnU-Net's trainer with the context, the heads and the two stages. It wires; the library computes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from nnunetv2.training.loss.dice import get_tp_fp_fn_tn
from nnunetv2.utilities.collate_outputs import collate_outputs
from torch import Tensor
from torch import distributed as dist

from dsmt_nnunet.architecture.network import DSMTOutput
from dsmt_nnunet.dataloading.dual_scale_loader import Batch
from dsmt_nnunet.files import check_archive, last_line, whole_file
from dsmt_nnunet.inference.air_padding import AirPaddedPredictor
from dsmt_nnunet.inference.nnunet_hook import validation_predictor
from dsmt_nnunet.inference.trained_plans import check_trained_by
from dsmt_nnunet.inference.validation import classify_validation_cases, leave_out_validation
from dsmt_nnunet.inference.weights import weights_digest
from dsmt_nnunet.plan import PLAN_KEY
from dsmt_nnunet.trainers.data_trainer import DataTrainer
from dsmt_nnunet.trainers.planned_trainer import START
from dsmt_nnunet.training.checkpoints import whole_checkpoint
from dsmt_nnunet.training.environment import VALIDATION_VARIABLE, validation_wanted
from dsmt_nnunet.training.epoch_metrics import FloatArray, TaskOutputs, mean_of_defined, nodule_aucs, smoothed
from dsmt_nnunet.training.places import forget_places
from dsmt_nnunet.training.ranks import on_first_rank
from dsmt_nnunet.training.stages import PRIMARY_HEAD, Stage, stage_of, task_weights

BEST_CHECKPOINT = "checkpoint_best.pth"
"""Of all epochs; --val_best asks for this one and no other."""
Item = TypeVar("Item")


class _Forward(NamedTuple):
    """What a batch gives: output, target (one a scale), both losses and those of the single tasks, (T,)."""

    output: DSMTOutput
    target: list[Tensor]
    segmentation_loss: Tensor
    classification_loss: Tensor
    single: Tensor


class DSMTTrainer(DataTrainer):
    """Trains segmentation and classification of nodules: a joint stage, then fine-tuning of the primary task.

    Its data are `DataTrainer`'s, its network and budget `PlannedTrainer`'s. Subclasses may set `epochs` and `changes`.
    """

    _best_score = -math.inf

    def initialize(self) -> None:
        super().initialize()
        # Pseudo Dice never selects a checkpoint; the slot of nnU-Net's checkpoints holds our score.
        self._best_ema = math.inf

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        stage = stage_of(self.current_epoch, self.dsmt_plan)
        self.print_to_log_file(f"Stage: {stage.value}")
        if stage is Stage.FINETUNING:
            # Statistics of the batch and dropout belong to what is learning.
            network = self._bare_network()
            network.eval()
            head = network.task_heads[self.dsmt_plan.schema.primary_index]
            head.train()
            if not float(head.share):
                self.print_to_log_file("The deep part of the primary task has no share: there is nothing to fine-tune.")
                self.num_iterations_per_epoch = 1
        # DistributedDataParallel waits for a gradient of every parameter it has seen: there a rate of 0 has to do.
        if not self.is_ddp:
            for group in self.optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.requires_grad_(stage is Stage.JOINT or group["name"] == PRIMARY_HEAD)

    def _forward(self, batch: Batch) -> _Forward:
        data = batch["data"].to(self.device, non_blocking=True)
        context = batch["context"].to(self.device, non_blocking=True)
        target = [scale.to(self.device, non_blocking=True) for scale in self._as_list(batch["target"])]
        stage = stage_of(self.current_epoch, self.dsmt_plan)
        training = torch.is_grad_enabled()
        part = self.wide_part if training else self.validation_wide_part
        assert part is not None
        targets, wide = part.batch(batch["nodules"], self.device, training)
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
        return _Forward(output, target, segmentation_loss, classification_loss, single)

    @staticmethod
    def _as_list(value: Tensor | Sequence[Tensor]) -> list[Tensor]:
        return [value] if isinstance(value, Tensor) else list(value)

    def train_step(self, batch: Batch) -> dict[str, FloatArray]:
        self.optimizer.zero_grad(set_to_none=True)
        _, _, segmentation_loss, classification_loss, single = self._forward(batch)
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

    def on_train_epoch_end(self, train_outputs: list[dict[str, FloatArray]]) -> None:
        super().on_train_epoch_end(train_outputs)
        outputs = collate_outputs(train_outputs)
        task_losses = np.reshape(outputs["task_losses"], (len(train_outputs), -1))
        self.logger.log("train_seg_loss", float(np.mean(outputs["seg_loss"])), self.current_epoch)
        self._log_task_values("train_loss", mean_of_defined(np.concatenate(self._from_all_ranks(task_losses))))

    def validation_step(self, batch: Batch) -> dict[str, Any]:
        output, target, segmentation_loss, classification_loss, single = self._forward(batch)
        finest = self._as_list(output.segmentation)[0]
        predicted = torch.zeros_like(finest, dtype=torch.float16).scatter_(1, finest.argmax(1, keepdim=True), 1)
        tp, fp, fn, _ = get_tp_fp_fn_tn(predicted, target[0], axes=[0, 2, 3, 4])
        return {
            "loss": (segmentation_loss + classification_loss).cpu().numpy(),
            "tp_hard": tp[1:].cpu().numpy(),
            "fp_hard": fp[1:].cpu().numpy(),
            "fn_hard": fn[1:].cpu().numpy(),
            "tasks": TaskOutputs(
                nodules=batch["nodules"],
                labels=batch["labels"].numpy(),
                logits=[logits.float().cpu().numpy() for logits in output.tasks],
                losses=single.cpu().numpy(),
            ),
        }

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        own: list[TaskOutputs] = [output.pop("tasks") for output in val_outputs]
        super().on_validation_epoch_end(val_outputs)
        outputs = [output for rank in self._from_all_ranks(own) for output in rank]
        self._log_task_values("val_loss", mean_of_defined(np.stack([output["losses"] for output in outputs])))
        self._log_task_values("val_auc", nodule_aucs(outputs, self.dsmt_plan.schema.tasks))

    def _from_all_ranks(self, item: Item) -> list[Item]:
        """The item of each process of a distributed training."""
        if not self.is_ddp:
            return [item]
        gathered = [item] * dist.get_world_size()
        dist.all_gather_object(gathered, item)
        return gathered

    def _log_task_values(self, kind: str, values: Iterable[float]) -> None:
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
            self.save_checkpoint(str(Path(self.output_folder) / BEST_CHECKPOINT))
        ends_joint = self.current_epoch == self.dsmt_plan.training.joint_epochs - 1
        if ends_joint or self.current_epoch == self.dsmt_plan.training.probation_epochs - 1:
            for sentence in self.wide_part.decide_shares(last=ends_joint):
                self.print_to_log_file(sentence)
        if ends_joint:
            self.wide_part.finish()
            self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_joint.pth"))
        self.current_epoch += 1

    def on_train_end(self) -> None:
        super().on_train_end()
        if self.local_rank == 0:
            self.logger.local_logger.draw_progress(self.output_folder)

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
        except RuntimeError as error:  # torch says nothing of the disk
            raise OSError(
                f"{filename} was not written whole ({last_line(error)}). Is the disk full? The checkpoint before it is "
                f"kept; make room, and go on with --c."
            ) from error
        finally:
            self._best_ema = math.inf

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """nnU-Net's, of a whole file and these cases; `--c` goes on from the last whole one, `--val` does not."""
        if isinstance(filename_or_checkpoint, str):
            path, told = Path(filename_or_checkpoint), ""
            if self.is_continued and path.name != BEST_CHECKPOINT:
                path, told = whole_checkpoint(path)
            else:
                check_archive(path)
            if told:
                self.print_to_log_file(told)
            check_trained_by(path, type(self).__name__)
            filename_or_checkpoint = str(path)
        super().load_checkpoint(filename_or_checkpoint)
        if isinstance(filename_or_checkpoint, str):
            self.check_goes_on(filename_or_checkpoint)
        self._best_score, self._best_ema = self._best_ema, math.inf
        start = self.my_init_kwargs["plans"].get(PLAN_KEY, {}).get("decisions", {}).get(START)
        if start is not None:
            self._note_start(start)

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        if not validation_wanted():
            digest = weights_digest(self._bare_network().state_dict()) if self.local_rank == 0 else ""
            told = leave_out_validation(Path(self.output_folder) / "validation", digest) if digest else ""
            self.print_to_log_file(f"{VALIDATION_VARIABLE} is off: no validation. {told}")
            return
        start = time.time()
        with validation_predictor(AirPaddedPredictor):
            super().perform_actual_validation(save_probabilities)
        on_first_rank(lambda: self._classify_validation(start), self.local_rank, self._ranks)

    def _classify_validation(self, start: float) -> None:
        """Classifies the nodules of the validation, which began at `start`."""
        forget_places(Path(self.output_folder) / "validation" / "summary.json")
        _, case_ids = self.do_split()
        self.set_deep_supervision_enabled(False)
        classified = classify_validation_cases(self, case_ids, self._nodule_table())
        self.set_deep_supervision_enabled(self.enable_deep_supervision)
        self.print_to_log_file(
            f"Classified {classified} validation nodules; validation took {time.time() - start:.0f} s."
        )
