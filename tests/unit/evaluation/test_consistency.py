"""Whatever the table holds: an interval of a difference excludes 0 exactly where its p value lies below 0.05."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmt_nnunet.evaluation.comparisons import compare_levels, compare_scores
from dsmt_nnunet.evaluation.readers import evaluate_readers, readers_together
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.records import jsonable
from dsmt_nnunet.statistics.decisions.at_threshold import Decisions
from dsmt_nnunet.statistics.named_warnings import WarningLog


def with_p_value(content: Any, where: str) -> Iterator[tuple[str, dict]]:
    """Every record of an interval and a p value, however deep it lies."""
    if isinstance(content, dict):
        if content.get("p_value") is not None and content.get("ci") is not None and None not in content["ci"]:
            yield where, content
        for key, item in content.items():
            yield from with_p_value(item, f"{where}.{key}")
    elif isinstance(content, list):
        for index, item in enumerate(content):
            yield from with_p_value(item, f"{where}[{index}]")


def made_table(seed: int, n_cases: int, mode: str, digits: int, gain: float) -> ScoreTable:
    """Two scores, two readers and two sites, with or without patients and folds."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n_cases) < rng.uniform(0.2, 0.8)
    scores = {
        name: np.round(np.clip(rng.random(n_cases) * (1 - w) + w * truth, 0, 1), digits)
        for name, w in (("a", gain), ("b", 0.1))
    }
    patients = [f"p{k}" for k in rng.integers(0, max(n_cases // 3, 2), n_cases)]
    return ScoreTable(
        tuple(map(str, range(n_cases))),
        truth,
        scores,
        {name: (Decisions.at_threshold(values, 0.5, "stated"),) for name, values in scores.items()},
        readers={f"r{k}": rng.integers(1, 5, n_cases).astype(float) for k in range(2)},
        groups={"site": tuple("xy"[k] for k in rng.integers(0, 2, n_cases))},
        clusters=tuple(patients) if mode == "patients" else None,
        folds=np.arange(n_cases) % 3 if mode == "folds" else None,
    )


def checked(table: ScoreTable) -> dict[str, list[float]]:
    """p values by kind of test, none of which its interval contradicts."""
    options, log = EvaluationSettings(n_resamples=0), WarningLog()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {
            "scores": compare_scores(table, options, log),
            "levels": compare_levels(table, "site", ["x", "y"], options, log),
            "readers": evaluate_readers(table, options, log),
            "readers together": readers_together(table, options, log),
        }
    p_values: dict[str, list[float]] = {kind: [] for kind in found}
    for kind, content in jsonable(found).items():
        for where, test in with_p_value(content, kind):
            excludes = not test["ci"][0] <= 0 <= test["ci"][1]
            assert excludes == (test["p_value"] < 0.05) or abs(test["p_value"] - 0.05) < 1e-6, (where, test)
            p_values[kind].append(test["p_value"])
    return p_values


@given(
    seed=st.integers(0, 10_000),
    n_cases=st.integers(4, 40),
    mode=st.sampled_from(["alone", "patients", "folds"]),
    digits=st.sampled_from([1, 3]),
    gain=st.sampled_from([0.0, 0.5]),
)
@settings(max_examples=8, deadline=None)
def test_interval_and_p_never_contradict_each_other(
    seed: int, n_cases: int, mode: str, digits: int, gain: float
) -> None:
    checked(made_table(seed, n_cases, mode, digits, gain))


# AUC, accuracy, sensitivity and specificity of the pair; one AUC a score between the sites; one AUC a score and reader.
COUNTS = {"scores": 4, "levels": 2, "readers": 4, "readers together": 2}


@pytest.mark.parametrize("mode", ["alone", "patients", "folds"])
def test_every_comparison_has_an_interval_and_a_p_value(mode: str) -> None:
    """Else the property above holds of nothing."""
    found = checked(made_table(1, 60, mode, 3, 0.5))
    expected = COUNTS | ({"readers together": 0} if mode == "folds" else {})
    assert {kind: len(values) for kind, values in found.items()} == expected
    everything = [value for values in found.values() for value in values]
    assert min(everything) < 0.05 < max(everything)
