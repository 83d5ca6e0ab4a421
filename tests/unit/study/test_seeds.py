from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from dsmt_nnunet.statistics.readers.seeds import compare_over_seeds
from dsmt_nnunet.statistics.roc.fold_comparison import paired_fold_comparison
from dsmt_nnunet.study.seeds import write_seed_tables

N_PATIENTS = 60
PATIENTS = np.repeat(np.arange(N_PATIENTS), 2)
RNG = np.random.default_rng(0)
TRUTH = (RNG.normal(size=N_PATIENTS)[PATIENTS] + RNG.normal(size=120) > 0).astype(int)
SCORES = {
    f"{run}_seed{seed}": (RNG.normal(size=120) + gain * TRUTH).round(4)
    for run, gain in (("Other", 0.8), ("DSMTTrainer", 1.5))
    for seed in (0, 1, 2)
}


def write_scores(folder: Path, **columns: object) -> None:
    table = {"case_id": PATIENTS, "patient_id": PATIENTS, "truth": TRUTH, **columns, **SCORES}
    table["logistic_ruler"] = (RNG.normal(size=120) + TRUTH).round(4)
    with (folder / "scores.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([list(table), *zip(*table.values(), strict=True)])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def of(run: str) -> np.ndarray:
    return np.stack([SCORES[f"{run}_seed{seed}"] for seed in (0, 1, 2)])


def test_seeds_and_patients_are_drawn_from_many(tmp_path: Path) -> None:
    write_scores(tmp_path, cohort=np.where(PATIENTS % 3 == 0, "external", "internal"))
    write_seed_tables(tmp_path)
    found = rows(tmp_path / "seeds.csv")
    assert [(row["cohort"], row["run"]) for row in found] == [
        (cohort, run)
        for cohort in ("all", "external", "internal")
        for run in ("DSMTTrainer", "Other", "logistic_ruler")
    ]
    expected = compare_over_seeds(TRUTH, of("Other"), of("DSMTTrainer"), PATIENTS)
    row = found[1]
    assert float(row["difference"]) == pytest.approx(expected.difference, abs=1e-4)
    assert float(row["p_value"]) == pytest.approx(expected.p_value, rel=0.01)
    assert (float(row["auc_low"]), float(row["auc_high"])) == pytest.approx(expected.first.ci, abs=1e-4)
    assert (row["nodules"], row["patients"], row["seeds"]) == ("120", "60", "3")
    assert float(row["p_value_holm"]) >= float(row["p_value"])
    assert row["adjusted_over"] == "runs against DSMTTrainer, all"
    assert float(found[2]["difference_low"]) < float(found[2]["difference"]) < 0, "the floor lies below"
    drops = {row["run"]: row for row in rows(tmp_path / "cohorts.csv")}
    assert (drops["DSMTTrainer"]["first"], drops["DSMTTrainer"]["second"]) == ("external", "internal")
    assert drops["DSMTTrainer"]["interaction_p_value"] == ""
    assert 0 < float(drops["Other"]["interaction_p_value"]) <= 1


def test_folds_are_compared_within_and_have_no_cohorts(tmp_path: Path) -> None:
    folds = PATIENTS % 5
    write_scores(tmp_path, cohort=np.where(PATIENTS % 3 == 0, "a", "b"), fold=folds)
    write_seed_tables(tmp_path)
    row = rows(tmp_path / "seeds.csv")[1]
    expected = paired_fold_comparison(TRUTH, of("Other"), of("DSMTTrainer"), np.stack([folds] * 3))
    assert float(row["p_value"]) == pytest.approx(expected.p_value, rel=0.01)
    assert row["test"] == "corrected resampled t over folds and seeds"
    assert not (tmp_path / "cohorts.csv").exists()


def test_a_patient_in_two_cohorts_is_refused(tmp_path: Path) -> None:
    write_scores(tmp_path, cohort=np.where(np.arange(120) % 2 == 0, "a", "b"))
    with pytest.raises(ValueError, match="share patients"):
        write_seed_tables(tmp_path)


def test_a_score_that_is_no_number_is_named(tmp_path: Path) -> None:
    write_scores(tmp_path)
    text = (tmp_path / "scores.csv").read_text().splitlines()
    (tmp_path / "scores.csv").write_text("\n".join([*text[:2], text[2].rsplit(",", 1)[0] + ",high"]))
    with pytest.raises(ValueError, match="line 3: 'logistic_ruler' must be a number, got 'high'"):
        write_seed_tables(tmp_path)
