"""Phantom cases: what is drawn at random before anything is rendered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from dsmt_nnunet.dataset_conversion.phantom.acquisition import (
    EXTERNAL_PROTOCOL,
    INTERNAL_PROTOCOLS,
    PROTOCOLS,
    REFERENCE_SIZE,
)
from dsmt_nnunet.dataset_conversion.phantom.anatomy import Thorax
from dsmt_nnunet.dataset_conversion.phantom.model import draw_features, invasiveness_logit
from dsmt_nnunet.tasks import ClassificationSchema, Task

SCHEMA = ClassificationSchema(
    tasks=(
        Task("invasiveness", ("non-invasive", "invasive")),
        Task("bubble_lucency", ("absent", "present")),
        Task("pleural_retraction", ("absent", "present")),
    ),
    primary_task="invasiveness",
)
SIGNS = ("bubble_lucency", "pleural_retraction")
CASE_PREFIX = {"train": "phantom", "test": "phantom_test", "external": "phantom_ext"}
_PATIENT_PREFIX = {"train": "P", "test": "T", "external": "E"}
_SIZE_RANGE = (32, 256)
_SECOND_NODULE_DISTANCE_MM = 50.0
_SECOND_NODULE_TRIES = 40


@dataclass(frozen=True)
class CohortSettings:
    """Shares that shape a cohort.

    Attributes:
        two_nodules: share of cases with two nodules.
        two_cases: share of patients who contribute two cases (same thorax and context, another nodule).
        unknown_signs: share of sign labels that the tables leave empty.
    """

    two_nodules: float = 0.10
    two_cases: float = 0.15
    unknown_signs: float = 0.05

    def __post_init__(self) -> None:
        for name in ("two_nodules", "two_cases", "unknown_signs"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, got {getattr(self, name):g}.")


@dataclass(frozen=True)
class NoduleFeatures:
    """One nodule as drawn.

    Attributes:
        diameter_mm: of the sphere of the same volume.
        solid_fraction: share of the volume that is solid, the rest being ground glass (bubbles aside).
        lobulation: depth of the lobes, 0 to 1.
        spiculation: length of the spikes, 0 to 1; says nothing about invasiveness.
        bubble_lucency: whether there are air pockets inside.
        pleural_retraction: whether a tag pulls the pleura in.
        true_probability: of invasiveness, given everything.
        invasive: the label drawn from it.
        unknown_signs: signs whose label the tables leave empty.
        ground_glass_hu: density of the ground glass.
        solid_hu: density of the solid part.
        angle: place on the costal pleura, see `Thorax.costal_point`.
        z_mm: height about the centre of the volume.
        gap_mm: between pleura and nodule, the nodule taken as a sphere.
        seed: of shape, bubbles and tag.
    """

    diameter_mm: float
    solid_fraction: float
    lobulation: float
    spiculation: float
    bubble_lucency: bool
    pleural_retraction: bool
    true_probability: float
    invasive: bool
    unknown_signs: tuple[str, ...]
    ground_glass_hu: float
    solid_hu: float
    angle: float
    z_mm: float
    gap_mm: float
    seed: int

    def centre_xyz_mm(self, thorax: Thorax) -> tuple[float, float, float]:
        """Centre about the centre of the volume."""
        (x, y), (normal_x, normal_y) = thorax.costal_point(self.angle, self.z_mm)
        depth = self.pleura_distance_mm
        return (x + depth * normal_x, y + depth * normal_y, self.z_mm)

    @property
    def pleura_distance_mm(self) -> float:
        """From the centre of the nodule to the costal pleura."""
        return self.gap_mm + self.diameter_mm / 2

    @property
    def labels(self) -> dict[str, str | None]:
        """Class names, None where the tables leave the label empty."""
        truth = {"invasiveness": self.invasive, **{sign: getattr(self, sign) for sign in SIGNS}}
        return {
            name: None if name in self.unknown_signs else SCHEMA[name].classes[int(present)]
            for name, present in truth.items()
        }


@dataclass(frozen=True)
class PhantomCase:
    """One scan as drawn; `render_case` makes the image.

    Attributes:
        case_id: nnU-Net case identifier.
        patient_id: cases of one patient share thorax and context.
        group: "train", "test" or "external".
        protocol: name of the acquisition protocol.
        size: in-plane size in voxels.
        thorax: anatomy of the patient.
        haze: extent far from the nodules, 0 to 1.
        scarring: extent far from the nodules, 0 to 1.
        origin_xyz_mm: of the image, LPS.
        nodules: one or two.
        seed: of the noise.
    """

    case_id: str
    patient_id: str
    group: str
    protocol: str
    size: int
    thorax: Thorax
    haze: float
    scarring: float
    origin_xyz_mm: tuple[float, float, float]
    nodules: tuple[NoduleFeatures, ...]
    seed: int

    @property
    def cohort(self) -> str:
        """Internal or external, as in the tables."""
        return "external" if self.group == "external" else "internal"


@dataclass(frozen=True)
class _Patient:
    patient_id: str
    thorax: Thorax
    context: Mapping[str, float]


def case_name(group: str, index: int) -> str:
    """nnU-Net case identifier of a case of a group, from 0."""
    return f"{CASE_PREFIX[group]}_{index + 1:04d}"


def draw_case(
    seed: int, index: int, group: str = "train", size: int = REFERENCE_SIZE, settings: CohortSettings | None = None
) -> PhantomCase:
    """Draws one case; it depends on seed, group and index alone, not on how many cases a cohort has.

    Args:
        seed: of the cohort.
        index: of the case, from 0.
        group: "train", "test" (both internal protocols) or "external".
        size: in-plane size in voxels; the field of view stays the same.
        settings: shares that shape the cohort.

    Raises:
        ValueError: an unknown group, or a size out of range.
    """
    if group not in CASE_PREFIX:
        raise ValueError(f"The group of a phantom case is one of {list(CASE_PREFIX)}, got '{group}'.")
    if not _SIZE_RANGE[0] <= size <= _SIZE_RANGE[1]:
        raise ValueError(f"A phantom has {_SIZE_RANGE[0]} to {_SIZE_RANGE[1]} voxels a side, got {size}.")
    settings = settings or CohortSettings()
    patient = _draw_patient(seed, index, group, settings)
    rng = _generator(seed, group, index, purpose=2)
    protocol = EXTERNAL_PROTOCOL if group == "external" else str(rng.choice(INTERNAL_PROTOCOLS))
    nodules = [_draw_nodule(rng, patient, settings)]
    if rng.random() < settings.two_nodules:
        nodules.append(_draw_distant_nodule(rng, patient, settings, nodules[0]))
    return PhantomCase(
        case_id=case_name(group, index),
        patient_id=patient.patient_id,
        group=group,
        protocol=protocol,
        size=size,
        thorax=patient.thorax,
        haze=patient.context["haze"],
        scarring=patient.context["scarring"],
        origin_xyz_mm=_draw_origin(rng, patient.thorax, protocol, size),
        nodules=tuple(nodules),
        seed=int(rng.integers(2**31)),
    )


def draw_cohort(
    seed: int,
    cases: int,
    group: str = "train",
    size: int = REFERENCE_SIZE,
    settings: CohortSettings | None = None,
) -> list[PhantomCase]:
    """The first `cases` cases of a group, see `draw_case`."""
    return [draw_case(seed, index, group, size, settings) for index in range(cases)]


def _generator(seed: int, group: str, number: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, list(CASE_PREFIX).index(group), number, purpose])


def _draw_patient(seed: int, index: int, group: str, settings: CohortSettings) -> _Patient:
    """The patient of a case.

    Cases 0 and 1, 2 and 3, ... are one patient or two. With a share q of patients with two cases, a pair is one
    patient with probability 2q / (1 + q).
    """
    pair = index // 2
    rng = _generator(seed, group, pair, purpose=0)
    one_patient = rng.random() < 2 * settings.two_cases / (1 + settings.two_cases)
    number = 2 * pair + 1
    if index % 2 and not one_patient:
        number += 1
        rng = _generator(seed, group, pair, purpose=1)
    context = {name: float(values[0]) for name, values in draw_features(rng, groups=("context",)).items()}
    return _Patient(f"{_PATIENT_PREFIX[group]}{number:04d}", Thorax.draw(rng), context)


def _draw_nodule(rng: np.random.Generator, patient: _Patient, settings: CohortSettings) -> NoduleFeatures:
    own = {name: float(values[0]) for name, values in draw_features(rng, groups=("local", "signs")).items()}
    probability = float(expit(invasiveness_logit({**own, **patient.context})))
    return NoduleFeatures(
        diameter_mm=own["diameter_mm"],
        solid_fraction=own["solid_fraction"],
        lobulation=own["lobulation"],
        spiculation=rng.random(),
        bubble_lucency=bool(own["bubble_lucency"]),
        pleural_retraction=bool(own["pleural_retraction"]),
        true_probability=probability,
        invasive=bool(rng.random() < probability),
        unknown_signs=tuple(sign for sign in SIGNS if rng.random() < settings.unknown_signs),
        ground_glass_hu=rng.uniform(-600, -530),
        solid_hu=rng.uniform(10, 50),
        angle=math.radians(rng.uniform(-60, 60)),
        z_mm=rng.uniform(-12, 24),
        gap_mm=rng.uniform(5, 11),
        seed=int(rng.integers(2**31)),
    )


def _draw_distant_nodule(
    rng: np.random.Generator, patient: _Patient, settings: CohortSettings, first: NoduleFeatures
) -> NoduleFeatures:
    """Another nodule: the first candidate far enough away, or else the furthest of them."""
    candidates = [_draw_nodule(rng, patient, settings) for _ in range(_SECOND_NODULE_TRIES)]
    here = first.centre_xyz_mm(patient.thorax)
    distances = [math.dist(here, candidate.centre_xyz_mm(patient.thorax)) for candidate in candidates]
    far = [number for number, distance in enumerate(distances) if distance >= _SECOND_NODULE_DISTANCE_MM]
    return candidates[far[0] if far else int(np.argmax(distances))]


def _draw_origin(rng: np.random.Generator, thorax: Thorax, protocol: str, size: int) -> tuple[float, float, float]:
    """Position of the first voxel: the volume lies where the lung of that side does in a patient."""
    chosen = PROTOCOLS[protocol]
    shape_xyz = (size, size, chosen.slice_count(size))
    centre = (thorax.side * 72 + rng.uniform(-8, 8), rng.uniform(-30, 10), rng.uniform(-260, -120))
    x, y, z = (
        round(middle - (count - 1) / 2 * spacing, 2)
        for middle, count, spacing in zip(centre, shape_xyz, chosen.spacing_mm(size), strict=True)
    )
    return (x, y, z)
