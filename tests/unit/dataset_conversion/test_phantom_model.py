import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from dsmt_nnunet.dataset_conversion.phantom.model import (
    FEATURES,
    GROUPS,
    ceilings,
    draw_features,
    invasiveness_logit,
)


def test_ceilings_leave_a_gap_between_local_and_full():
    reach = ceilings(n=100_000, seed=3)
    assert reach.full == pytest.approx(0.940, abs=0.005)
    assert reach.local_and_signs == pytest.approx(0.834, abs=0.006)
    assert reach.context == pytest.approx(0.759, abs=0.007)
    assert reach.local == pytest.approx(0.750, abs=0.007)
    assert reach.prevalence == pytest.approx(0.5, abs=0.01)


def test_ceiling_of_a_group_is_the_auc_of_the_probability_with_the_rest_averaged_out():
    rng = np.random.default_rng(11)
    values = draw_features(rng, 20_000)
    invasive = rng.random(20_000) < expit(invasiveness_logit(values))
    context = invasiveness_logit(draw_features(rng, 400), ("context",))
    known = invasiveness_logit(values, ("local", "signs"))
    posterior = np.array([expit(logit + context).mean() for logit in known])
    assert roc_auc_score(invasive, posterior) == pytest.approx(ceilings(50_000).local_and_signs, abs=0.01)


def test_probability_is_calibrated():
    rng = np.random.default_rng(5)
    values = draw_features(rng, 100_000)
    probability = expit(invasiveness_logit(values))
    assert probability.mean() == pytest.approx(0.5, abs=0.01)
    assert {feature.group for feature in FEATURES} == set(GROUPS)


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_features_stay_in_range_and_add_nothing_on_average(feature):
    values = feature.draw(np.random.default_rng(2), 50_000)
    assert values.min() >= feature.low
    assert values.max() <= feature.high
    assert feature.logit(values).mean() == pytest.approx(0, abs=0.03)
    assert feature.logit(feature.high) - feature.logit(feature.low) == pytest.approx(feature.log_odds)
