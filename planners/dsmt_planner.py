"""The presets that `dsmt plan -pl` names: nnU-Net's planners with DSMT's decisions mixed in."""

from __future__ import annotations

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.resencUNet_planner import ResEncUNetPlanner

from dsmt_nnunet.planners.nodule_planning import DSMTPlanning


class DSMTPlanner(DSMTPlanning, ExperimentPlanner):
    """The standard preset: nnU-Net's plain U-Net."""

    default_plans_name = "DSMTPlans"


class DSMTPlannerXS(DSMTPlanner):
    """The smallest preset, for CPUs and tests: few features, small patches, a short budget."""

    default_plans_name = "DSMTPlansXS"
    default_memory_gb = 4
    backbone_features = (8, 64)
    margin_mm = 12.0
    context_spacing_mm = 5.0
    context_features = (8, 16, 32)
    lateral_features = 12
    hidden_features = 48
    joint_epochs = 18
    finetune_epochs = 2
    max_iterations_per_epoch = 40
    learning_rate = 2e-3
    backbone_learning_rate = 8e-3
    max_batch_size = 8
    mirror_scans = False
    smallest_spacing_mm = 1.25
    smallest_spacing_of_crops_mm = 1.0


class DSMTPlannerResEncM(DSMTPlanning, ResEncUNetPlanner):
    """nnU-Net's residual encoder, medium preset (about 9 GB of GPU memory)."""

    default_plans_name = "DSMTResEncUNetMPlans"

    def generate_data_identifier(self, configuration_name: str) -> str:
        # nnU-Net's ResEnc planner shares nnUNetPlans' data; ours may have another spacing.
        return f"{self.plans_identifier}_{configuration_name}"


PLANNERS = {planner.__name__: planner for planner in (DSMTPlanner, DSMTPlannerXS, DSMTPlannerResEncM)}
