"""What a trainer takes from its plan: the budget, the network, its precision, the groups of parameters that learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.architecture.start import take_start
from dsmt_nnunet.inference.start_weights import StartWeights, read_start_weights
from dsmt_nnunet.nnunet_files import resolve_configuration
from dsmt_nnunet.plan import PLAN_KEY, DSMTPlan
from dsmt_nnunet.plan_rules import check_configuration, derive_plan
from dsmt_nnunet.tasks import ClassificationSchema
from dsmt_nnunet.training.checkpoints import cases_digest
from dsmt_nnunet.training.environment import SEED_VARIABLE, seed_of_run, threads_of_run, validation_wanted
from dsmt_nnunet.training.logger import DSMTLogger
from dsmt_nnunet.training.places import forget_places
from dsmt_nnunet.training.stages import BACKBONE, CLASSIFICATION, PRIMARY_HEAD, StageScheduler

START = "start"
"""Among the plan's decisions, where a training did not start from zero."""


class PlannedTrainer(nnUNetTrainer):
    """nnU-Net's trainer with budget, network and optimizer of a `DSMTPlan`; `DSMTTrainer` is what trains.

    The budget is the plan's; subclasses may set `epochs`.
    """

    epochs: ClassVar[int | None] = None
    save_every: int
    changes: ClassVar[tuple[Callable[[DSMTPlan], DSMTPlan], ...]] = ()
    """Applied to the plan one after the other: what makes a baseline or an ablation."""

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  nnU-Net's own signature, which it inspects
    ) -> None:
        dsmt_plan = self.make_plan(plans, configuration, dataset_json)
        plans[PLAN_KEY] = dsmt_plan.to_block()
        # nnU-Net's command sets this key and its constructor takes it away; other callers need not know.
        self.is_continued = bool(plans.setdefault("continue_training", False))
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.label_manager.has_regions or self.label_manager.has_ignore_label:
            raise ValueError("DSMT needs plain labels in dataset.json: no regions and no ignore label.")
        self.dsmt_plan = dsmt_plan
        training = dsmt_plan.training
        self.num_epochs = training.epochs
        self.num_iterations_per_epoch = training.iterations_per_epoch
        self.initial_lr, self.weight_decay = training.learning_rate, training.weight_decay
        self.save_every = min(self.save_every, max(1, self.num_epochs // 10))
        self.logger.local_logger = DSMTLogger(
            dsmt_plan.schema.task_names, dsmt_plan.schema.primary_task, training.joint_epochs
        )

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
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
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
        validation_wanted()  # a value that is none is told now, not after the training
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

    def start_from(self, weights: str) -> None:
        """Starts at other weights (`-pretrained_weights`), and says what was taken of them and what was not.

        Args:
            weights: a checkpoint, a model's zip file or folder, or the name of a model that comes with the package.

        Raises:
            FileNotFoundError: there is no such file or model.
            ValueError: it cannot be read without running code, or nothing of its encoder fits.
        """
        found = read_start_weights(weights)
        start = take_start(self._bare_network(), self.dsmt_plan.schema.tasks, found.state, found.tasks)
        doubt = self._doubt_of(found)
        for sentence in (f"Start from {found.name}.", *start.sentences(), *doubt):
            self.print_to_log_file(sentence)
        self._note_start(" ".join([f"from {found.name}", *doubt]))

    def _doubt_of(self, found: StartWeights) -> list[str]:
        """What is doubtful of a start at weights that were trained on this very data set; nothing where none is."""
        if self.fold == "all" or found.dataset != self.plans_manager.dataset_name:
            return []
        same_fold, known = found.fold == str(self.fold), found.training_cases
        if same_fold and (not known or known == cases_digest(self.do_split()[0])):
            return []
        return [
            f"WARNING: these weights were trained on {found.dataset}, fold {found.fold or 'unknown'}, and may know "
            f"validation cases of fold {self.fold}; what is validated here is no evidence then."
        ]

    def _note_start(self, start: str) -> None:
        """Keeps in the plans that are saved with the model what it started from."""
        self.dsmt_plan = replace(self.dsmt_plan, decisions={**self.dsmt_plan.decisions, START: start})
        self.plans_manager.plans[PLAN_KEY] = self.dsmt_plan.to_block()

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

    def _save_debug_information(self) -> None:
        super()._save_debug_information()
        if self.local_rank == 0:
            forget_places(Path(self.output_folder) / "debug.json")

    def _bare_network(self) -> DSMTNet:
        network = self.network.module if self.is_ddp and hasattr(self.network, "module") else self.network
        bare = getattr(network, "_orig_mod", network)  # torch.compile wraps it
        assert isinstance(bare, DSMTNet)
        return bare
