"""Free-response marks: FROC, CPM and AFROC."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np

from benchmarks.coverage.cases import Cases, Scenario, shared_normals
from benchmarks.coverage.outcome import Outcome
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.checks import IntArray
from dsmt_nnunet.statistics.detection.froc import (
    CPM_RATES,
    Marks,
    afroc,
    competition_performance_metric,
    froc_curve,
    sensitivity_at_rates,
)

MARKED = 0.9
"""Share of lesions that are marked at any score."""
FALSE_MARKS = 2.0
"""Mean number of false marks of a scan."""


def detection_outcomes(scenario: Scenario, cases: Cases, settings: EvaluationSettings) -> Iterator[Outcome]:
    """Scans are the scenario's cases; those of positive label hold a lesion or two. Patients share scores."""
    truth = _detection_truth(scenario)
    marks = _marks(scenario, cases.patients, cases.labels.astype(np.int64), np.random.default_rng([settings.seed, 3]))
    yield Outcome("CPM, jackknife, logit", competition_performance_metric(marks, cases.patients).ci, truth["cpm"])
    at_one = sensitivity_at_rates(marks, (1.0,), cases.patients)
    yield Outcome("sensitivity at 1 false mark a scan, jackknife, logit", at_one.ci, truth["one"])
    for name, is_without in (("AFROC", True), ("AFROC1", False)):
        area = afroc(marks, cases.patients, scans_without_lesion=is_without).area
        yield Outcome(f"area under {name}, logit", (area.lower, area.upper), truth[name])


def _marks(scenario: Scenario, patients: IntArray, positive: IntArray, rng: np.random.Generator) -> Marks:
    n_scans = len(patients)
    n_lesions = positive * (1 + (rng.random(n_scans) < 0.3))
    shared = math.sqrt(0.5) * shared_normals(scenario, patients, 1, rng)[0]
    of_lesion = np.repeat(np.arange(n_scans), n_lesions)
    of_lesion = of_lesion[rng.random(len(of_lesion)) < MARKED]
    of_false = np.repeat(np.arange(n_scans), rng.poisson(FALSE_MARKS * np.exp(0.5 * shared - 0.0625), n_scans))
    hits = shared[of_lesion] + math.sqrt(0.5) * rng.normal(size=len(of_lesion)) + scenario.shift
    false = shared[of_false] + math.sqrt(0.5) * rng.normal(size=len(of_false))
    return Marks.create(
        np.concatenate([hits, false]),
        np.concatenate([of_lesion, of_false]),
        np.repeat([True, False], [len(hits), len(false)]),
        n_lesions,
    )


@lru_cache
def _detection_truth(scenario: Scenario) -> dict[str, float]:
    rng = np.random.default_rng(0)
    patients = np.arange(200_000)
    many = replace(scenario, n_patients=len(patients), per_patient=1)
    marks = _marks(many, patients, (rng.random(len(patients)) < scenario.positives).astype(np.int64), rng)
    curve = froc_curve(marks)
    at = [float(np.interp(rate, curve.false_per_scan, curve.sensitivity)) for rate in (*CPM_RATES, 1.0)]
    return {"cpm": float(np.mean(at[:-1])), "one": at[-1]} | {
        "AFROC": _area(marks, True),
        "AFROC1": _area(marks, False),
    }


def _area(marks: Marks, is_without: bool) -> float:
    return afroc(marks, scans_without_lesion=is_without).area.auc
