"""Random-effects pooling of what several centres found: their mean, and what a further one may find."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import chi2

from dsmt_nnunet.statistics.t_test import t_quantile

METHOD = "random effects, DerSimonian-Laird with Hartung-Knapp"
_NAN = math.nan


@dataclass(frozen=True)
class PooledEffect:
    """Mean over centres that could be.

    Attributes:
        estimate: of the mean; NaN without a centre.
        se: Hartung and Knapp's, at least that without their correction; NaN for a single centre.
        ci: t interval, centres - 1 degrees of freedom.
        prediction: where the value of a further centre is expected, centres - 2 degrees of freedom; NaN below three.
        tau2: variance between centres.
        q, q_p_value: test that all centres have one value.
        n_centres: pooled.
    """

    estimate: float
    se: float
    ci: tuple[float, float]
    prediction: tuple[float, float]
    tau2: float
    q: float
    q_p_value: float
    n_centres: int


def random_effects(estimates: npt.ArrayLike, variances: npt.ArrayLike, level: float = 0.95) -> PooledEffect:
    """Pools estimates of independent centres.

    statsmodels' combine_effects lets the variance between centres fall below 0, where it has no standard error.

    Source: DerSimonian and Laird, Controlled Clinical Trials 1986; 7: 177 (variance between centres); Hartung and
    Knapp, Statistics in Medicine 2001; 20: 3875; Roever, Knapp and Friede, BMC Medical Research Methodology 2015; 15:
    99 (not below the uncorrected error); Higgins, Thompson and Spiegelhalter, JRSS A 2009; 172: 137 (prediction).

    Args:
        estimates: one a centre, shape (C,).
        variances: of each, shape (C,).
        level: confidence level.

    Raises:
        ValueError: other shapes, or a variance that is not positive.
    """
    effects, spread = (np.asarray(item, dtype=np.float64) for item in (estimates, variances))
    if effects.ndim != 1 or effects.shape != spread.shape:
        raise ValueError(f"There must be one variance a centre, shape {effects.shape}; got {spread.shape}.")
    if not (np.isfinite(effects).all() and (spread > 0).all()):
        raise ValueError("Estimates of centres must be finite and their variances positive; leave others out.")
    n_centres, nowhere = len(effects), (_NAN, _NAN)
    if n_centres < 2:
        value = float(effects[0]) if n_centres else _NAN
        return PooledEffect(value, _NAN, nowhere, nowhere, _NAN, _NAN, _NAN, n_centres)
    weights = 1 / spread
    common = float(weights @ effects / weights.sum())
    q = float(weights @ (effects - common) ** 2)
    excess = q - (n_centres - 1)
    tau2 = max(0.0, excess / float(weights.sum() - (weights**2).sum() / weights.sum()))
    weights = 1 / (spread + tau2)
    estimate = float(weights @ effects / weights.sum())
    corrected = float(weights @ (effects - estimate) ** 2) / (n_centres - 1)
    se = math.sqrt(max(corrected, 1.0) / float(weights.sum()))
    half = t_quantile(n_centres - 1, level) * se
    prediction = nowhere
    if n_centres > 2:
        wide = t_quantile(n_centres - 2, level) * math.sqrt(tau2 + se**2)
        prediction = (estimate - wide, estimate + wide)
    q_p_value = float(chi2.sf(q, n_centres - 1))
    return PooledEffect(estimate, se, (estimate - half, estimate + half), prediction, tau2, q, q_p_value, n_centres)


def pooled_auc(aucs: npt.ArrayLike, standard_errors: npt.ArrayLike, level: float = 0.95) -> PooledEffect:
    """AUCs of centres pooled on the logit scale; estimate and limits are AUCs, `se` and `tau2` on the logit scale.

    Source: Snell, Ensor, Debray, Moons and Riley, Statistical Methods in Medical Research 2018; 27: 3505 (logit scale
    for the pooling of AUCs).

    Args:
        aucs: strictly between 0 and 1, shape (C,).
        standard_errors: of each, positive, shape (C,).
        level: confidence level.
    """
    values, errors = np.asarray(aucs, dtype=np.float64), np.asarray(standard_errors, dtype=np.float64)
    if not ((values > 0) & (values < 1)).all():
        raise ValueError("AUCs to be pooled lie strictly between 0 and 1; leave centres at 0 or 1 out, and say so.")
    found = random_effects(logit(values), (errors / (values * (1 - values))) ** 2, level)
    ci, prediction = ((float(expit(low)), float(expit(high))) for low, high in (found.ci, found.prediction))
    return PooledEffect(
        float(expit(found.estimate)), found.se, ci, prediction, found.tau2, found.q, found.q_p_value, found.n_centres
    )
