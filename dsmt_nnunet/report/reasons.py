"""Why a nodule was scored as it was: the largest shares of the score, from CASE.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsmt_nnunet.descriptors import MEANINGS
from dsmt_nnunet.predictions.results import DEEP_FEATURES, CasePrediction, NodulePrediction, read_case
from dsmt_nnunet.report.image_folders import ImageFolders
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


class ReasonReader:
    """Reads the reasons of nodules from folders of predictions, each CASE.json once."""

    def __init__(self, folders: ImageFolders, source: str) -> None:
        """
        Args:
            folders: where the predictions lie.
            source: name of the folder of predictions that was evaluated.
        """
        self._folders, self._source = folders, source
        self._read: dict[Path, CasePrediction | None] = {}

    def __call__(self, case_id: str, fold: str, nodule_id: str, task: str) -> tuple[Reason, ...]:
        """Of a predicted nodule's task; () where the predictions tell none."""
        path = self._folders.case_file(case_id, fold, self._source)
        if path is None:
            return ()
        if path not in self._read:
            self._read[path] = _case(path)
        case = self._read[path]
        nodules = () if case is None else case.nodules
        return next((reasons_of(own, task) for own in nodules if own.nodule_id == nodule_id), ())


def _case(path: Path) -> CasePrediction | None:
    try:
        return read_case(path)
    except ValueError:
        return None  # of another release: the page shows what the evaluation holds, without reasons


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
