"""A model on its own against the mean of several readers of the same cases."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.checks import binary_labels
from dsmt_nnunet.statistics.clusters.units import Clusters, cluster_codes
from dsmt_nnunet.statistics.named_warnings import SmallSampleWarning
from dsmt_nnunet.statistics.readers.obuchowski_rockette import single_modality_mean
from dsmt_nnunet.statistics.roc.clustered import clustered_aucs
from dsmt_nnunet.statistics.roc.delong import structural_components
from dsmt_nnunet.statistics.t_test import t_test

FEW_READERS = 4


@dataclass(frozen=True)
class ModelAgainstReaders:
    """AUC of the model less the mean AUC of the readers, readers and cases random.

    Attributes:
        model_auc, mean_reader_auc: the two areas.
        difference: model minus readers.
        se, df, ci: of the difference.
        t, p_value: two-sided test that it is 0.
    """

    model_auc: float
    mean_reader_auc: float
    difference: float
    se: float
    df: float
    ci: tuple[float, float]
    t: float
    p_value: float


def model_against_readers(
    y_true: npt.ArrayLike,
    model_score: npt.ArrayLike,
    ratings: npt.ArrayLike,
    level: float = 0.95,
    clusters: Clusters = None,
) -> ModelAgainstReaders:
    """Compares a model with R readers (ratings (R, N)) by the single-modality Obuchowski-Rockette analysis of the
    differences model - reader, their covariance after DeLong, with clusters (patients) after Obuchowski 1997.

    Fewer than four readers say little about readers: a `SmallSampleWarning`.

    Source: Chakraborty, Observer Performance Methods for Diagnostic Imaging, 2017, standalone CAD against radiologists
    (method 1T-RRRC of RJafroc).
    """
    readers = np.asarray(ratings, dtype=np.float64)
    components = structural_components(y_true, np.vstack([np.asarray(model_score, dtype=np.float64), readers]))
    differences = components.contrast(np.hstack([np.ones((len(readers), 1)), -np.eye(len(readers))]))
    aucs = components.auc
    if len(readers) < FEW_READERS:
        message = f"{len(readers)} readers stand for all; the interval is not reliable with fewer than {FEW_READERS}."
        warnings.warn(message, SmallSampleWarning, stacklevel=2)
    labels = binary_labels(y_true)
    covariance = clustered_aucs(labels, differences, cluster_codes(clusters, len(labels))).covariance
    mean = single_modality_mean("model - readers", differences.auc, covariance, "random readers and cases", level)
    test = t_test(mean.estimate, mean.se, mean.df, level)
    return ModelAgainstReaders(
        float(aucs[0]), float(aucs[1:].mean()), mean.estimate, mean.se, mean.df, test.ci, test.statistic, test.p_value
    )
