"""What each patient contributes to an AUC."""

from __future__ import annotations

import numpy as np

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.spread import left_out
from dsmt_nnunet.statistics.clusters.units import cluster_sums
from dsmt_nnunet.statistics.roc.delong import StructuralComponents


def auc_influence(labels: BoolArray, part: StructuralComponents, codes: IntArray, n_clusters: int) -> FloatArray:
    """By how much the first AUC of `part` changes when each cluster is left out, to first order, shape (K,).

    Their squares add up to K / (K - 1) times its variance. NaN for a cluster that holds all of a class.
    Source: Obuchowski, Biometrics 1997; 53: 567; `clusters.spread.left_out`.

    Args:
        labels: of the cases of `part`, shape (N,).
        part: their structural components.
        codes: cluster of each of them, below `n_clusters`, shape (N,).
        n_clusters: K.
    """
    auc, sums = float(part.auc[0]), np.zeros(int(codes.max()) + 1)
    for held, components in ((labels, part.positive[0]), (~labels, part.negative[0])):
        values = np.zeros((2, len(labels)))
        values[0][held], values[1][held] = components - auc, 1.0
        changes, sizes = cluster_sums(values / max(int(held.sum()), 1), codes)
        sums += left_out(changes, sizes)
    return np.asarray(np.pad(sums, (0, n_clusters - len(sums))), dtype=np.float64)
