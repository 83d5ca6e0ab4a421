"""A multi-reader multi-case study: every reader rates every case in every modality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray


@dataclass(frozen=True)
class Rating:
    """One rating: who, in which modality, of which case; higher means positive."""

    reader: str
    modality: str
    case: str
    truth: bool
    value: float


@dataclass(frozen=True)
class ReaderStudy:
    """A fully crossed study.

    Attributes:
        modalities: names of the T modalities.
        readers: names of the R readers.
        y_true: truth of the C cases.
        ratings: shape (T, R, C).
        cases: names of the C cases; empty where they have none.
    """

    modalities: tuple[str, ...]
    readers: tuple[str, ...]
    y_true: BoolArray
    ratings: FloatArray
    cases: tuple[str, ...] = ()

    @classmethod
    def from_ratings(cls, ratings: Sequence[Rating]) -> ReaderStudy:
        """Builds the study from a list of ratings, names in order of first appearance.

        Raises:
            ValueError: a case has two truths, a rating occurs twice, is missing or is not finite; they are named.
        """
        modalities = tuple(dict.fromkeys(item.modality for item in ratings))
        readers = tuple(dict.fromkeys(item.reader for item in ratings))
        cases = tuple(dict.fromkeys(item.case for item in ratings))
        truth: dict[str, bool] = {}
        index = {
            name: {key: number for number, key in enumerate(keys)}
            for name, keys in (("modality", modalities), ("reader", readers), ("case", cases))
        }
        table = np.full((len(modalities), len(readers), len(cases)), math.nan)
        for item in ratings:
            label = f"reader '{item.reader}', modality '{item.modality}', case '{item.case}'"
            if truth.setdefault(item.case, item.truth) != item.truth:
                raise ValueError(f"Case '{item.case}' is positive in one row and negative in another.")
            if not math.isfinite(item.value):
                raise ValueError(f"The rating of {label} must be a finite number, got {item.value!r}.")
            place = (index["modality"][item.modality], index["reader"][item.reader], index["case"][item.case])
            if not math.isnan(table[place]):
                raise ValueError(f"Two ratings of {label}; each reader rates a case once in a modality.")
            table[place] = item.value
        missing = np.argwhere(np.isnan(table))
        if len(missing):
            shown = "; ".join(
                f"reader '{readers[r]}', modality '{modalities[m]}', case '{cases[c]}'" for m, r, c in missing[:10]
            )
            raise ValueError(
                f"{len(missing)} ratings are missing, and the analysis needs every reader on every case in every "
                f"modality: {shown}{' ...' if len(missing) > 10 else ''}. Take incomplete cases out."
            )
        return cls(modalities, readers, np.array([truth[case] for case in cases], dtype=bool), table, cases)
