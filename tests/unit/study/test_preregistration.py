from __future__ import annotations

import json
from pathlib import Path

import pytest

from dsmt_nnunet.study.preregistration import SEAL_NAME, marked, register
from dsmt_nnunet.study.seeds import write_seed_tables
from tests.unit.study.test_seeds import PATIENTS, rows, write_scores

PLAN = {
    "hypotheses": ["The signs help."],
    "primary": {"run": "Other"},
    "secondary": [{"run": "logistic_ruler", "cohort": "external"}],
    "analysis": "Seeds and patients random, two-sided 5 %.",
}


def plan_file(folder: Path, **changes: object) -> Path:
    path = folder / "plan.json"
    path.write_text(json.dumps(PLAN | changes), encoding="utf-8")
    return path


def test_what_was_not_registered_is_exploratory(tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    seal = register(study, plan_file(tmp_path), has_trained=False)
    write_scores(study, cohort=["external" if patient % 3 == 0 else "internal" for patient in PATIENTS])
    write_seed_tables(study)
    kinds = {(row["run"], row["cohort"]): row["registered"] for row in rows(study / "seeds.csv")}
    assert kinds.pop(("Other", "all")) == "primary"
    assert kinds.pop(("logistic_ruler", "external")) == "secondary"
    assert set(kinds.values()) == {"exploratory"}
    assert {row["registered"] for row in rows(study / "cohorts.csv")} == {"exploratory"}
    assert seal is not None
    assert rows(study / "seeds.csv")[0]["registration_sha256"] == seal.sha256[:12]


def test_after_a_training_nothing_is_registered(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="before its first"):
        register(tmp_path, plan_file(tmp_path), has_trained=True)
    assert register(tmp_path, None, has_trained=True) is None
    assert marked(tmp_path, [{"run": "Other", "cohort": "all"}]) == [{"run": "Other", "cohort": "all"}]


def test_a_registered_file_cannot_be_exchanged(tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    seal = register(study, plan_file(tmp_path), has_trained=False)
    assert register(study, plan_file(tmp_path), has_trained=True) == seal
    with pytest.raises(ValueError, match="with another file"):
        register(study, plan_file(tmp_path, analysis="One-sided."), has_trained=True)
    (study / "preregistration.json").write_text(json.dumps(PLAN | {"primary": {"run": "DSMTTrainer"}}))
    with pytest.raises(ValueError, match="is not the file that was registered"):
        register(study, None, has_trained=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"hypotheses": [" "]}, "must say something"), ({"primary": {}}, "'primary.run' is missing")],
)
def test_an_empty_plan_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register(tmp_path, plan_file(tmp_path, **changes), has_trained=False)
    assert not (tmp_path / SEAL_NAME).exists()
