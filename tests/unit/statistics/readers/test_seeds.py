from __future__ import annotations

import numpy as np
import pytest

from dsmt_nnunet.statistics.named_warnings import SmallSampleWarning
from dsmt_nnunet.statistics.readers.against_model import model_against_readers
from dsmt_nnunet.statistics.readers.merit_covariance import estimate_merit
from dsmt_nnunet.statistics.readers.obuchowski_rockette import obuchowski_rockette
from dsmt_nnunet.statistics.readers.seeds import CohortScores, compare_over_seeds, seed_contrast
from dsmt_nnunet.statistics.readers.study import ReaderStudy


def made_seeds(n_seeds: int = 4, n_cases: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y_true = np.arange(n_cases) % 2 == 0
    shared = rng.normal(size=n_cases)
    return y_true, shared + 0.8 * rng.normal(size=(2, n_seeds, n_cases)) + y_true


def test_seeds_are_the_readers_of_a_reader_study() -> None:
    y_true, scores = made_seeds()
    study = ReaderStudy(("a", "b"), tuple("0123"), y_true, scores)
    expected = obuchowski_rockette(estimate_merit(study), study.modalities, study.readers)
    found = compare_over_seeds(y_true, *scores)
    assert found.p_value == pytest.approx(expected.differences[0].p_value)
    assert found.ci == pytest.approx(expected.differences[0].ci)
    assert found.first.auc == pytest.approx(expected.means[0].estimate)
    assert 0 < found.first.ci[0] < found.first.auc < found.first.ci[1] < 1


def test_one_lucky_seed_is_no_evidence() -> None:
    """Seeds that scatter widely: certain where they are fixed, not where they are drawn."""
    y_true, scores = made_seeds(3, 2000, 1)
    scores[0, 0] += 4.0 * y_true
    found = compare_over_seeds(y_true, *scores)
    assert found.p_fixed_seeds < 1e-6
    assert found.p_value > 0.05


def test_copied_nodules_add_nothing() -> None:
    y_true, scores = made_seeds()
    copied = compare_over_seeds(
        np.repeat(y_true, 4), *np.repeat(scores, 4, axis=2), clusters=np.repeat(np.arange(80), 4)
    )
    once = compare_over_seeds(y_true, *scores)
    assert (copied.se, copied.p_value) == pytest.approx((once.se, once.p_value))


def test_few_or_unequal_seeds() -> None:
    y_true, scores = made_seeds(2)
    with pytest.warns(SmallSampleWarning, match="2 seeds"):
        compare_over_seeds(y_true, *scores)
    with pytest.raises(ValueError, match="got 2 and 1"):
        compare_over_seeds(y_true, scores[0], scores[1, :1])
    with pytest.raises(ValueError, match="two or more"):
        compare_over_seeds(y_true, scores[0, 0], scores[1, 0])


def test_a_contrast_of_one_cohort_is_the_comparison() -> None:
    y_true, scores = made_seeds()
    patients = np.repeat(np.arange(40), 2)
    expected = compare_over_seeds(y_true, *scores, clusters=patients)
    found = seed_contrast([CohortScores(y_true, scores[0], scores[1], patients)])
    assert (found.estimate, found.se, found.df) == pytest.approx((expected.difference, expected.se, expected.df))
    assert (found.p_value, found.ci) == (pytest.approx(expected.p_value), pytest.approx(expected.ci))
    floor = scores[1, 0]
    model = model_against_readers(y_true, floor, scores[0], clusters=patients)
    against = seed_contrast([CohortScores(y_true, scores[0], floor, patients)])
    assert (against.estimate, against.p_value) == pytest.approx((-model.difference, model.p_value))


def test_a_drop_and_its_interaction_hold_their_error() -> None:
    """Two cohorts alike, two procedures alike: both are null, seeds and patients drawn."""
    rejected = []
    for draw in range(200):
        rng = np.random.default_rng(draw)
        cohorts = []
        seed_gain = rng.normal(0, 0.2, size=(2, 3, 1))
        for sign in (1, -1):
            patients = np.repeat(np.arange(60), 2)
            y_true = (rng.normal(size=60)[patients] + rng.normal(size=120)) > 0
            shared = rng.normal(size=60)[patients] + rng.normal(size=120)
            scores = shared + (1.5 + seed_gain) * y_true + 0.5 * rng.normal(size=(2, 3, 120))
            cohorts.append((y_true, scores, patients, sign))
        drop = [CohortScores(y, s[0], None, p, sign) for y, s, p, sign in cohorts]
        interaction = [CohortScores(y, s[0], s[1], p, sign) for y, s, p, sign in cohorts]
        rejected.append([seed_contrast(part).p_value < 0.05 for part in (drop, interaction)])
    assert np.all(np.mean(rejected, axis=0) <= 0.09)
    assert np.mean(rejected) >= 0.02


def test_cohorts_need_the_same_seeds() -> None:
    y_true, scores = made_seeds()
    with pytest.raises(ValueError, match="same seeds"):
        seed_contrast([CohortScores(y_true, scores[0]), CohortScores(y_true, scores[0, :2], sign=-1)])
    with pytest.raises(ValueError, match="got 4 and 2"):
        seed_contrast([CohortScores(y_true, scores[0], scores[1, :2])])
