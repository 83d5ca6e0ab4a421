"""DSMTPlan: everything that is needed to rebuild the network and its inputs, kept as the `dsmt` block of plans.json."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from dsmt_nnunet.covariates import Covariate
from dsmt_nnunet.records import field_from_json, from_json, jsonable
from dsmt_nnunet.tasks import ClassificationSchema

PLAN_KEY = "dsmt"
PLAN_VERSION = 5
_Part = TypeVar("_Part")
STANDARDISED_RANGE = (-3.0, 3.0)
"""Of intensities with zero mean and unit variance."""

MAX_BACKGROUND_SHARE = 0.25

POOLINGS = ("mask-guided", "centre", "average", "densenet")
"""Mask-guided: under the predicted mask and around it. Centre: in the middle of the patch, without the mask. Average:
of the bottleneck over the whole patch, as in nnU-Net classification forks. DenseNet: no U-Net features at all, a
DenseNet121 of the patch."""

PROBATION_SHARE = 0.6
"""Of the joint stage: then the deep part knows what it can know, and its share is decided."""

JOINT_SHARE = 0.8
"""Share of the epochs that belong to the joint stage when a trainer overrides the number of epochs."""

_BESIDE_PARTS = ("padding_value", "min_diameter_mm", "max_candidates", "mirror_scans", "use_context")
"""What a plan holds beside its parts."""


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
        covariates: names of the schema's covariates that enter beside the descriptors, in order.
        covariate_penalty: of their squared weights.
    """

    descriptors: tuple[str, ...]
    intensity_scale: float
    intensity_shift: float
    penalty: float
    covariates: tuple[str, ...] = ()
    covariate_penalty: float = 0.0


@dataclass(frozen=True)
class TrainingPlan:
    """The budget and what is sampled.

    Attributes:
        joint_epochs, finetune_epochs: length of the two stages.
        iterations_per_epoch: training batches an epoch.
        learning_rate: of the joint stage, AdamW.
        finetune_learning_rate: of the fine-tuning stage.
        backbone_learning_rate: of the U-Net in the joint stage; None for `learning_rate`.
        weight_decay: decoupled.
        jitter_mm: a training patch is centred within this distance of the nodule, along each axis.
        background_share: share of patches drawn anywhere in a scan, for the segmentation alone.
        task_weights: weight of each task's loss in the joint stage; the segmentation has 1.
        segmentation_weight: of the segmentation's loss in the joint stage; 0 for none.
        probation_epochs: so long a fifth of the patients teach the deep part nothing; then they decide its share, or at
            the end of the joint stage where it has not shown itself by then.
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
    task_weights: dict[str, float] = field(default_factory=dict)
    segmentation_weight: float = 1.0
    probation_epochs: int = 0
    keeps_size_and_density: bool = True
    backbone_learning_rate: float | None = None

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

    @property
    def covariates(self) -> tuple[Covariate, ...]:
        """Those that enter the wide part, in the order of its columns."""
        names = () if self.wide is None else self.wide.covariates
        return tuple(covariate for name in names for covariate in self.schema.covariates if covariate.name == name)

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        """Names of the numbers that stand for the covariates."""
        return tuple(column for covariate in self.covariates for column in covariate.columns)

    @property
    def wide_penalties(self) -> tuple[float, ...]:
        """Of each column of the wide part: descriptors, then covariates; () in a model that is deep alone."""
        if self.wide is None:
            return ()
        covariates = [self.wide.covariate_penalty] * len(self.covariate_columns)
        return (*[self.wide.penalty] * len(self.wide.descriptors), *covariates)

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
            "wide": None if self.wide is None else _wide_to_block(self.wide),
            "use_context": self.use_context,
            "decisions": dict(self.decisions),
        }

    @classmethod
    def from_block(cls, block: Mapping[str, Any]) -> DSMTPlan:
        """Parses the block.

        Raises:
            ValueError: another version, parts are missing or unknown, or a value is of another type or not finite.
        """
        if block.get("version") != PLAN_VERSION:
            raise ValueError(
                f"The plans' 'dsmt' block has version {block.get('version')!r}; this release reads {PLAN_VERSION}. "
                f"Plan again with 'dsmt plan'."
            )
        try:
            plan = cls(
                schema=ClassificationSchema.from_block(block["classification"]),
                context=_part(ContextPlan, block["context"]),
                heads=_part(HeadPlan, block["heads"]),
                training=_part(TrainingPlan, block["training"]),
                wide=None if block["wide"] is None else _part(WidePlan, block["wide"]),
                decisions=dict(block.get("decisions", {})),
                **{name: field_from_json(cls, name, block[name]) for name in _BESIDE_PARTS},
            )
            if wrong := list(_not_finite({**asdict(plan), "schema": None}, "")):
                raise ValueError(f"{', '.join(wrong)} must be finite")
            if plan.max_candidates < 1 or plan.min_diameter_mm < 0:
                raise ValueError("max_candidates must be 1 or more, and min_diameter_mm 0 or more")
            return plan
        except (KeyError, TypeError, ValueError) as error:
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


def _part(kind: type[_Part], content: Mapping[str, Any]) -> _Part:
    """A part from what JSON holds of it; for what is lacking stands its default.

    Raises:
        ValueError: an entry is not known, is lacking, or is of another type.
    """
    held: dict[str, Any] = {}
    for item in fields(kind):  # type: ignore[arg-type]
        if item.default is not MISSING and item.default is not None:
            held[item.name] = jsonable(item.default)
        elif item.default_factory is not MISSING:
            held[item.name] = item.default_factory()
    optional = {item.name for item in fields(kind) if item.default is None}  # type: ignore[arg-type]
    given = {key: value for key, value in content.items() if value is not None or key not in optional}
    return from_json(kind, {**held, **jsonable(given)})


def _not_finite(value: Any, key: str) -> Iterator[str]:
    """The keys of numbers that are NaN or infinite."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _not_finite(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _not_finite(item, f"{key}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield key


def _wide_to_block(wide: WidePlan) -> dict[str, Any]:
    return {**asdict(wide), "descriptors": list(wide.descriptors), "covariates": list(wide.covariates)}


def probation(joint_epochs: int) -> int:
    """Epochs of the joint stage after which the share of the deep part is decided."""
    return max(1, round(PROBATION_SHARE * joint_epochs))
