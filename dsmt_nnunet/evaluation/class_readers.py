"""Readers of grades and of classes without an order: how good each is, and how much better or worse the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from dsmt_nnunet.evaluation.class_comparisons import differences
from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule, truth_value
from dsmt_nnunet.evaluation.multiclass import confusion_matrix
from dsmt_nnunet.evaluation.records.class_readers import ClassReader
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.checks import IntArray
from dsmt_nnunet.statistics.ordinal.measures import Answers, ClassCases


def readings(nodules: Sequence[JoinedNodule], columns: Sequence[str], classes: Sequence[str]) -> dict[str, IntArray]:
    """Class of each nodule by each reader, -1 where there is none; columns that name other things are left out."""
    found = {}
    for column in columns:
        texts = [truth_value(item.truth, column) if item.truth else "" for item in nodules]
        if any(texts) and all(text in classes for text in texts if text):
            found[column] = np.array([list(classes).index(text) if text else -1 for text in texts], dtype=np.int64)
    return found


def class_readers(
    cases: ClassCases,
    model: Answers,
    classes: Sequence[str],
    read: Mapping[str, IntArray],
    settings: EvaluationSettings,
) -> dict[str, ClassReader]:
    """Each reader by name, on the cases that the reader rated.

    Args:
        cases: truth and patients.
        model: what the model decided.
        classes: names.
        read: reader -> class of each case, -1 where there is none.
        settings: how intervals are made.
    """
    result = {}
    for name, found in read.items():
        rated = found >= 0
        own, reader = replace(cases.of(rated), folds=None), Answers(found[rated])
        result[name] = ClassReader(
            n=len(reader.decided),
            model_minus_reader=differences(own, model.of(rated), reader, settings) if rated.any() else (),
            confusion_matrix=confusion_matrix(own.truth, reader.decided, len(classes)),
        )
    return result
