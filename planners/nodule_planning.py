"""DSMT's decisions for nnU-Net's planners: the local patch sized from the nodules, and the rest of the DSMT block.

A mixin carries them, so that every planner of nnU-Net can serve: the plain U-Net and the ResEnc presets.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from dsmt_nnunet.architecture.build import build_context_encoder
from dsmt_nnunet.dataloading.sampling import MAX_CLASS_WEIGHT
from dsmt_nnunet.nnunet_files import CaseFiles, Configuration, DatasetJson, Fingerprint, Json, NnunetPlans
from dsmt_nnunet.nnunet_folders import read_nodule_table
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.plan import (
    MAX_BACKGROUND_SHARE,
    PLAN_KEY,
    ContextPlan,
    DSMTPlan,
    HeadPlan,
    TrainingPlan,
    WidePlan,
    probation,
)
from dsmt_nnunet.plan_rules import (
    SMALLEST_CONTEXT_MM,
    VIEWS_PER_EPOCH,
    background_share,
    context_grid,
    context_stages,
    context_windows,
    default_task_weights,
    iterations_per_epoch,
    padding_values,
    wide_plan,
)
from dsmt_nnunet.planners.nodule_extents import nodule_extents_mm
from dsmt_nnunet.tasks import ClassificationSchema, TaskKind

Vector = npt.NDArray[np.float64]
CONFIGURATION = "3d_fullres"
SMALLEST_CAP = 8
"""However few the nodules, so many patches may make a batch: fewer are too few to learn a binary label from."""


if TYPE_CHECKING:
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
        ExperimentPlanner as _NnunetPlanner,
    )
else:
    _NnunetPlanner = object


class DSMTPlanning(_NnunetPlanner):
    """Mixin for nnU-Net's planners. Class attributes are what a preset changes."""

    default_plans_name: ClassVar[str]
    default_memory_gb: ClassVar[float] = 8
    backbone_features: ClassVar[tuple[int, int] | None] = None
    """Of the backbone: channels of its first stage, and at most; None for nnU-Net's own."""
    margin_mm: ClassVar[float] = 16.0
    """Around the nodule, on each side, in the local patch: room for jitter, spicules and the pleura nearby."""
    context_field_of_view_mm: ClassVar[float] = 160.0
    context_spacing_mm: ClassVar[float] = 2.5
    context_features: ClassVar[tuple[int, ...]] = (32, 64, 128, 256)
    lateral_features: ClassVar[int] = 32
    hidden_features: ClassVar[int] = 128
    joint_epochs: ClassVar[int] = 200
    finetune_epochs: ClassVar[int] = 50
    max_iterations_per_epoch: ClassVar[int] = 250
    learning_rate: ClassVar[float] = 3e-4
    backbone_learning_rate: ClassVar[float | None] = None
    """Of the U-Net; None for that of the heads."""
    max_batch_size: ClassVar[int] = 24
    mirror_scans: ClassVar[bool] = True
    smallest_spacing_mm: ClassVar[float] = 0.0
    """The target spacing of scans is not finer than this."""
    smallest_spacing_of_crops_mm: ClassVar[float] = 0.0
    """The same of crops around nodules, in which no sliding window has a whole chest to cross."""

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float | None = None,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str | None = None,
        overwrite_target_spacing: Sequence[float] | None = None,
        suppress_transpose: bool = False,
    ) -> None:
        super().__init__(
            dataset_name_or_id,
            self.default_memory_gb if gpu_memory_target_in_gb is None else gpu_memory_target_in_gb,
            preprocessor_name,
            self.default_plans_name if plans_name is None else plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )
        if self.backbone_features is not None:
            self.UNet_base_num_features, self.UNet_max_features_3d = self.backbone_features

    def plan_experiment(self) -> dict[str, object]:
        self.lowres_creation_threshold = 0.0
        # nnU-Net caps the batch by voxels, 5 % of the data set; here nodules are what is sampled, see _batch_size.
        self.max_dataset_covered = 1.0
        self.schema = ClassificationSchema.from_dataset_json(self.dataset_json)
        self.decisions: dict[str, str] = {}
        table = read_nodule_table(self.dataset_name, self.schema)
        self._check_classes(table)
        masks = {name: Path(CaseFiles.parse(case).mask) for name, case in self.dataset.items()}
        self.extents_mm = nodule_extents_mm(masks, table, processes=os.cpu_count() or 1)
        self.empty_share = len(table.empty) / max(1, len(masks))
        self.nodule_count = len(table)
        self._decide_class_weights(table)
        plans: dict[str, object] = super().plan_experiment()
        for name, reason in self.decisions.items():
            print(f"{name}: {reason}")
        return plans

    def _check_classes(self, table: NoduleTable) -> None:
        primary = self.schema.primary
        labels = [primary.stratum(nodule.labels.get(primary.name)) for nodule in table.nodules]
        absent = [name for name in primary.strata if name not in labels]
        if absent:
            raise ValueError(
                f"{self.dataset_name} has no training nodule of class {absent} of the primary task '{primary.name}'. "
                f"Add cases of that class, or take it out of the classification block of dataset.json."
            )

    def _decide_class_weights(self, table: NoduleTable) -> None:
        parts = []
        for task in self.schema.tasks:
            labels = [nodule.labels.get(task.name) for nodule in table.nodules]
            parts.append(f"{task.name} " + ", ".join(f"{name} {labels.count(name)}" for name in task.classes))
        graded = self.schema.primary.kind is TaskKind.ORDINAL
        drawn = "each nodule is" if graded else f"classes of {self.schema.primary_task} are"
        drawn += " drawn equally often"
        self.decisions["class balance"] = (
            f"{'; '.join(parts)}: {drawn}; classes of the other tasks weigh inversely to their number among a fold's "
            f"training nodules, at most {MAX_CLASS_WEIGHT:g}, and grades alike"
        )

    def determine_fullres_target_spacing(self) -> Vector:
        spacing: Vector = super().determine_fullres_target_spacing()
        crops = self._shortest_side_mm() < SMALLEST_CONTEXT_MM
        smallest_mm = self.smallest_spacing_of_crops_mm if crops else self.smallest_spacing_mm
        if self.overwrite_target_spacing is not None or not smallest_mm:
            return spacing
        chosen = np.maximum(spacing, smallest_mm)
        self.decisions["spacing"] = (
            f"{np.round(chosen, 2).tolist()} mm: nnU-Net's choice is {np.round(spacing, 2).tolist()} mm, this preset "
            f"reads {'crops' if crops else 'scans'} no finer than {smallest_mm:g} mm"
        )
        return chosen

    def _shortest_side_mm(self) -> float:
        """Of the median scan; what is short holds the nodule and its rim alone."""
        return float(np.percentile(self._scan_extents_mm, 50, axis=0).min())

    def get_plans_for_configuration(
        self,
        spacing: Vector,
        median_shape: Vector,
        data_identifier: str,
        voxels_in_dataset: float,
        _cache: dict[str, object],
    ) -> dict[str, object]:
        arguments = (data_identifier, voxels_in_dataset, _cache)
        plan: dict[str, object]
        if len(spacing) != 3:
            return {}  # slices alone are not planned for, see save_plans
        # nnU-Net clips the patch to the median shape and spends what memory is left on the batch.
        plan = super().get_plans_for_configuration(spacing, self._local_patch(np.asarray(spacing)), *arguments)
        plan["median_image_size_in_voxels"] = median_shape
        stock = Configuration.parse(CONFIGURATION, plan)
        extra = self._context_activations(context_windows(plan)) / self._backbone_activations(stock)
        plan["batch_size"] = self._batch_size(stock.batch_size / (1 + extra))
        self.decisions["local patch"] = (
            f"{list(stock.patch_size)} voxels, {np.round(stock.patch_mm, 1).tolist()} mm: the 99th percentile of "
            f"{len(self.extents_mm)} nodule extents is {np.round(self._extent_99(), 1).tolist()} mm, and a margin of "
            f"{self.margin_mm:g} mm goes around it"
        )
        self.decisions["batch size"] = (
            f"{plan['batch_size']}: what the memory target of {self.UNet_vram_target_GB:g} GB holds, the context "
            f"encoder taking {100 * extra:.0f} % on top of the backbone; at most {self.max_batch_size} and a quarter "
            f"of the {self.nodule_count} nodules (but {SMALLEST_CAP} at least)"
        )
        return plan

    def static_estimate_VRAM_usage(self, *arguments: object) -> float:
        """nnU-Net's count for one of the many patches it tries, of a network that is given no weights."""
        with torch.device("meta"):
            return float(super().static_estimate_VRAM_usage(*arguments))

    def _extent_99(self) -> Vector:
        """99th percentile of the extents along the image's axes (z, y, x), in mm; by rotation any axis may see any."""
        return np.full(3, np.percentile(self.extents_mm.max(axis=1), 99))

    def _local_patch(self, spacing: Vector) -> npt.NDArray[np.int_]:
        wanted_mm = self._extent_99() + 2 * self.margin_mm
        voxels = np.ceil(wanted_mm / spacing)
        largest = self._percentile_shape_mm(95) / spacing
        patch: npt.NDArray[np.int_] = np.maximum(np.minimum(voxels, np.ceil(largest)), 8).astype(int)
        return patch

    @cached_property
    def _scan_extents_mm(self) -> npt.NDArray[np.float64]:
        """(N, 3) of the training images, along their axes (z, y, x)."""
        return Fingerprint.parse(self.dataset_fingerprint).extents_mm

    def _percentile_shape_mm(self, percentile: float) -> Vector:
        """Percentile of the scans' extents in mm, transposed as the plans are."""
        forward, _ = self.determine_transpose()
        along_axes: Vector = np.percentile(self._scan_extents_mm, percentile, axis=0)[list(forward)]
        return along_axes

    def _backbone_activations(self, configuration: Configuration) -> float:
        """Feature map voxels of the backbone for one patch, by nnU-Net's own count."""
        architecture, dataset_json = configuration.architecture, DatasetJson.parse(self.dataset_json)
        with torch.device("meta"):
            network = get_network_from_plans(
                architecture.class_name,
                architecture.arguments,
                architecture.imported,
                len(dataset_json.channel_names),
                len(dataset_json.label_names),
                allow_init=False,
            )
        return float(network.compute_conv_feature_map_size(list(configuration.patch_size)))

    def _context_activations(self, windows: tuple[tuple[float, float] | None, ...]) -> float:
        """The same of the context encoder."""
        plan = self._context_plan(windows)
        with torch.device("meta"):
            encoder = build_context_encoder(plan)
        return float(encoder.feature_map_size(plan.grid))

    def _batch_size(self, by_memory: float) -> int:
        at_most = min(self.max_batch_size, max(SMALLEST_CAP, self.nodule_count // 4))
        return max(2, min(int(by_memory), at_most))

    def save_plans(self, plans: dict[str, object]) -> None:
        parsed = NnunetPlans.parse(plans)
        configuration = parsed.configuration(CONFIGURATION)
        plans["configurations"] = {CONFIGURATION: configuration.content}
        plans[PLAN_KEY] = self._dsmt_plan(plans, configuration).to_block()
        super().save_plans(plans)

    def _dsmt_plan(self, plans: Json, configuration: Configuration) -> DSMTPlan:
        context = self._context_plan(context_windows(configuration.content))
        scan_mm = [float(length) for length in self._percentile_shape_mm(50)]
        share = background_share(scan_mm, configuration.patch_mm, self.empty_share)
        iterations = iterations_per_epoch(self.nodule_count, configuration.batch_size, self.max_iterations_per_epoch)
        central_mm = float(self._extent_99().max() + 10.0)
        self.decisions["central region"] = f"{central_mm:.0f} mm: the largest nodules and the jitter around them"
        self.decisions["budget"] = (
            f"{self.joint_epochs} joint and {self.finetune_epochs} fine-tuning epochs, of the preset "
            f"{type(self).__name__}; {iterations} iterations each, so that an epoch sees each of {self.nodule_count} "
            f"nodules {VIEWS_PER_EPOCH} times (at most {self.max_iterations_per_epoch} iterations)"
        )
        self.decisions["patches without nodule"] = (
            f"{100 * share:.0f} %, for the segmentation alone: up to {100 * MAX_BACKGROUND_SHARE:.0f} % in scans, none "
            f"in crops around a nodule, but as many as there are cases without a nodule"
        )
        return DSMTPlan(
            schema=self.schema,
            context=context,
            heads=HeadPlan(
                central_region_mm=round(central_mm, 1),
                lateral_features=self.lateral_features,
                hidden_features=self.hidden_features,
            ),
            training=TrainingPlan(
                joint_epochs=self.joint_epochs,
                finetune_epochs=self.finetune_epochs,
                iterations_per_epoch=iterations,
                background_share=share,
                learning_rate=self.learning_rate,
                finetune_learning_rate=self.learning_rate / 10,
                backbone_learning_rate=self.backbone_learning_rate,
                task_weights=default_task_weights(self.schema),
                probation_epochs=probation(self.joint_epochs),
            ),
            padding_value=padding_values(plans, configuration.content),
            wide=self._wide_plan(plans, configuration),
            use_context=self._has_context(),
            mirror_scans=self.mirror_scans,
            decisions=self.decisions,
        )

    def _wide_plan(self, plans: Json, configuration: Configuration) -> WidePlan | None:
        wide = wide_plan(plans, configuration.content, self.schema.covariates)
        if self.schema.covariates:
            names = ", ".join(covariate.name for covariate in self.schema.covariates)
            self.decisions["covariates"] = (
                f"{names} enter beside the descriptors; for one that is not known stands what such a nodule lets expect"
                if wide is not None
                else f"{names} are left out: they enter beside descriptors, which need HU, and this is not CT"
            )
        return wide

    def _has_context(self) -> bool:
        """Whether the scans hold more than the nodule and its rim."""
        scan_mm = self._shortest_side_mm()
        has = scan_mm >= SMALLEST_CONTEXT_MM
        self.decisions["context"] = (
            f"{'used' if has else 'left out'}: the median scan is {scan_mm:.0f} mm on its shortest side; below "
            f"{SMALLEST_CONTEXT_MM:g} mm there is nothing but the nodule and padding"
        )
        return has

    def _context_plan(self, windows: tuple[tuple[float, float] | None, ...]) -> ContextPlan:
        scan_mm = float(self._percentile_shape_mm(50).max())
        grid = context_grid(scan_mm, self.context_field_of_view_mm, self.context_spacing_mm)
        stages = context_stages(grid, len(self.context_features))
        self.decisions["context patch"] = (
            f"{grid} voxels of {self.context_spacing_mm:g} mm a side: {self.context_field_of_view_mm:g} mm wanted, the "
            f"median scan is {scan_mm:.0f} mm long"
        )
        self.decisions["context encoder"] = f"{stages} stages, each halving the resolution, down to at least 4 voxels"
        return ContextPlan(self.context_spacing_mm, grid, self.context_features[:stages], windows)
