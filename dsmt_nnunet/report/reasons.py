"""Why a nodule was scored as it was: the largest shares of the score, from CASE.json."""

from __future__ import annotations

from dataclasses import dataclass

from dsmt_nnunet.descriptors import MEANINGS
from dsmt_nnunet.predictions.results import DEEP_FEATURES, NodulePrediction
from dsmt_nnunet.report.numbers import readable

SHOWN = 6


@dataclass(frozen=True)
class Reason:
    """One share of a score.

    Attributes:
        name: of the descriptor or covariate.
        meaning: what is measured, and in which unit, as people read it.
        value: as measured; "" where there is none.
        share: in log odds, against the mean nodule of the training.
    """

    name: str
    meaning: str
    value: str
    share: float


def reasons_of(nodule: NodulePrediction, task: str, at_most: int = SHOWN) -> tuple[Reason, ...]:
    """The largest shares of a score, and what all others add together; () in a model without descriptors."""
    answer = nodule.tasks.get(task)
    if answer is None or not answer.contributions:
        return ()
    shares = sorted(answer.contributions.items(), key=lambda item: -abs(item[1]))
    measured = {**nodule.descriptors, **{name: value for name, value in nodule.covariates.items() if value is not None}}
    reasons = [Reason(name, _meaning(name), _value(measured.get(name)), share) for name, share in shares[:at_most]]
    others = sum(share for _, share in shares[at_most:])
    if len(shares) > at_most:
        reasons.append(Reason("", f"{len(shares) - at_most} others together", "", others))
    return tuple(reasons)


def _meaning(name: str) -> str:
    text = "what the network sees beyond all that" if name == DEEP_FEATURES else MEANINGS.get(name, readable(name))
    return text[:1].upper() + text[1:]


def _value(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.3g}"
