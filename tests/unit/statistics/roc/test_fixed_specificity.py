from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from dsmt_nnunet.statistics.resampling import Resampler
from dsmt_nnunet.statistics.roc.fixed_specificity import sensitivity_at_specificity
from tests.unit.statistics.clustered_data import made_cases


def naive_btii(y_true: np.ndarray, scores: np.ndarray, target: float, n_resamples: int) -> tuple[float, float]:
    """One resample after the other, the cut as the smallest negative score whose distribution reaches the target."""
    values = []
    for weights in Resampler.create(y_true, [str(k) for k in range(len(y_true))], n_resamples, 0).weights():
        for row in weights:
            positives, negatives = np.repeat(scores[y_true], row[y_true]), np.repeat(scores[~y_true], row[~y_true])
            cut = min(x for x in negatives if (negatives <= x).mean() >= target - 1e-9)
            above = (positives > cut).sum()
            values.append((above + 1.959963985**2 / 2) / (len(positives) + 1.959963985**2))
    mean, sd, m = np.mean(values), np.std(values, ddof=1), y_true.sum()
    cut = min(x for x in scores[~y_true] if (scores[~y_true] <= x).mean() >= target - 1e-9)
    missed = (scores[y_true] > cut) - (scores[y_true] > cut).mean()
    df = min(3 * (missed**2).sum() ** 2 / (missed**4).sum(), m - 1)
    reach = t.ppf(0.975, df) * np.sqrt(m / (m - 1)) * sd
    return max(mean - reach, 0), min(mean + reach, 1)


@pytest.mark.parametrize("target", [0.5, 0.9])
def test_btii_equals_the_naive_form(target: float) -> None:
    data = made_cases(70, 1, 4)
    found = sensitivity_at_specificity(data.y_true, data.scores[0], target, n_resamples=200)
    assert found.ci == pytest.approx(naive_btii(data.y_true, data.scores[0], target, 200), abs=1e-9)
    called = data.scores[0] >= found.threshold
    assert called[data.y_true].mean() == pytest.approx(found.sensitivity)
    assert (~called[~data.y_true]).mean() == pytest.approx(found.specificity)
    assert found.specificity >= target


def test_patients_widen_it() -> None:
    data = made_cases(60, 1, 5)
    y_true, score = np.repeat(data.y_true, 5), np.repeat(data.scores[0], 5)
    whole = sensitivity_at_specificity(y_true, score, 0.8, np.repeat(np.arange(60), 5), n_resamples=300)
    alone = sensitivity_at_specificity(y_true, score, 0.8, n_resamples=300)
    assert np.ptp(whole.ci) > 1.5 * np.ptp(alone.ci)
