"""Made data with several cases a patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MadeCases:
    y_true: np.ndarray
    scores: np.ndarray
    patients: np.ndarray


def made_cases(n_patients: int = 30, per_patient: int = 4, seed: int = 0, digits: int = 1) -> MadeCases:
    """Patients share a part of their label and of both scores; scores are rounded, so that ties occur."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(n_patients), per_patient)
    shared = rng.normal(size=(3, n_patients))[:, patients]
    own = rng.normal(size=(3, len(patients)))
    mixed = (shared + own) / np.sqrt(2)
    y_true = mixed[0] > 0.2
    return MadeCases(y_true, np.round(mixed[1:] + 0.8 * y_true, digits), patients)
