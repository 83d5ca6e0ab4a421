from __future__ import annotations

import numpy as np
import pytest

from dsmt_nnunet.statistics.detection.froc import CPM_RATES, Marks, afroc, competition_performance_metric, froc_curve
from dsmt_nnunet.statistics.proportions import proportion


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
    result = competition_performance_metric(marks)
    assert result.estimate == pytest.approx(np.mean([np.interp(rate, false, found) for rate in CPM_RATES]))
    assert result.ci[0] < result.estimate < result.ci[1]


def test_missed_lesions_count() -> None:
    """Every mark hits, half of the lesions have none: 0.5 at any rate."""
    marks = Marks.create([0.9, 0.8], [0, 1], [True, True], [2, 2])
    assert competition_performance_metric(marks).estimate == 0.5


def test_copied_scans_of_a_patient_do_not_narrow_the_interval() -> None:
    marks = made_marks()
    once = competition_performance_metric(marks)
    copies = np.concatenate([marks.scan + 30 * k for k in range(3)])
    copied = Marks.create(np.tile(marks.score, 3), copies, np.tile(marks.hit, 3), np.tile(marks.n_lesions, 3))
    whole = competition_performance_metric(copied, np.tile(np.arange(30), 3))
    assert np.ptp(whole.ci) == pytest.approx(np.ptp(once.ci), rel=0.2)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="Scan 0 has 2 hits for 1 lesions"):
        Marks.create([1, 2], [0, 0], [True, True], [1])
    with pytest.raises(ValueError, match="scans 0 to 0, got 0 to 1"):
        Marks.create([1, 2], [0, 1], [True, False], [1])
    with pytest.raises(ValueError, match="No scan has a lesion"):
        Marks.create([1], [0], [False], [0])


def test_everything_found_before_the_first_false_mark_has_wilsons_limits() -> None:
    marks = Marks.create([3.0] * 20, range(20), [True] * 20, [1] * 20)
    result = competition_performance_metric(marks)
    assert (result.estimate, result.ci) == (1.0, pytest.approx(proportion(20, 20).ci))


def test_lesions_of_a_scan_that_was_not_read_are_missed_and_it_holds_no_false_mark() -> None:
    marks = Marks.create([2.0, 1.0], [0, 1], [True, False], [1, 0, 1], [True, True, False])
    curve = froc_curve(marks)
    assert curve.sensitivity.tolist() == [0.0, 0.5, 0.5]
    assert curve.false_per_scan.tolist() == [0.0, 0.0, 0.5]
    with pytest.raises(ValueError, match="scans that were read"):
        Marks.create([1.0], [1], [False], [1, 0], [True, False])


@pytest.mark.parametrize("without_lesion", [True, False])
def test_afroc_is_the_share_of_lesions_above_the_highest_false_mark(without_lesion: bool) -> None:
    """Chakraborty and Berbaum 2004, equations 4 and 5, pair by pair."""
    marks = made_marks(3)
    found = afroc(marks, scans_without_lesion=without_lesion)
    lesions = [*marks.score[marks.hit], *[-np.inf] * int(marks.n_lesions.sum() - marks.hit.sum())]
    scans = np.flatnonzero(marks.n_lesions == 0) if without_lesion else np.arange(len(marks.n_lesions))
    highest = [max(marks.score[(marks.scan == scan) & ~marks.hit], default=-np.inf) for scan in scans]
    pairs = [1.0 if lesion > scan else 0.5 if lesion == scan else 0.0 for lesion in lesions for scan in highest]
    assert found.area.auc == pytest.approx(np.mean(pairs))
    assert found.area.lower < found.area.auc < found.area.upper
    assert found.n_scans == len(scans)


def test_the_interval_is_the_jackknife_by_hand() -> None:
    """Leaving out scans one by one, without weights."""
    marks = made_marks(1)
    left_out = []
    for scan in range(30):
        kept, others = marks.scan != scan, np.arange(30) != scan
        part = Marks.create(marks.score[kept], marks.scan[kept] - (marks.scan[kept] > scan), marks.hit[kept],
                            marks.n_lesions[others])  # fmt: skip
        left_out.append(competition_performance_metric(part).estimate)
    assert competition_performance_metric(marks).se == pytest.approx(np.std(left_out) * np.sqrt(29))
