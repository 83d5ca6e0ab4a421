"""What of a DSMTPlan follows from the data set and nnU-Net's plans: single rules, and a whole plan by them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dsmt_nnunet.covariates import Covariate
from dsmt_nnunet.descriptors import DESCRIPTORS
from dsmt_nnunet.nnunet_files import Configuration, resolve_configuration
from dsmt_nnunet.plan import (
    MAX_BACKGROUND_SHARE,
    ContextPlan,
    DSMTPlan,
    HeadPlan,
    TrainingPlan,
    WidePlan,
    probation,
)
from dsmt_nnunet.tasks import ClassificationSchema

CONTEXT_WINDOW_HU = (-1024.0, 300.0)
"""Of the context patch: aerated and emphysematous lung, vessels, pleura, mediastinum."""

SMALLEST_CONTEXT_MM = 50.0
"""Scans whose shortest side is below hold a nodule and padding, and no context."""
PATCHES_OF_A_SCAN = 8
"""An image that holds so many patches is a scan, not a crop."""
VIEWS_PER_EPOCH, MIN_ITERATIONS = 20, 25

WIDE_PENALTY = 300.0
"""Strong and fixed: chosen by cross-validation on a hundred nodules it would be noise (docs/results.md)."""
COVARIATE_PENALTY = 10.0
"""Of covariates, which stand alone where descriptors come in groups of near copies: a normal prior whose standard
deviation is 0.32 log odds a standard deviation, as large as the effects of age, sex and lobe in McWilliams et al. (N.
Engl. J. Med. 369:910, 2013)."""


def wide_plan(
    plans: Mapping[str, Any], configuration: Mapping[str, Any], covariates: Sequence[Covariate] = ()
) -> WidePlan | None:
    """The wide part where the first channel is CT, whose HU can be had back; None for another modality."""
    if configuration["normalization_schemes"][0] != "CTNormalization":
        return None
    own = plans["foreground_intensity_properties_per_channel"]["0"]
    scale, names = max(float(own["std"]), 1e-8), tuple(covariate.name for covariate in covariates)
    return WidePlan(DESCRIPTORS, scale, float(own["mean"]), WIDE_PENALTY, names, COVARIATE_PENALTY)


def padding_values(plans: Mapping[str, Any], configuration: Mapping[str, Any]) -> tuple[float | None, ...]:
    """Intensity of air after nnU-Net's normalisation, one value a channel.

    CT is clipped to the 0.5 and 99.5 percentiles of the foreground and standardised, so that air ends at the lower
    bound. Other schemes depend on the case: None.
    """
    values: list[float | None] = []
    statistics = plans["foreground_intensity_properties_per_channel"]
    for channel, scheme in enumerate(configuration["normalization_schemes"]):
        if scheme == "CTNormalization":
            own = statistics[str(channel)]
            values.append((own["percentile_00_5"] - own["mean"]) / max(own["std"], 1e-8))
        else:
            values.append(None)
    return tuple(values)


def context_windows(configuration: Mapping[str, Any]) -> tuple[tuple[float, float] | None, ...]:
    """Window of each channel of the context patch: from air to bone in CT, none for other modalities."""
    schemes = configuration["normalization_schemes"]
    return tuple(CONTEXT_WINDOW_HU if scheme == "CTNormalization" else None for scheme in schemes)


def context_grid(scan_mm: float, field_of_view_mm: float, spacing_mm: float) -> int:
    """Voxels a side of the context patch: the field of view, or the scan where that is smaller, in steps of 8."""
    wanted_mm = min(field_of_view_mm, scan_mm)
    return max(8, 8 * math.ceil(wanted_mm / spacing_mm / 8 - 1e-6))


def context_stages(grid: int, at_most: int) -> int:
    """Stages of the context encoder, each halving the resolution, down to at least 4 voxels."""
    return max(1, min(at_most, int(math.log2(grid / 4))))


def background_share(scan_mm: Sequence[float], patch_mm: Sequence[float], empty_share: float = 0.0) -> float:
    """Share of patches drawn anywhere: a quarter in a scan, none in a crop that holds little but the nodule.

    Args:
        scan_mm: extent of the median scan.
        patch_mm: extent of the local patch.
        empty_share: share of the cases that hold no nodule; so many patches are of them, up to a quarter.
    """
    patches = math.prod(max(1.0, scan / patch) for scan, patch in zip(scan_mm, patch_mm, strict=True))
    of_scans = MAX_BACKGROUND_SHARE * min(1.0, (patches - 1) / (PATCHES_OF_A_SCAN - 1))
    return round(max(of_scans, min(MAX_BACKGROUND_SHARE, empty_share)), 2)


def iterations_per_epoch(nodules: int, batch_size: int, at_most: int) -> int:
    """So many that an epoch sees each nodule `VIEWS_PER_EPOCH` times, within bounds."""
    return min(at_most, max(MIN_ITERATIONS, math.ceil(VIEWS_PER_EPOCH * nodules / batch_size)))


def derive_plan(plans: Mapping[str, Any], configuration: str, dataset_json: Mapping[str, Any]) -> DSMTPlan:
    """The DSMT block for plans that were made without it (nnUNetPlans, the ResEnc presets).

    Raises:
        ValueError: the data set has nothing to classify, or the configuration cannot be used.
    """
    resolved = resolve_configuration(plans, configuration)
    check_configuration(resolved, configuration)
    schema = ClassificationSchema.from_dataset_json(dataset_json)
    own = Configuration.parse(configuration, resolved)
    shape, spacing = plans["original_median_shape_after_transp"], plans["original_median_spacing_after_transp"]
    scan_mm = [length * size for length, size in zip(shape, spacing, strict=True)]
    grid = context_grid(max(scan_mm), field_of_view_mm=160.0, spacing_mm=2.5)
    context_features = (32, 64, 128, 256)[: context_stages(grid, at_most=4)]
    return DSMTPlan(
        schema=schema,
        context=ContextPlan(2.5, grid, context_features, windows=context_windows(resolved)),
        heads=HeadPlan(lateral_features=max(8, min(64, own.architecture.features_per_stage[0]))),
        training=TrainingPlan(
            joint_epochs=200,
            finetune_epochs=50,
            iterations_per_epoch=iterations_per_epoch(dataset_json["numTraining"], own.batch_size, 250),
            learning_rate=3e-4,
            finetune_learning_rate=3e-5,
            background_share=background_share(scan_mm, own.patch_mm),
            task_weights=default_task_weights(schema),
            probation_epochs=probation(200),
        ),
        padding_value=padding_values(plans, resolved),
        wide=wide_plan(plans, resolved, schema.covariates),
        use_context=min(scan_mm) >= SMALLEST_CONTEXT_MM,
    )


def default_task_weights(schema: ClassificationSchema) -> dict[str, float]:
    """Weight 1 for the primary task, 0.5 for each other one."""
    return {name: 1.0 if name == schema.primary_task else 0.5 for name in schema.task_names}


def check_configuration(configuration: Mapping[str, Any], name: str) -> None:
    """Refuses configurations that DSMT cannot use.

    Raises:
        ValueError: 2-D or cascaded.
    """
    patch_size: Sequence[int] = configuration["patch_size"]
    if len(patch_size) != 3:
        raise ValueError(
            f"Configuration '{name}' is {len(patch_size)}-D. A nodule and its context are volumes: use 3d_fullres."
        )
    if configuration.get("previous_stage") is not None:
        raise ValueError(
            f"Configuration '{name}' is the second stage of a cascade, which DSMT does not use: use 3d_fullres."
        )
