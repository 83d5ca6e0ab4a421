"""A prediction that nobody made."""

from __future__ import annotations

from dsmt_nnunet.predictions.results import DEEP_FEATURES, CasePrediction, NodulePrediction, TaskPrediction
from tests.unit.small_plans import SCHEMA

TASKS = {
    "texture": TaskPrediction({"ground-glass": 0.2, "part-solid": 0.3, "solid": 0.5}, {}, "solid", None),
    "invasiveness": TaskPrediction(
        {"non-invasive": 0.25, "invasive": 0.75},
        {"non-invasive": 0.1, "invasive": 0.1},
        "invasive",
        0.6,
        contributions={"diameter_mm": 0.75, DEEP_FEATURES: -0.25},
    ),
}


def prediction(case_id: str = "case", diameter_mm: float = 12.5) -> CasePrediction:
    nodule = NodulePrediction(
        "left", (1.5, -2.25, 3.0), diameter_mm, 1000.0, TASKS, {"diameter_mm": 12.5, "hu_mean": -310.25}
    )
    return CasePrediction(case_id, SCHEMA, (nodule,), {"trainer": "DSMTTrainer"})
