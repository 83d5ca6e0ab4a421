"""Readers of grades and of classes without an order: how good each is, and how much better or worse the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from dsmt_nnunet.evaluation.comparisons import proportion_difference
from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule, truth_value
from dsmt_nnunet.evaluation.multiclass import confusion_matrix
from dsmt_nnunet.evaluation.records.class_readers import ClassReader, MeasureDifference
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.bootstrap import Statistic
from dsmt_nnunet.statistics.clusters.jackknife import jackknife_covariance
from dsmt_nnunet.statistics.clusters.ratio import clustered_mean
from dsmt_nnunet.statistics.clusters.units import cluster_codes
from dsmt_nnunet.statistics.ordinal.weighted import nominal_kappa, quadratic_kappa
from dsmt_nnunet.statistics.proportions import UNDEFINED

JACKKNIFE, RATIO = "jackknife of patients, t", "t over patients"


@dataclass(frozen=True)
class ClassDecisions:
    """True and decided class of N nodules.

    Attributes:
        classes: names, of grades the lowest first.
        is_ordinal: whether they are grades.
        truth, decided: indices, shape (N,).
        clusters: patient of each nodule.
    """

    classes: tuple[str, ...]
    is_ordinal: bool
    truth: IntArray
    decided: IntArray
    clusters: Sequence[str] | None

    def of(self, chosen: BoolArray) -> ClassDecisions:
        """The chosen nodules."""
        own = None if self.clusters is None else [self.clusters[index] for index in np.flatnonzero(chosen).tolist()]
        return ClassDecisions(self.classes, self.is_ordinal, self.truth[chosen], self.decided[chosen], own)


def readings(nodules: Sequence[JoinedNodule], columns: Sequence[str], classes: Sequence[str]) -> dict[str, IntArray]:
    """Class of each nodule by each reader, -1 where there is none; columns that name other things are left out."""
    found = {}
    for column in columns:
        texts = [truth_value(item.truth, column) if item.truth else "" for item in nodules]
        if any(texts) and all(text in classes for text in texts if text):
            found[column] = np.array([list(classes).index(text) if text else -1 for text in texts], dtype=np.int64)
    return found


def class_readers(
    cases: ClassDecisions, read: Mapping[str, IntArray], settings: EvaluationSettings
) -> dict[str, ClassReader]:
    """Each reader by name, on the nodules that the reader rated."""
    result = {}
    for name, classes in read.items():
        own, reader = cases.of(classes >= 0), classes[classes >= 0]
        result[name] = ClassReader(
            n=len(reader),
            model_minus_reader=tuple(differences(own, reader, settings)) if len(reader) else (),
            confusion_matrix=confusion_matrix(own.truth, reader, len(cases.classes)),
        )
    return result


def differences(cases: ClassDecisions, other: IntArray, settings: EvaluationSettings) -> list[MeasureDifference]:
    """Measures of the decisions less those of other decisions on the same nodules.

    Args:
        cases: truth and the first decisions.
        other: the second decisions, shape (N,).
        settings: how intervals are made.
    """
    rights = (cases.truth == cases.decided, cases.truth == other)
    share = proportion_difference(*rights, settings.level, cases.clusters)
    values = (float(rights[0].mean()), float(rights[1].mean()))
    found = [_difference("accuracy", values, share.ci, share.p_value, share.test)]
    if cases.is_ordinal:
        errors = (np.abs(cases.truth - cases.decided), np.abs(cases.truth - other))
        mean = clustered_mean(errors[0] - errors[1], cases.clusters, settings.level)
        values = (float(errors[0].mean()), float(errors[1].mean()))
        found.append(_difference("mean absolute error", values, mean.ci, mean.p_value, RATIO))
    return [*found, _kappa_difference(cases, other, settings)]


def _kappa_difference(cases: ClassDecisions, other: IntArray, settings: EvaluationSettings) -> MeasureDifference:
    kappa, n_classes = quadratic_kappa if cases.is_ordinal else nominal_kappa, len(cases.classes)

    def of(decided: IntArray) -> Statistic:
        return lambda weights: kappa(cases.truth, decided, n_classes, weights)

    first, second = of(cases.decided), of(other)

    def difference(weights: IntArray) -> FloatArray:
        return (first(weights) - second(weights))[:, None]

    everyone = np.ones((1, len(other)), dtype=np.int64)
    values = (float(first(everyone)[0]), float(second(everyone)[0]))
    name = "quadratic kappa" if cases.is_ordinal else "Cohen's kappa"
    codes = cluster_codes(cases.clusters, len(other))
    se, df = math.sqrt(jackknife_covariance(difference, codes)[0, 0]), int(codes.max())
    gap = values[0] - values[1]
    if df < 1 or not se > 1e-12:
        return _difference(name, values, UNDEFINED, 1.0 if gap == 0 else math.nan, JACKKNIFE)
    half = float(t.ppf(0.5 + settings.level / 2, df)) * se
    return _difference(name, values, (gap - half, gap + half), float(2 * t.sf(abs(gap) / se, df)), JACKKNIFE)


def _difference(
    measure: str, values: tuple[float, float], ci: tuple[float, float], p_value: float, test: str
) -> MeasureDifference:
    model, reader = values
    return MeasureDifference(
        measure=measure, model=model, reader=reader, difference=model - reader, ci=ci, test=test, p_value=p_value
    )
