"""Phantom cohort: computed chest CTs with nodules whose invasiveness follows a stated model (docs/phantom.md)."""

from dsmt_nnunet.dataset_conversion.phantom.cohort import (
    SCHEMA,
    CohortSettings,
    NoduleFeatures,
    PhantomCase,
    draw_case,
    draw_cohort,
)
from dsmt_nnunet.dataset_conversion.phantom.convert import convert_phantom
from dsmt_nnunet.dataset_conversion.phantom.model import Ceilings, ceilings
from dsmt_nnunet.dataset_conversion.phantom.render import RenderedCase, render_case

__all__ = [
    "SCHEMA",
    "Ceilings",
    "CohortSettings",
    "NoduleFeatures",
    "PhantomCase",
    "RenderedCase",
    "ceilings",
    "convert_phantom",
    "draw_case",
    "draw_cohort",
    "render_case",
]
