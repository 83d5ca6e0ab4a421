from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from dsmt_nnunet.statistics.power import ComparisonDesign, binormal_covariance, patients_needed, power_of
from dsmt_nnunet.statistics.roc.clustered import clustered_paired_comparison


def test_standard_error_of_hanley_and_mcneil() -> None:
    """51 abnormal and 58 normal images, area 0.893: standard error 0.032 (Radiology 1982; 143: 29)."""
    assert math.sqrt(binormal_covariance(0.893, 0.893, 51, 58)) == pytest.approx(0.032, abs=0.002)


@pytest.mark.parametrize(("auc", "published"), [(0.6, 135), (0.7, 33), (0.8, 14)])
def test_sample_sizes_of_obuchowski(auc: float, published: int) -> None:
    """Cases of either class for one AUC against 0.5, power 0.9, one-sided 5 % (Obuchowski 2004, Table 4)."""

    def reached(n: int) -> bool:
        spread = [math.sqrt(binormal_covariance(value, value, n, n)) for value in (0.5, auc)]
        return bool(norm.ppf(0.95) * spread[0] + norm.ppf(0.9) * spread[1] <= auc - 0.5)

    needed = next(n for n in range(3, 500) if reached(n))
    assert needed == pytest.approx(published, rel=0.05)


def test_covariance_is_that_of_many_draws() -> None:
    rng = np.random.default_rng(0)
    shift = math.sqrt(2) * norm.ppf([0.85, 0.75])[:, None, None]
    shape = (4000, 12)
    common = rng.normal(size=(2, *shape))
    own = rng.normal(size=(2, 2, *shape))
    positive, negative = (math.sqrt(0.6) * common[k] + math.sqrt(0.4) * own[k] for k in (0, 1))
    aucs = ((positive + shift)[..., :, None] > negative[..., None, :]).mean(axis=(2, 3))
    assert binormal_covariance(0.85, 0.75, 12, 12, 0.6) == pytest.approx(np.cov(aucs)[0, 1], rel=0.1)


@pytest.mark.parametrize("label_correlation", [0.0, 1.0])
def test_power_with_patients_is_the_share_of_tests_that_reject(label_correlation: float) -> None:
    design = ComparisonDesign(0.88, 0.76, 40, 5, label_correlation=label_correlation)
    rng, n_draws = np.random.default_rng(0), 150
    patients = np.repeat(np.arange(40), 5)

    def shared(rows: int) -> np.ndarray:
        return math.sqrt(0.5) * rng.normal(size=(rows, 40))[:, patients] + math.sqrt(0.5) * rng.normal(size=(rows, 200))

    shift = math.sqrt(2) * norm.ppf([design.first, design.second])[:, None]
    rejected = 0
    for _ in range(n_draws):
        labels = rng.random(40)[patients] < 0.5 if label_correlation else rng.random(200) < 0.5
        scores = math.sqrt(0.5) * (shared(1) + shared(2)) + shift * labels
        rejected += clustered_paired_comparison(labels, scores[0], scores[1], patients).p_value < 0.05
    spread = math.sqrt(0.25 / n_draws)
    assert rejected / n_draws == pytest.approx(power_of(design).power, abs=2.5 * spread)


def test_power_under_the_null_is_alpha_and_rises_with_patients() -> None:
    null = ComparisonDesign(0.8, 0.8, 100, seed_sd=0.02, n_seeds=3)
    assert power_of(null).power == pytest.approx(0.05)
    design = replace(null, second=0.75)
    needed = patients_needed(replace(design, seed_sd=0.005, n_seeds=5), 0.8)
    assert power_of(replace(design, seed_sd=0.005, n_seeds=5, n_patients=needed)).power >= 0.8
    assert power_of(replace(design, seed_sd=0.005, n_seeds=5, n_patients=needed - 1)).power < 0.8


def test_what_costs_power() -> None:
    alone = ComparisonDesign(0.85, 0.78, 240)
    assert power_of(replace(alone, n_patients=40, per_patient=6)).power < power_of(alone).power
    assert power_of(replace(alone, seed_sd=0.02, n_seeds=3)).power < power_of(alone).power
    assert power_of(replace(alone, correlation=0.1)).power < power_of(alone).power


def test_non_inferiority_counts_the_margin() -> None:
    equal = ComparisonDesign(0.8, 0.8, 300, margin=0.05)
    shifted = ComparisonDesign(0.8, 0.8, 300)
    assert power_of(equal).power == pytest.approx(norm.sf(norm.ppf(0.975) - 0.05 / power_of(shifted).se), abs=1e-9)


def test_too_few_seeds_are_told() -> None:
    with pytest.raises(ValueError, match="too few seeds"):
        patients_needed(ComparisonDesign(0.8, 0.79, 50, seed_sd=0.05, n_seeds=2))
    with pytest.raises(ValueError, match="two seeds or more"):
        ComparisonDesign(0.8, 0.7, 50, seed_sd=0.05)


def test_a_design_without_a_positive_nodule_has_no_power() -> None:
    rare = ComparisonDesign(0.9, 0.8, n_patients=50, prevalence=0.001)
    with pytest.raises(ValueError, match=r"50 patients are expected to have 0\.05 of one"):
        power_of(rare)
    needed = patients_needed(rare, 0.01)
    assert needed * 0.001 >= 1
