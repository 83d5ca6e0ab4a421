"""Figures of merit of a reader study and their covariance over readers and modalities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.units import Clusters, are_clustered, cluster_codes, cluster_sums
from dsmt_nnunet.statistics.readers.study import ReaderStudy
from dsmt_nnunet.statistics.roc.clustered import clustered_aucs
from dsmt_nnunet.statistics.roc.delong import structural_components

CovarianceMethod = Literal["delong", "jackknife", "unbiased"]
Merit = Literal["auc", "sensitivity", "specificity"]
COVARIANCE_METHODS = ("delong", "jackknife", "unbiased")


@dataclass(frozen=True)
class MeritEstimates:
    """Figures of merit, shape (T, R), and their covariance, shape (T, R, T, R)."""

    values: FloatArray
    covariance: FloatArray


def estimate_merit(
    study: ReaderStudy,
    merit: Merit = "auc",
    method: CovarianceMethod = "delong",
    cut: float | None = None,
    clusters: Clusters = None,
) -> MeritEstimates:
    """Estimates the figure of merit of each reader in each modality.

    Args:
        study: the ratings.
        merit: "auc" (empirical, ties half), or "sensitivity" / "specificity" of calling ratings >= cut positive.
        method: "delong" (AUC only), "unbiased" (AUC only: Gallas 2006, the U-statistic estimate), or "jackknife",
            (N - 1) / N times the scatter of the leave-one-out values, over the cases that the merit counts.
        cut: needed for sensitivity and specificity.
        clusters: patient of each case; the covariance of the AUCs is then Obuchowski's ("delong" only), that of
            sensitivity and specificity that of ratios over patients.

    Raises:
        ValueError: a class has fewer than two cases, a method that the merit lacks, or no cut.
    """
    n_positive = int(study.y_true.sum())
    if min(n_positive, len(study.y_true) - n_positive) < 2:
        raise ValueError(
            f"A reader study needs two cases of each class, got {n_positive} positive of {len(study.y_true)}."
        )
    if merit == "auc" and method != "delong" and are_clustered(clusters, len(study.y_true)):
        raise ValueError(
            f"Patients with several cases need the covariance 'delong' (Obuchowski's), got '{method}'. Take each case "
            f"for a patient of its own with --cluster none to have it all the same."
        )
    shape = study.ratings.shape[:2]
    flat = study.ratings.reshape(-1, study.ratings.shape[2])
    codes = cluster_codes(clusters, len(study.y_true))
    if merit == "auc":
        values, covariance = _auc_covariance(study.y_true, flat, method, clusters)
    elif cut is None or method != "jackknife":
        raise ValueError(f"The {merit} needs a cut and the jackknife covariance, got cut {cut} and '{method}'.")
    elif merit == "sensitivity":
        values, covariance = _covariance_of_means(flat[:, study.y_true] >= cut, codes[study.y_true])
    else:
        values, covariance = _covariance_of_means(flat[:, ~study.y_true] < cut, codes[~study.y_true])
    return MeritEstimates(values.reshape(shape), covariance.reshape(*shape, *shape))


def _auc_covariance(
    labels: BoolArray, scores: FloatArray, method: CovarianceMethod, clusters: Clusters
) -> tuple[FloatArray, FloatArray]:
    components = structural_components(labels, scores)
    aucs = components.auc
    if are_clustered(clusters, len(labels)):
        return aucs, clustered_aucs(labels, components, cluster_codes(clusters, len(labels))).covariance
    if method == "delong":
        return aucs, components.covariance
    if method == "unbiased":
        return aucs, _unbiased_covariance(labels, scores)
    n_positive, n_negative = components.positive.shape[1], components.negative.shape[1]
    without_positive = (aucs[:, None] * n_positive - components.positive) / (n_positive - 1)
    without_negative = (aucs[:, None] * n_negative - components.negative) / (n_negative - 1)
    return aucs, _jackknife_scatter(np.hstack([without_positive, without_negative]))


def _unbiased_covariance(labels: BoolArray, scores: FloatArray) -> FloatArray:
    """A_k A_l less the mean of psi_k(i, j) psi_l(i', j') over i != i', j != j' (Gallas, Acad Radiol 2006; 13: 353)."""
    difference = scores[:, labels, None] - scores[:, None, ~labels]
    psi = 0.5 * (np.sign(difference) + 1)
    n_positive, n_negative = psi.shape[1:]
    total, rows, columns = psi.sum(axis=(1, 2)), psi.sum(axis=2), psi.sum(axis=1)
    flat = psi.reshape(len(psi), -1)
    apart = np.outer(total, total) - rows @ rows.T - columns @ columns.T + flat @ flat.T
    pairs = n_positive * n_negative
    unbiased = np.outer(total, total) / pairs**2 - apart / (pairs * (n_positive - 1) * (n_negative - 1))
    return np.asarray(unbiased, dtype=np.float64)


def _covariance_of_means(right: BoolArray, codes: IntArray) -> tuple[FloatArray, FloatArray]:
    """Shares (M,) of (M, N), and their covariance over clusters; with every case alone it is the jackknife's."""
    n_cases, n_clusters = right.shape[1], len(np.unique(codes))
    values = right.mean(axis=1)
    sums = cluster_sums(right - values[:, None], codes)
    return values, np.asarray(n_clusters / (n_clusters - 1) * sums @ sums.T / n_cases**2, dtype=np.float64)


def _jackknife_scatter(left_out: FloatArray) -> FloatArray:
    centred = left_out - left_out.mean(axis=1, keepdims=True)
    n_cases = left_out.shape[1]
    return np.asarray((n_cases - 1) / n_cases * centred @ centred.T, dtype=np.float64)
