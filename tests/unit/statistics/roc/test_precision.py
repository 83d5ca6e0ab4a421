from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from dsmt_nnunet.statistics.roc.precision import average_precision
from tests.unit.statistics.clustered_data import made_cases


def test_it_is_scikit_learns_of_repeated_cases_with_ties() -> None:
    data, rng = made_cases(20, 3, 1), np.random.default_rng(0)
    weights = np.concatenate([np.ones((1, 60), dtype=np.int64), rng.integers(0, 3, (5, 60))])
    found = average_precision(data.y_true, data.scores[0], weights)
    for value, row in zip(found, weights, strict=True):
        repeated = np.repeat(data.y_true, row), np.repeat(data.scores[0], row)
        assert value == pytest.approx(average_precision_score(*repeated))


def test_one_class_has_none() -> None:
    weights = np.array([[1, 1, 0], [0, 1, 1], [1, 1, 1]])
    found = average_precision(np.array([True, False, False]), np.array([0.3, 0.4, 0.1]), weights)
    assert np.isnan(found).tolist() == [False, True, False]
