from __future__ import annotations

import numpy as np
import pytest

from dsmt_nnunet.statistics.detection.froc import CPM_RATES, Marks, competition_performance_metric, froc_curve


def made_marks(seed: int = 0) -> Marks:
    rng = np.random.default_rng(seed)
    n_lesions = rng.integers(0, 3, 30)
    score, scan, hit = [], [], []
    for index, count in enumerate(n_lesions):
        for _ in range(count):
            if rng.random() < 0.8:
                score.append(round(rng.normal(1), 1))
                scan.append(index)
                hit.append(True)
        for _ in range(rng.poisson(2)):
            score.append(round(rng.normal(), 1))
            scan.append(index)
            hit.append(False)
    return Marks.create(score, scan, hit, n_lesions)


def test_curve_and_metric_equal_the_naive_form() -> None:
    marks = made_marks()
    curve = froc_curve(marks)
    cuts = [np.inf, *sorted(set(marks.score), reverse=True)]
    false = [(marks.score[~marks.hit] >= cut).sum() / 30 for cut in cuts]
    found = [(marks.score[marks.hit] >= cut).sum() / marks.n_lesions.sum() for cut in cuts]
    np.testing.assert_allclose(curve.false_per_scan, false)
    np.testing.assert_allclose(curve.sensitivity, found)
    result = competition_performance_metric(marks, n_resamples=100)
    assert result.estimate == pytest.approx(np.mean([np.interp(rate, false, found) for rate in CPM_RATES]))
    assert result.ci[0] < result.estimate < result.ci[1]


def test_missed_lesions_count() -> None:
    """Every mark hits, half of the lesions have none: 0.5 at any rate."""
    marks = Marks.create([0.9, 0.8], [0, 1], [True, True], [2, 2])
    assert competition_performance_metric(marks, n_resamples=100).estimate == 0.5


def test_copied_scans_of_a_patient_do_not_narrow_the_interval() -> None:
    marks = made_marks()
    once = competition_performance_metric(marks, n_resamples=400)
    copies = np.concatenate([marks.scan + 30 * k for k in range(3)])
    copied = Marks.create(np.tile(marks.score, 3), copies, np.tile(marks.hit, 3), np.tile(marks.n_lesions, 3))
    whole = competition_performance_metric(copied, np.tile(np.arange(30), 3), n_resamples=400)
    assert np.ptp(whole.ci) == pytest.approx(np.ptp(once.ci), rel=0.2)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="Scan 0 has 2 hits for 1 lesions"):
        Marks.create([1, 2], [0, 0], [True, True], [1])
    with pytest.raises(ValueError, match="scans 0 to 0, got 0 to 1"):
        Marks.create([1, 2], [0, 1], [True, False], [1])
    with pytest.raises(ValueError, match="No scan has a lesion"):
        Marks.create([1], [0], [False], [0])
