"""The warnings of an evaluation in plain words, of one kind together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dsmt_nnunet.statistics.named_warnings import NamedWarning

PLAIN_WORDS = {
    "OneClassWarning": "Some groups hold one class only, so there is no AUC for them.",
    "OneCaseInClassWarning": "A class has a single case: the AUC is given, but it has no interval.",
    "NoPositiveDecisionWarning": "A predictive value has no denominator, because every case was called alike.",
    "ZeroVarianceDifferenceWarning": "Two AUCs differ, but the difference has no variance: there is no test.",
    "NotAProbabilityWarning": "Some scores are no probabilities: calibration and decision curve are left out for them.",
    "SeparationWarning": "Some probabilities separate the classes fully (or are constant): no calibration slope there.",
    "EmptyMaskWarning": "Some masks are empty in truth and prediction: no Dice for them.",
    "ZeroVarianceWarning": "Some AUCs are of perfectly separated classes; another interval than DeLong's stands in.",
    "CollapsedBootstrapWarning": "All bootstrap resamples agreed for some numbers; those intervals are left out.",
    "SmallSampleWarning": "Few cases in some groups, or few readers: do not trust those intervals and tests.",
    "ThresholdWarning": "An operating point is missing, or was chosen on the data it is reported on.",
    "ClusteredDataWarning": "Spellings were taken for one patient, or patients were not to be the unit.",
    "IncompleteDataWarning": "Some cases were left out.",
    "CalibrationWarning": "A temperature could not be fitted well.",
}
"""Name of a warning -> what it means for the reader of the page."""


@dataclass(frozen=True)
class PlainWarning:
    """All warnings of one name.

    Attributes:
        name: the class of the warning, as in metrics.json.
        meaning: in plain words.
        entries: (where, message) of each.
    """

    name: str
    meaning: str
    entries: tuple[tuple[str, str], ...]


def plain_warnings(warnings: Sequence[NamedWarning]) -> list[PlainWarning]:
    """Groups the `warnings` of metrics.json by name, in order of first appearance."""
    grouped: dict[str, list[tuple[str, str]]] = {}
    for item in warnings:
        grouped.setdefault(item.name, []).append((item.where, item.message))
    return [PlainWarning(name, PLAIN_WORDS.get(name, name), tuple(entries)) for name, entries in grouped.items()]
