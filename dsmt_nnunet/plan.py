"""DSMTPlan: everything that is needed to rebuild the network and its inputs, kept as the `dsmt` block of plans.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dsmt_nnunet.descriptors import DESCRIPTORS
from dsmt_nnunet.nnunet_files import Configuration, resolve_configuration
from dsmt_nnunet.tasks import ClassificationSchema

PLAN_KEY = "dsmt"
PLAN_VERSION = 4
CONTEXT_WINDOW_HU = (-1024.0, 300.0)
"""Of the context patch: aerated and emphysematous lung, vessels, pleura, mediastinum."""

STANDARDISED_RANGE = (-3.0, 3.0)
"""Of intensities with zero mean and unit variance."""

MAX_BACKGROUND_SHARE = 0.25
SMALLEST_CONTEXT_MM = 50.0
"""Scans whose shortest side is below hold a nodule and padding, and no context."""
PATCHES_OF_A_SCAN = 8
"""An image that holds so many patches is a scan, not a crop."""
VIEWS_PER_EPOCH, MIN_ITERATIONS = 20, 25

POOLINGS = ("mask-guided", "centre", "average", "densenet")
"""Mask-guided: under the predicted mask and around it. Centre: in the middle of the patch, without the mask. Average:
of the bottleneck over the whole patch, as in nnU-Net classification forks. DenseNet: no U-Net features at all, a
DenseNet121 of the patch."""

PROBATION_SHARE = 0.6
"""Of the joint stage: then the deep part knows what it can know, and its share is decided."""
WIDE_PENALTY = 300.0
"""Strong and fixed: chosen by cross-validation on a hundred nodules it would be noise (docs/results.md)."""

JOINT_SHARE = 0.8
"""Share of the epochs that belong to the joint stage when a trainer overrides the number of epochs."""


@dataclass(frozen=True)
class ContextPlan:
    """The context patch and its encoder.

    Attributes:
        spacing_mm: voxel size of the isotropic coarse copy of the scan.
        grid: voxels along each side of the context patch.
        features: channels of each stage of the encoder; every stage halves the resolution.
        windows: (low, high) in HU for each channel of CT, None for a channel of another modality.
        blocks: residual blocks a stage.
        density_bins: of the histograms of the context patch; 0 for none.
    """

    spacing_mm: float
    grid: int
    features: tuple[int, ...]
    windows: tuple[tuple[float, float] | None, ...]
    blocks: int = 1
    density_bins: int = 16

    @property
    def field_of_view_mm(self) -> float:
        return self.spacing_mm * self.grid

    @property
    def intensity_ranges(self) -> tuple[tuple[float, float], ...]:
        """Of each channel of the context patch: a window becomes -1 to 1, another modality has unit variance."""
        return tuple(STANDARDISED_RANGE if window is None else (-1.0, 1.0) for window in self.windows)


@dataclass(frozen=True)
class HeadPlan:
    """Pooling of the nodule and the classification heads.

    Attributes:
        central_region_mm: diameter of the region around the patch centre in which features are pooled.
        lateral_features: channels to which each resolution is projected before pooling.
        hidden_features: width of each head.
        pooling: how the nodule is pooled out of the patch, see `POOLINGS`.
        dropout: before the last layer of each head.
        deep: False for heads that are wide alone.
    """

    central_region_mm: float = 32.0
    lateral_features: int = 32
    hidden_features: int = 128
    dropout: float = 0.2
    pooling: str = "mask-guided"
    deep: bool = True


@dataclass(frozen=True)
class WidePlan:
    """The wide part of the heads: a penalised linear answer on descriptors of the nodule.

    Attributes:
        descriptors: names of the descriptors, in order.
        intensity_scale, intensity_shift: HU = scale * intensity + shift, which takes nnU-Net's normalisation back.
        penalty: of the squared weights of standardised descriptors, beside the sum of the nodules' log likelihoods.
    """

    descriptors: tuple[str, ...]
    intensity_scale: float
    intensity_shift: float
    penalty: float


@dataclass(frozen=True)
class TrainingPlan:
    """The budget and what is sampled.

    Attributes:
        joint_epochs, finetune_epochs: length of the two stages.
        iterations_per_epoch: training batches an epoch.
        learning_rate: of the joint stage, AdamW.
        finetune_learning_rate: of the fine-tuning stage.
        weight_decay: decoupled.
        jitter_mm: a training patch is centred within this distance of the nodule, along each axis.
        background_share: share of patches drawn anywhere in a scan, for the segmentation alone.
        task_weights: weight of each task's loss in the joint stage; the segmentation has 1.
        segmentation_weight: of the segmentation's loss in the joint stage; 0 for none.
        probation_epochs: so long a fifth of the patients teach the deep part nothing; then they decide its share.
        keeps_size_and_density: augmentation is left without zoom and without transforms of intensity but slight noise.
    """

    joint_epochs: int
    finetune_epochs: int
    iterations_per_epoch: int
    learning_rate: float
    finetune_learning_rate: float
    weight_decay: float = 1e-2
    jitter_mm: float = 5.0
    background_share: float = MAX_BACKGROUND_SHARE
    task_weights: Mapping[str, float] = field(default_factory=dict)
    segmentation_weight: float = 1.0
    probation_epochs: int = 0
    keeps_size_and_density: bool = True

    @property
    def epochs(self) -> int:
        return self.joint_epochs + self.finetune_epochs

    def with_epochs(self, epochs: int) -> TrainingPlan:
        """The same plan with another number of epochs, divided between the stages by `JOINT_SHARE`."""
        joint = max(1, round(epochs * JOINT_SHARE))
        return replace(
            self,
            joint_epochs=joint,
            finetune_epochs=max(0, epochs - joint),
            probation_epochs=probation(joint) if self.probation_epochs else 0,
        )


@dataclass(frozen=True)
class DSMTPlan:
    """The `dsmt` block.

    Attributes:
        schema: the tasks.
        context: context patch and encoder.
        heads: pooling and heads.
        training: budget and sampling.
        padding_value: intensity of air after normalisation, one value a channel; None where it differs from case to
            case (then the lowest value of the case).
        min_diameter_mm: smaller components of a predicted mask are not nodule candidates.
        max_candidates: at most so many nodules of a scan are classified, the largest.
        mirror_scans: whether the sliding window over whole scans is averaged over mirrorings, eight times the work; the
            patches of nodules always are, unless prediction is told not to mirror.
        wide: the wide part of the heads; None for a model that is deep alone.
        use_context: False for a network that sees the local patch alone.
        decisions: what the planner decided and why, for people.
    """

    schema: ClassificationSchema
    context: ContextPlan
    heads: HeadPlan
    training: TrainingPlan
    padding_value: tuple[float | None, ...]
    min_diameter_mm: float = 4.0
    max_candidates: int = 50
    mirror_scans: bool = True
    wide: WidePlan | None = None
    use_context: bool = True
    decisions: Mapping[str, str] = field(default_factory=dict)

    def to_block(self) -> dict[str, Any]:
        """JSON-ready; `from_block` reads it back."""
        return {
            "version": PLAN_VERSION,
            "classification": self.schema.to_block(),
            "context": {
                **asdict(self.context),
                "features": list(self.context.features),
                "windows": [None if window is None else list(window) for window in self.context.windows],
            },
            "heads": asdict(self.heads),
            "training": {**asdict(self.training), "task_weights": dict(self.training.task_weights)},
            "padding_value": list(self.padding_value),
            "min_diameter_mm": self.min_diameter_mm,
            "max_candidates": self.max_candidates,
            "mirror_scans": self.mirror_scans,
            "wide": None if self.wide is None else {**asdict(self.wide), "descriptors": list(self.wide.descriptors)},
            "use_context": self.use_context,
            "decisions": dict(self.decisions),
        }

    @classmethod
    def from_block(cls, block: Mapping[str, Any]) -> DSMTPlan:
        """Parses the block.

        Raises:
            ValueError: another version, or parts are missing or unknown.
        """
        if block.get("version") != PLAN_VERSION:
            raise ValueError(
                f"The plans' 'dsmt' block has version {block.get('version')!r}; this release reads {PLAN_VERSION}. "
                f"Plan again with 'dsmt plan'."
            )
        try:
            context = dict(block["context"])
            context["features"] = tuple(context["features"])
            context["windows"] = tuple(None if window is None else tuple(window) for window in context["windows"])
            return cls(
                schema=ClassificationSchema.from_block(block["classification"]),
                context=ContextPlan(**context),
                heads=HeadPlan(**block["heads"]),
                training=TrainingPlan(**block["training"]),
                padding_value=tuple(block["padding_value"]),
                min_diameter_mm=float(block["min_diameter_mm"]),
                max_candidates=int(block["max_candidates"]),
                mirror_scans=bool(block["mirror_scans"]),
                wide=_wide_from_block(block["wide"]),
                use_context=bool(block["use_context"]),
                decisions=dict(block.get("decisions", {})),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"The plans' 'dsmt' block is malformed: {error}. Plan again with 'dsmt plan'.") from error

    @classmethod
    def from_plans(cls, plans: Mapping[str, Any]) -> DSMTPlan:
        """Reads the block of a plans.json.

        Raises:
            ValueError: the plans have none.
        """
        if PLAN_KEY not in plans:
            raise ValueError(
                "These plans have no 'dsmt' block, so they do not belong to a DSMT model. Train with -tr DSMTTrainer."
            )
        return cls.from_block(plans[PLAN_KEY])


def _wide_from_block(block: Mapping[str, Any] | None) -> WidePlan | None:
    return None if block is None else WidePlan(**{**block, "descriptors": tuple(block["descriptors"])})


def wide_plan(plans: Mapping[str, Any], configuration: Mapping[str, Any]) -> WidePlan | None:
    """The wide part where the first channel is CT, whose HU can be had back; None for another modality."""
    if configuration["normalization_schemes"][0] != "CTNormalization":
        return None
    own = plans["foreground_intensity_properties_per_channel"]["0"]
    return WidePlan(DESCRIPTORS, max(float(own["std"]), 1e-8), float(own["mean"]), WIDE_PENALTY)


def probation(joint_epochs: int) -> int:
    """Epochs of the joint stage after which the share of the deep part is decided."""
    return max(1, round(PROBATION_SHARE * joint_epochs))


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


def background_share(scan_mm: Sequence[float], patch_mm: Sequence[float]) -> float:
    """Share of patches drawn anywhere: a quarter in a scan, none in a crop that holds little but the nodule."""
    patches = math.prod(max(1.0, scan / patch) for scan, patch in zip(scan_mm, patch_mm, strict=True))
    return round(MAX_BACKGROUND_SHARE * min(1.0, (patches - 1) / (PATCHES_OF_A_SCAN - 1)), 2)


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
        wide=wide_plan(plans, resolved),
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
