"""Obuchowski-Rockette analysis of a multi-reader multi-case study, with Hillis' degrees of freedom."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.stats import chi2, f

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray
from dsmt_nnunet.statistics.readers.merit_covariance import MeritEstimates
from dsmt_nnunet.statistics.t_test import t_test

Design = Literal["random readers and cases", "fixed readers", "fixed cases"]
DESIGNS: tuple[Design, ...] = ("random readers and cases", "fixed readers", "fixed cases")
_NO_VARIANCE = 1e-20


@dataclass(frozen=True)
class VarianceComponents:
    """Variance components; those that need two modalities are NaN for one.

    Attributes:
        reader, modality_reader: variance of readers, of their interaction with the modality (may be below 0).
        error: mean variance of one figure of merit.
        cov1: same reader, other modality. cov2: other reader, same modality. cov3: other reader, other modality.
    """

    reader: float
    modality_reader: float
    error: float
    cov1: float
    cov2: float
    cov3: float


@dataclass(frozen=True)
class Estimate:
    """An estimate with its t (or normal: df infinite) interval; the p value is NaN where nothing is tested."""

    names: tuple[str, ...]
    estimate: float
    se: float
    df: float
    ci: tuple[float, float]
    statistic: float = math.nan
    p_value: float = math.nan


@dataclass(frozen=True)
class EqualityTest:
    """Test that all modalities are equal: F, or chi-square (df2 NaN) for fixed readers."""

    statistic: float
    df1: float
    df2: float
    p_value: float
    denominator: float


@dataclass(frozen=True)
class ReaderStudyResult:
    """Result of the analysis.

    Attributes:
        design: what is random.
        components: variance components.
        ms_modality, ms_modality_reader: mean squares.
        equality: test of all modalities; None for one modality.
        differences: each pair of modalities, first minus second.
        means: each modality, from its own ratings alone.
        reader_differences: fixed readers only: each reader, each pair of modalities.
    """

    design: Design
    components: VarianceComponents
    ms_modality: float
    ms_modality_reader: float
    equality: EqualityTest | None
    differences: tuple[Estimate, ...]
    means: tuple[Estimate, ...]
    reader_differences: tuple[Estimate, ...] = ()


def obuchowski_rockette(
    merit: MeritEstimates,
    modalities: tuple[str, ...],
    readers: tuple[str, ...],
    design: Design = "random readers and cases",
    level: float = 0.95,
) -> ReaderStudyResult:
    """Analyses figures of merit of T modalities and R readers.

    Random readers and cases: F = MS(T) / (MS(TR) + max(R (Cov2 - Cov3), 0)),
    df2 = denominator^2 / (MS(TR)^2 / ((T - 1) (R - 1))).
    Source: Obuchowski and Rockette, Commun Stat Simul 1995; 24: 285; Hillis, Stat Med 2007; 26: 596 (df);
    Hillis, Stat Med 2014; 33: 330 (fixed readers or cases, single modalities).

    Raises:
        ValueError: an unknown design, or a single reader where readers are random.
    """
    n_modalities, n_readers = merit.values.shape
    if design not in DESIGNS:
        raise ValueError(f"The design is one of {list(DESIGNS)}, got '{design}'.")
    if n_readers < 2 and design != "fixed readers":
        raise ValueError(f"'{design}' needs at least two readers, got {n_readers}; with one, readers are fixed.")
    ms_modality, ms_reader, ms_interaction = _mean_squares(merit.values)
    components = _components(merit.covariance, ms_reader, ms_interaction, n_modalities)
    denominator, df = _denominator(components, ms_interaction, design, n_modalities, n_readers)
    means = tuple(
        _mean(name, merit.values[index], merit.covariance[index, :, index, :], design, level)
        for index, name in enumerate(modalities)
    )
    if n_modalities < 2:
        return ReaderStudyResult(design, components, ms_modality, ms_interaction, None, (), means)
    se = math.sqrt(2 / n_readers * max(denominator, 0.0))
    differences = tuple(
        _tested((modalities[i], modalities[j]), float(merit.values[i].mean() - merit.values[j].mean()), se, df, level)
        for i, j in combinations(range(n_modalities), 2)
    )
    return ReaderStudyResult(
        design,
        components,
        ms_modality,
        ms_interaction,
        _equality(ms_modality, denominator, df, n_modalities),
        differences,
        means,
        _reader_differences(merit, modalities, readers, level) if design == "fixed readers" else (),
    )


def single_modality_mean(
    name: str, values: FloatArray, covariance: FloatArray, design: Design, level: float = 0.95
) -> Estimate:
    """Mean figure of merit over readers (values (R,), covariance (R, R)) of one modality.

    Random readers and cases: SE^2 = D / R, df = D^2 / (MS(R)^2 / (R - 1)) with D = MS(R) + max(R Cov2, 0).
    """
    return _mean(name, values, covariance, design, level)


def _mean_squares(values: FloatArray) -> tuple[float, float, float]:
    n_modalities, n_readers = values.shape
    by_modality, by_reader, grand = values.mean(axis=1), values.mean(axis=0), values.mean()
    residual = values - by_modality[:, None] - by_reader[None, :] + grand
    ms_reader = n_modalities * np.sum((by_reader - grand) ** 2) / (n_readers - 1) if n_readers > 1 else math.nan
    if n_modalities < 2:
        return math.nan, float(ms_reader), math.nan
    ms_modality = n_readers * np.sum((by_modality - grand) ** 2) / (n_modalities - 1)
    freedom = (n_modalities - 1) * (n_readers - 1)
    return float(ms_modality), float(ms_reader), float(np.sum(residual**2) / freedom) if freedom else math.nan


def _components(
    covariance: FloatArray, ms_reader: float, ms_interaction: float, n_modalities: int
) -> VarianceComponents:
    n_readers = covariance.shape[1]
    same_modality = np.eye(n_modalities, dtype=bool)[:, None, :, None]
    same_reader = np.eye(n_readers, dtype=bool)[None, :, None, :]

    def mean_of(chosen: BoolArray) -> float:
        values = covariance[np.broadcast_to(chosen, covariance.shape)]
        return float(values.mean()) if values.size else math.nan

    error = mean_of(same_modality & same_reader)
    cov1, cov2 = mean_of(~same_modality & same_reader), mean_of(same_modality & ~same_reader)
    cov3 = mean_of(~same_modality & ~same_reader)
    return VarianceComponents(
        reader=(ms_reader - ms_interaction) / n_modalities - cov1 + cov3,
        modality_reader=ms_interaction - (error - cov1 - cov2 + cov3),
        error=error,
        cov1=cov1,
        cov2=cov2,
        cov3=cov3,
    )


def _denominator(
    components: VarianceComponents, ms_interaction: float, design: Design, n_modalities: int, n_readers: int
) -> tuple[float, float]:
    freedom = (n_modalities - 1) * (n_readers - 1)
    if design == "fixed readers":
        spread = components.error - components.cov1
        return spread + ((n_readers - 1) * (components.cov2 - components.cov3) if n_readers > 1 else 0.0), math.inf
    if design == "fixed cases":
        return ms_interaction, float(freedom)
    denominator = ms_interaction + max(n_readers * (components.cov2 - components.cov3), 0.0)
    return denominator, denominator**2 * freedom / ms_interaction**2 if ms_interaction > 0 else math.inf


def _equality(ms_modality: float, denominator: float, df: float, n_modalities: int) -> EqualityTest:
    if not denominator > _NO_VARIANCE:
        statistic, p_value = (0.0, 1.0) if ms_modality <= _NO_VARIANCE else (math.nan, math.nan)
        return EqualityTest(statistic, n_modalities - 1, df, p_value, denominator)
    if math.isinf(df):
        statistic = (n_modalities - 1) * ms_modality / denominator
        p_value = float(chi2.sf(statistic, n_modalities - 1))
        return EqualityTest(statistic, n_modalities - 1, math.nan, p_value, denominator)
    statistic = ms_modality / denominator
    return EqualityTest(statistic, n_modalities - 1, df, float(f.sf(statistic, n_modalities - 1, df)), denominator)


def _mean(name: str, values: FloatArray, covariance: FloatArray, design: Design, level: float) -> Estimate:
    n_readers = len(values)
    apart = ~np.eye(n_readers, dtype=bool)
    cov2 = float(covariance[apart].mean()) if n_readers > 1 else 0.0
    if design == "fixed readers":
        variance, df = (float(np.diag(covariance).mean()) + (n_readers - 1) * cov2) / n_readers, math.inf
    else:
        ms_reader = float(values.var(ddof=1))
        shared = 0.0 if design == "fixed cases" else max(n_readers * cov2, 0.0)
        variance = (ms_reader + shared) / n_readers
        df = (ms_reader + shared) ** 2 * (n_readers - 1) / ms_reader**2 if ms_reader > 0 else math.inf
    se = math.sqrt(max(variance, 0.0))
    mean = float(values.mean())
    return Estimate((name,), mean, se, df, t_test(mean, se, df, level).ci)


def _reader_differences(
    merit: MeritEstimates, modalities: tuple[str, ...], readers: tuple[str, ...], level: float
) -> tuple[Estimate, ...]:
    results = []
    for r, reader in enumerate(readers):
        for i, j in combinations(range(len(modalities)), 2):
            covariance = merit.covariance[:, r, :, r]
            se = math.sqrt(max(covariance[i, i] + covariance[j, j] - 2 * covariance[i, j], 0.0))
            difference = float(merit.values[i, r] - merit.values[j, r])
            results.append(_tested((reader, modalities[i], modalities[j]), difference, se, math.inf, level))
    return tuple(results)


def _tested(names: tuple[str, ...], difference: float, se: float, df: float, level: float) -> Estimate:
    found = t_test(difference, se, df, level)
    return Estimate(names, difference, se, df, found.ci, found.statistic, found.p_value)
