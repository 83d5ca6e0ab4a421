"""What a trainer reads: folds, context volumes, the nodules of both sets, loaders and what they do to a patch."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.configuration import default_num_processes
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from torch import distributed as dist

from dsmt_nnunet.dataloading.augmentation import dual_scale, keeping_size_and_density
from dsmt_nnunet.dataloading.background import WatchedAugmenter
from dsmt_nnunet.dataloading.context_volumes import ContextStore, make_context_volumes, positions_of
from dsmt_nnunet.dataloading.dual_scale_loader import DualScaleDataLoader
from dsmt_nnunet.dataloading.mask_checks import check_preprocessed_masks
from dsmt_nnunet.dataloading.raw_masks import check_scans
from dsmt_nnunet.dataloading.sampling import SampledNodule, class_weights, locate_nodules
from dsmt_nnunet.dataloading.splits import check_fold, grouped_splits
from dsmt_nnunet.files import write_json
from dsmt_nnunet.inference.trained_plans import check_trained_with
from dsmt_nnunet.nnunet_files import read_splits
from dsmt_nnunet.nnunet_folders import RawCases, read_nodule_table
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.planners.preprocessing import check_preprocessed
from dsmt_nnunet.tasks import UNKNOWN_LABEL
from dsmt_nnunet.trainers.planned_trainer import PlannedTrainer
from dsmt_nnunet.training.checkpoints import TRAINING_CASES, cases_digest
from dsmt_nnunet.training.environment import seed_of_run, worker_seeds
from dsmt_nnunet.training.losses import MultiTaskLoss
from dsmt_nnunet.training.ranks import on_first_rank
from dsmt_nnunet.training.wide_part import NodulePatches, WidePart

MAX_VALIDATION_ITERATIONS = 50
Augmenter: TypeAlias = SingleThreadedAugmenter | WatchedAugmenter


class DataTrainer(PlannedTrainer):
    """Gives training and validation their batches, and what follows from the nodules in them; `DSMTTrainer` trains."""

    my_init_kwargs: dict[str, Any]
    # All three are made with the loaders.
    classification_loss: MultiTaskLoss | None = None
    wide_part: WidePart | None = None
    validation_wide_part: WidePart | None = None

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
            check_fold(
                read_splits(splits_file),
                int(self.fold),
                self._nodule_table(),
                self.dsmt_plan.schema,
                self._whole_dataset().identifiers,
            )
        train, validation = super().do_split()
        return list(train), list(validation)

    def _whole_dataset(self) -> nnUNetBaseDataset:
        if self.dataset_class is None:
            raise RuntimeError("The trainer must be initialised before its data are read.")
        return self.dataset_class(self.preprocessed_dataset_folder)

    def _nodule_table(self) -> NoduleTable:
        return read_nodule_table(self.plans_manager.dataset_name, self.dsmt_plan.schema)

    def _context_store(self) -> ContextStore:
        return ContextStore.beside(self.preprocessed_dataset_folder, self.dsmt_plan.context)

    def _make_context_volumes(self) -> None:
        dataset, store, table = self._whole_dataset(), self._context_store(), self._nodule_table()
        raw = os.environ.get("nnUNet_raw")
        doubt = check_preprocessed(
            Path(self.preprocessed_dataset_folder),
            self.plans_manager.plans,
            Path(raw) / self.plans_manager.dataset_name if raw else None,
        )
        if doubt:
            self.print_to_log_file(f"WARNING: {doubt}")
        made = make_context_volumes(
            dataset,
            store,
            RawCases.of(self.plans_manager.dataset_name),
            self.plans_manager,
            self.configuration_manager.spacing,
            max(1, min(default_num_processes, os.cpu_count() or 1)),
            positions_of(table),
        )
        check_preprocessed_masks(table, dataset, store.local_geometry)
        check_scans({case_id: store.scan_of(case_id) for case_id in dataset.identifiers}, table)
        if made:
            self.print_to_log_file(f"Made {made} context volumes.")

    def check_goes_on(self, checkpoint: str) -> None:
        """Checks that the checkpoint that was loaded learnt from the cases, and with the plans, that there are now.

        Raises:
            ValueError: it did not; cases that it knows might be validated.
        """
        check_trained_with(Path(checkpoint), self.plans_manager.plans, f"{self.plans_manager.plans_name}.json holds")
        then = self.my_init_kwargs.get(TRAINING_CASES)
        if then is not None and then != cases_digest(self.do_split()[0]):
            raise ValueError(
                f"{checkpoint} learnt from other cases than fold {self.fold} trains on now: the folds have changed, "
                f"and cases that it knows would be validated. Put the splits_final.json of that training back, or "
                f"train the fold anew (without --c and --val)."
            )

    def get_dataloaders(self) -> tuple[Augmenter, Augmenter]:
        on_first_rank(self._make_context_volumes, self.local_rank, self._ranks)
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
        self.my_init_kwargs = {**self.my_init_kwargs, TRAINING_CASES: cases_digest(train_set.identifiers)}
        table = self._nodule_table()
        train_nodules = self._nodules_of(table, train_set.identifiers)
        validation_nodules = self._nodules_of(table, validation_set.identifiers)
        self._check_training_nodules(train_nodules)
        self.num_val_iterations_per_epoch = max(
            1, min(MAX_VALIDATION_ITERATIONS, math.ceil(len(validation_nodules) / (self.batch_size * self._ranks)))
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

    @property
    def _ranks(self) -> int:
        """Processes that train together."""
        return dist.get_world_size() if self.is_ddp else 1

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
                f"'{schema.primary_task}', which cannot be learnt then. Add cases of that class, or write a "
                f"splits_final.json whose folds all have one: folds are drawn the same way every time, so that making "
                f"them anew does not help."
            )

    def _loader(
        self,
        dataset: nnUNetBaseDataset,
        patch_size: Sequence[int],
        nodules: list[SampledNodule],
        transforms: BasicTransform,
        training: bool,
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
            rank=self.local_rank,
            ranks=self._ranks,
        )

    def _in_background(self, loader: DualScaleDataLoader, workers: int) -> Augmenter:
        seed = seed_of_run()
        if get_allowed_n_proc_DA() == 0:
            return SingleThreadedAugmenter(loader, None)
        augmenter = WatchedAugmenter(
            data_loader=loader,
            transform=None,
            num_processes=workers,
            num_cached=max(3, workers),
            seeds=None if seed is None else worker_seeds(seed, workers, self.local_rank, self.current_epoch),
            pin_memory=self.device.type == "cuda",
            wait_time=0.002,
        )
        next(augmenter)
        return augmenter
