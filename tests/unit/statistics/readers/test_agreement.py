from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from dsmt_nnunet.statistics.readers.agreement import fleiss, weighted_kappa


def test_fleiss_example_of_14_raters() -> None:
    """The worked example of Fleiss' kappa with ten subjects, fourteen raters and five categories: 0.210."""
    counts = np.array(
        [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ]
    )
    ratings = np.array([np.repeat(np.arange(5), row) for row in counts])
    found = fleiss(ratings, n_resamples=100)
    assert found.estimate == pytest.approx(0.210, abs=5e-4)
    assert found.ci[0] < 0.21 < found.ci[1]


def test_weighted_kappa_is_sklearns_and_patients_widen_it() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 4, 60)
    second = np.clip(first + rng.integers(-1, 2, 60), 0, 3)
    once = weighted_kappa(first, second, 4, n_resamples=500)
    assert once.estimate == pytest.approx(cohen_kappa_score(first, second, weights="quadratic"))
    copied = weighted_kappa(np.repeat(first, 4), np.repeat(second, 4), 4, np.repeat(np.arange(60), 4), n_resamples=500)
    assert np.ptp(copied.ci) == pytest.approx(np.ptp(once.ci), rel=0.2)
