"""What is doubtful of a nodule's answer, though possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dsmt_nnunet.architecture.heads import CLIP
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.covariates import encode
from dsmt_nnunet.intensities import TOUCH_MM
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.predictions.results import NodulePrediction


def nodule_doubts(network: DSMTNet, plan: DSMTPlan, nodules: Sequence[NodulePrediction]) -> list[str]:
    """One sentence for each nodule that the model does not draw, and for each covariate unlike those it was fitted on.

    Args:
        network: of one fold, which knows the covariates that it was fitted on.
        plan: of the model.
        nodules: with their answers.
    """
    doubts = []
    for nodule in nodules:
        told = (
            [] if nodule.volume_mm3 else [f"the model draws none within {TOUCH_MM:g} mm of the position. Is it right?"]
        )
        told += _unusual_covariates(network, plan, nodule)
        doubts += [f"nodule '{nodule.nodule_id}': {text}" for text in told]
    return doubts


def _unusual_covariates(network: DSMTNet, plan: DSMTPlan, nodule: NodulePrediction) -> Iterator[str]:
    """Numbers so far from those of the training that the model takes them for nearer ones; of another unit, perhaps."""
    wide = network.task_heads[plan.schema.primary_index].wide
    if wide is None or not nodule.covariates:
        return
    columns = zip(
        plan.covariate_columns,
        encode(plan.covariates, nodule.covariates),
        wide.mean[wide.measured :].tolist(),
        wide.scale[wide.measured :].tolist(),
        wide.weight[:, wide.measured :].any(dim=0).tolist(),
        strict=True,
    )
    units = {covariate.name: covariate.unit for covariate in plan.covariates if covariate.is_number}
    for name, value, mean, scale, counts in columns:
        if name in units and counts and abs(value - mean) > CLIP * scale:
            yield (
                f"{name} is {value:g}, and was {mean:.3g} (standard deviation {scale:.3g}) in training"
                f"{f', in {units[name]}' if units[name] else ''}. Is the unit right?"
            )
