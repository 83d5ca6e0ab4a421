from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from dsmt_nnunet.statistics.readers.agreement import AlphaMetric, fleiss, krippendorff_alpha, weighted_kappa


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
    found = fleiss(ratings)
    assert found.estimate == pytest.approx(0.210, abs=5e-4)
    assert found.ci[0] < 0.21 < found.ci[1]


def test_weighted_kappa_is_sklearns_and_patients_widen_it() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 4, 60)
    second = np.clip(first + rng.integers(-1, 2, 60), 0, 3)
    once = weighted_kappa(first, second, 4)
    assert once.estimate == pytest.approx(cohen_kappa_score(first, second, weights="quadratic"))
    copied = weighted_kappa(np.repeat(first, 4), np.repeat(second, 4), 4, np.repeat(np.arange(60), 4))
    assert np.ptp(copied.ci) == pytest.approx(np.ptp(once.ci), rel=0.2)


NOT_RATED = np.nan
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NOT_RATED, NOT_RATED, NOT_RATED],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NOT_RATED, 3],
        [NOT_RATED, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NOT_RATED],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NOT_RATED],
    ]
).T


@pytest.mark.parametrize(("metric", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_krippendorffs_example(metric: AlphaMetric, published: float) -> None:
    """Four observers and twelve units, some not rated (Krippendorff 2011, section C)."""
    found = krippendorff_alpha(KRIPPENDORFF, metric)
    assert found.estimate == pytest.approx(published, abs=5e-4)
    assert found.ci[0] < published < found.ci[1]


def test_alpha_counts_copies_of_a_case_once_where_patients_are_named() -> None:
    copied = np.repeat(KRIPPENDORFF, 4, axis=0)
    once = krippendorff_alpha(KRIPPENDORFF)
    taken_whole = krippendorff_alpha(copied, clusters=np.repeat(np.arange(12), 4))
    assert np.ptp(krippendorff_alpha(copied).ci) < 0.8 * np.ptp(once.ci)
    assert np.ptp(taken_whole.ci) == pytest.approx(np.ptp(once.ci), rel=0.35)


def test_alpha_without_two_ratings_of_a_case_is_refused() -> None:
    with pytest.raises(ValueError, match="a case with two ratings"):
        krippendorff_alpha([[1, NOT_RATED], [NOT_RATED, 2]])
