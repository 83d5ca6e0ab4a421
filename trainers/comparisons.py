"""Baselines and ablations of DSMTTrainer: each leaves out one part, or all, with the same budget and augmentation."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.trainers.dsmt_trainer import DSMTTrainer


def without_context(plan: DSMTPlan) -> DSMTPlan:
    """The local patch alone."""
    return replace(plan, use_context=False)


def without_segmentation(plan: DSMTPlan) -> DSMTPlan:
    """No segmentation loss; and since there is no mask then, pooling in the middle of the patch."""
    training = replace(plan.training, segmentation_weight=0.0, background_share=0.0)
    return replace(plan, training=training, heads=replace(plan.heads, pooling="centre"))


def without_signs(plan: DSMTPlan) -> DSMTPlan:
    """The primary task alone among the classification losses."""
    weights = {name: float(name == plan.schema.primary_task) for name in plan.schema.task_names}
    return replace(plan, training=replace(plan.training, task_weights=weights))


def without_fine_tuning(plan: DSMTPlan) -> DSMTPlan:
    """The joint stage lasts to the end."""
    return replace(plan, training=replace(plan.training, joint_epochs=plan.training.epochs, finetune_epochs=0))


def without_descriptors(plan: DSMTPlan) -> DSMTPlan:
    """The deep part alone, which then counts whole."""
    return replace(plan, wide=None, training=replace(plan.training, probation_epochs=0))


def without_covariates(plan: DSMTPlan) -> DSMTPlan:
    """The image alone."""
    return plan if plan.wide is None else replace(plan, wide=replace(plan.wide, covariates=()))


def descriptors_only(plan: DSMTPlan) -> DSMTPlan:
    """The wide part alone, on the masks of the segmentation."""
    training = replace(plan.training, probation_epochs=0)
    return replace(plan, heads=replace(plan.heads, deep=False), use_context=False, training=training)


def with_pooling(plan: DSMTPlan, pooling: str) -> DSMTPlan:
    """Another pooling of the local patch."""
    return replace(plan, heads=replace(plan.heads, pooling=pooling))


class DSMTTrainerNoContext(DSMTTrainer):
    """Without the global-context encoder."""

    changes = (without_context,)


class DSMTTrainerNoSegmentation(DSMTTrainer):
    """Without the auxiliary segmentation."""

    changes = (without_segmentation,)


class DSMTTrainerNoSigns(DSMTTrainer):
    """Without the losses of the other tasks."""

    changes = (without_signs,)


class DSMTTrainerJointOnly(DSMTTrainer):
    """Without the fine-tuning stage."""

    changes = (without_fine_tuning,)


class DSMTTrainerNoDescriptors(DSMTTrainer):
    """Without the wide part."""

    changes = (without_descriptors,)


class DSMTTrainerNoCovariates(DSMTTrainer):
    """Without clinical covariates; the same as DSMTTrainer where there are none."""

    changes = (without_covariates,)


class DSMTTrainerDescriptorsOnly(DSMTTrainer):
    """Without the deep part."""

    changes = (descriptors_only,)


class DSMTTrainerSingleTask(DSMTTrainer):
    """The baseline: the local encoder and the primary task, nothing else."""

    changes = (without_context, without_segmentation, without_signs, without_fine_tuning, without_descriptors)


class DSMTTrainerAveragePooling(DSMTTrainer):
    """The bottleneck averaged over the patch instead of mask-guided pooling."""

    changes = (partial(with_pooling, pooling="average"),)


class DSMTTrainerDenseNet(DSMTTrainer):
    """A plain 3-D classification network of the nodule patch; needs MONAI."""

    changes = (*DSMTTrainerSingleTask.changes, partial(with_pooling, pooling="densenet"))


COMPARISONS = (
    DSMTTrainerSingleTask,
    DSMTTrainerNoContext,
    DSMTTrainerNoSegmentation,
    DSMTTrainerNoSigns,
    DSMTTrainerJointOnly,
    DSMTTrainerNoDescriptors,
    DSMTTrainerNoCovariates,
    DSMTTrainerDescriptorsOnly,
    DSMTTrainerAveragePooling,
    DSMTTrainerDenseNet,
)
