"""DSMTPlan: everything that is needed to rebuild the network and its inputs, kept as the `dsmt` block of plans.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dsmt_nnunet.tasks import ClassificationSchema

PLAN_KEY = "dsmt"
PLAN_VERSION = 1
CONTEXT_WINDOW_HU = (-1024.0, 300.0)
"""Of the context patch: aerated and emphysematous lung, vessels, pleura, mediastinum."""

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
    """

    spacing_mm: float
    grid: int
    features: tuple[int, ...]
    windows: tuple[tuple[float, float] | None, ...]
    blocks: int = 1

    @property
    def field_of_view_mm(self) -> float:
        return self.spacing_mm * self.grid


@dataclass(frozen=True)
class HeadPlan:
    """Pooling of the nodule and the classification heads.

    Attributes:
        central_region_mm: diameter of the region around the patch centre in which features are pooled.
        lateral_features: channels to which each resolution is projected before pooling.
        hidden_features: width of each head.
        dropout: before the last layer of each head.
    """

    central_region_mm: float = 32.0
    lateral_features: int = 32
    hidden_features: int = 128
    dropout: float = 0.2


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
        label_smoothing: of the classification losses.
    """

    joint_epochs: int
    finetune_epochs: int
    iterations_per_epoch: int
    learning_rate: float
    finetune_learning_rate: float
    weight_decay: float = 1e-2
    jitter_mm: float = 5.0
    background_share: float = 0.25
    task_weights: Mapping[str, float] = field(default_factory=dict)
    label_smoothing: float = 0.0

    @property
    def epochs(self) -> int:
        return self.joint_epochs + self.finetune_epochs

    def with_epochs(self, epochs: int) -> TrainingPlan:
        """The same plan with another number of epochs, divided between the stages by `JOINT_SHARE`."""
        joint = max(1, round(epochs * JOINT_SHARE))
        return replace(self, joint_epochs=joint, finetune_epochs=max(0, epochs - joint))


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
        mirror_at_prediction: whether predictions are averaged over mirrorings, eight times the work.
        decisions: what the planner decided and why, for people.
    """

    schema: ClassificationSchema
    context: ContextPlan
    heads: HeadPlan
    training: TrainingPlan
    padding_value: tuple[float | None, ...]
    min_diameter_mm: float = 4.0
    max_candidates: int = 50
    mirror_at_prediction: bool = True
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
            "mirror_at_prediction": self.mirror_at_prediction,
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
                mirror_at_prediction=bool(block["mirror_at_prediction"]),
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


def resolve_configuration(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The configuration of a plans.json with what it inherits."""
    own = dict(plans["configurations"][name])
    if "inherits_from" in own:
        return {**resolve_configuration(plans, own["inherits_from"]), **own}
    return own


def derive_plan(plans: Mapping[str, Any], configuration: str, dataset_json: Mapping[str, Any]) -> DSMTPlan:
    """The DSMT block for plans that were made without it (nnUNetPlans, the ResEnc presets).

    Raises:
        ValueError: the data set has nothing to classify, or the configuration cannot be used.
    """
    resolved = resolve_configuration(plans, configuration)
    check_configuration(resolved, configuration)
    schema = ClassificationSchema.from_dataset_json(dataset_json)
    features = resolved["architecture"]["arch_kwargs"]["features_per_stage"]
    return DSMTPlan(
        schema=schema,
        context=ContextPlan(spacing_mm=2.5, grid=64, features=(32, 64, 128, 256), windows=context_windows(resolved)),
        heads=HeadPlan(lateral_features=max(8, min(64, int(features[0])))),
        training=TrainingPlan(
            joint_epochs=200,
            finetune_epochs=50,
            iterations_per_epoch=250,
            learning_rate=3e-4,
            finetune_learning_rate=3e-5,
            task_weights=default_task_weights(schema),
        ),
        padding_value=padding_values(plans, resolved),
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
