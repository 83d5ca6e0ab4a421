from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from statsmodels.stats.meta_analysis import combine_effects

from dsmt_nnunet.statistics.pooling import pooled_auc, random_effects

# Trials of BCG against tuberculosis: cases and others, vaccinated and not (JAMA 1994; 271: 698; dat.bcg).
VACCINATED = (
    np.array([4, 6, 3, 62, 33, 180, 8, 505, 29, 17, 186, 5, 27]),
    np.array([119, 300, 228, 13536, 5036, 1361, 2537, 87886, 7470, 1699, 50448, 2493, 16886]),
)
CONTROLS = (
    np.array([11, 29, 11, 248, 47, 372, 10, 499, 45, 65, 141, 3, 29]),
    np.array([128, 274, 209, 12619, 5761, 1079, 619, 87892, 7232, 1600, 27197, 2338, 17825]),
)


def log_risk_ratios() -> tuple[np.ndarray, np.ndarray]:
    (a, b), (c, d) = VACCINATED, CONTROLS
    return np.log(a / (a + b) / (c / (c + d))), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)


def test_trials_of_bcg_are_pooled_as_metafor_does() -> None:
    """rma(method = "DL") of R's metafor: -0.7141, tau^2 0.3088, Q 152.2330 (Viechtbauer, J Stat Softw 2010; 36: 3)."""
    found = random_effects(*log_risk_ratios())
    assert found.estimate == pytest.approx(-0.7141, abs=5e-5)
    assert found.tau2 == pytest.approx(0.3088, abs=5e-5)
    assert found.q == pytest.approx(152.2330, abs=5e-5)


def test_the_interval_is_hartung_and_knapps_by_hand() -> None:
    effects, variances = log_risk_ratios()
    found = random_effects(effects, variances)
    weights = 1 / (variances + found.tau2)
    squares = (weights * (effects - found.estimate) ** 2).sum() / 12
    se = np.sqrt(squares / weights.sum())
    assert squares > 1, "else the uncorrected error is taken"
    assert found.se == pytest.approx(se)
    assert found.se == pytest.approx(combine_effects(effects, variances, method_re="dl").sd_eff_w_re_hksj)
    assert found.ci == pytest.approx((found.estimate - 2.178813 * se, found.estimate + 2.178813 * se), rel=1e-6)
    assert found.prediction[0] < found.ci[0]
    assert random_effects([0.5, 0.5, 0.5], [0.1, 0.1, 0.1]).se == pytest.approx(np.sqrt(0.1 / 3)), "not below it"


def test_aucs_are_pooled_on_the_logit_scale() -> None:
    found = pooled_auc([0.7, 0.8, 0.9], [0.05, 0.04, 0.03])
    logits = random_effects(np.log([0.7 / 0.3, 4, 9]), [(0.05 / 0.21) ** 2, (0.04 / 0.16) ** 2, (0.03 / 0.09) ** 2])
    assert found.estimate == pytest.approx(expit(logits.estimate))
    assert found.ci == pytest.approx(expit(logits.ci))
    assert 0 < found.prediction[0] < found.ci[0] < found.ci[1] < found.prediction[1] < 1


def test_one_centre_has_no_interval_and_bad_ones_are_refused() -> None:
    assert np.isnan(random_effects([0.3], [0.1]).ci).all()
    with pytest.raises(ValueError, match="variances positive"):
        random_effects([0.3, 0.4], [0.1, 0.0])
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        pooled_auc([0.9, 1.0], [0.1, 0.1])
