from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from dsmt_nnunet.evaluation.agreement import readers_agreement
from dsmt_nnunet.evaluation.score_table import ScoreTable
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.statistics.named_warnings import WarningLog

SETTINGS = EvaluationSettings(n_resamples=100)


def table(n_cases: int = 40, **readers: np.ndarray) -> ScoreTable:
    names = tuple(map(str, range(n_cases)))
    return ScoreTable(names, np.arange(n_cases) % 2 == 0, {"model": np.zeros(n_cases)}, readers=readers)


def drawn() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 6, 40).astype(float)
    return {name: np.clip(truth + rng.integers(-1, 2, 40), 1, 5) for name in ("first", "second", "third")}


def test_pairs_are_compared_where_both_rated() -> None:
    readers = drawn()
    readers["second"][:10] = np.nan
    found = readers_agreement(table(**readers), SETTINGS, WarningLog())
    assert found is not None
    assert found.all is not None
    pair = found.pairs[0]
    assert (pair.readers, pair.n) == (("first", "second"), 30)
    expected = cohen_kappa_score(readers["first"][10:], readers["second"][10:], weights="quadratic")
    assert pair.quadratic_kappa == pytest.approx(expected)
    assert (found.all.n, found.all.n_complete) == (40, 30)


def test_measurements_and_single_readers_have_no_agreement() -> None:
    readers = drawn()
    measured = {"first": readers["first"], "second": np.linspace(0, 1, 40)}
    assert readers_agreement(table(**measured), SETTINGS, WarningLog()) is None
    assert readers_agreement(table(first=readers["first"]), SETTINGS, WarningLog()) is None
