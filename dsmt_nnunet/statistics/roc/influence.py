"""What each patient contributes to an AUC."""

from __future__ import annotations

import numpy as np

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.units import cluster_sums
from dsmt_nnunet.statistics.roc.delong import StructuralComponents


def auc_influence(labels: BoolArray, part: StructuralComponents, codes: IntArray, n_clusters: int) -> FloatArray:
    """Contribution of every cluster to the first AUC of `part`, shape (K,); their squares add up to its variance.

    Source: Obuchowski, Biometrics 1997; 53: 567.

    Args:
        labels: of the cases of `part`, shape (N,).
        part: their structural components.
        codes: cluster of each of them, below `n_clusters`, shape (N,).
        n_clusters: K.
    """
    values = np.zeros(len(labels))
    auc = float(part.auc[0])
    values[labels] = (part.positive[0] - auc) / max(int(labels.sum()), 1)
    values[~labels] = (part.negative[0] - auc) / max(int((~labels).sum()), 1)
    sums = cluster_sums(values, codes)
    return np.asarray(np.pad(sums, (0, n_clusters - len(sums))), dtype=np.float64)
