"""What the centres that were left out one at a time found together."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from dsmt_nnunet.statistics.pooling import pooled_auc
from dsmt_nnunet.statistics.roc.by_patient import auc_interval
from dsmt_nnunet.study.centres import write_centres


def test_centres_are_pooled_on_the_logit_scale(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folds, patients = np.repeat(np.arange(4), 30), np.arange(120) // 2
    truth = np.where(folds == 3, 1, np.arange(120) % 2)
    seeds = [np.round(truth * 0.3 + rng.normal(0, 0.3, 120), 5) for _ in range(2)]
    with (tmp_path / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["patient_id", "cohort", "truth", "fold", "DSMTTrainer_seed0", "DSMTTrainer_seed1"])
        writer.writerows(zip(patients, [""] * 120, truth, folds, *seeds, strict=True))
    write_centres(tmp_path, ["north", "south", "west", "no other class"])
    with (tmp_path / "centres.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    mean = np.mean(seeds, axis=0)
    each = [auc_interval(truth[folds == k], mean[folds == k], patients[folds == k]) for k in range(3)]
    assert [float(row["auc"]) for row in rows[:3]] == pytest.approx([item.auc for item in each], abs=1e-4)
    assert (rows[3]["centre"], rows[3]["auc"], rows[3]["nodules"]) == ("no other class", "", "30")
    expected = pooled_auc([item.auc for item in each], [item.se for item in each])
    assert (rows[4]["centre"], float(rows[4]["auc"])) == ("pooled", pytest.approx(expected.estimate, abs=1e-4))
    assert float(rows[4]["auc_low"]) == pytest.approx(expected.ci[0], abs=1e-4)
    assert float(rows[4]["expected_high"]) == pytest.approx(expected.prediction[1], abs=1e-4)
    assert rows[4]["method"].endswith("3 centres")
