"""A model on its own against the mean of several readers of the same cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsmt_nnunet.statistics.readers.obuchowski_rockette import single_modality_mean, zero_test
from dsmt_nnunet.statistics.roc.delong import structural_components


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
    y_true: npt.ArrayLike, model_score: npt.ArrayLike, ratings: npt.ArrayLike, level: float = 0.95
) -> ModelAgainstReaders:
    """Compares a model with R readers (ratings (R, N)) by the single-modality Obuchowski-Rockette analysis of the
    differences model - reader, their covariance after DeLong.

    Source: Chakraborty, Observer Performance Methods for Diagnostic Imaging, 2017, standalone CAD against radiologists
    (method 1T-RRRC of RJafroc).
    """
    readers = np.asarray(ratings, dtype=np.float64)
    components = structural_components(y_true, np.vstack([np.asarray(model_score, dtype=np.float64), readers]))
    differences = components.contrast(np.hstack([np.ones((len(readers), 1)), -np.eye(len(readers))]))
    aucs = components.auc
    mean = single_modality_mean(
        "model - readers", differences.auc, differences.covariance, "random readers and cases", level
    )
    statistic, p_value = zero_test(mean.estimate, mean.se, mean.df)
    return ModelAgainstReaders(
        float(aucs[0]), float(aucs[1:].mean()), mean.estimate, mean.se, mean.df, mean.ci, statistic, p_value
    )
