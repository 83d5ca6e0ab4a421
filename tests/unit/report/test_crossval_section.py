"""A cross-validation as a section: folds, mean over folds, the fold of each nodule."""

from __future__ import annotations

from pathlib import Path

import pytest

import dsmt_nnunet as dsmt
from dsmt_nnunet.evaluation.crossval import CrossvalInputs, evaluate_crossval
from dsmt_nnunet.report.cards import cards_of
from dsmt_nnunet.report.figure_style import FigureFolder
from dsmt_nnunet.report.folder import read_evaluation
from dsmt_nnunet.report.section import build_section
from tests.unit.report.cohort import SETTINGS, Cohort


def test_folds_are_shown(cohort: Cohort, tmp_path: Path) -> None:
    model, out = tmp_path / "model", tmp_path / "crossval"
    for number, path in enumerate(sorted(cohort.predictions.glob("*.json"))):
        fold = model / f"fold_{number // 6}" / "validation"
        fold.mkdir(parents=True, exist_ok=True)
        (fold / path.name).write_bytes(path.read_bytes())
    evaluate_crossval(CrossvalInputs(model, cohort.truth), out, SETTINGS)
    evaluation = read_evaluation(out)
    section = build_section(evaluation, "1", "crossval", FigureFolder(tmp_path / "figures"))
    assert section.headlines[0].title == "Invasiveness: mean AUC over folds"
    assert section.headlines[1].title == "Sensitivity"
    primary = section.panels[0]
    assert "folds" in [figure.name.split("-")[-1] for figure in primary.figures]
    assert [row[0] for row in primary.tables[0].rows] == ["0", "1"]
    assert "Mean AUC over 2 folds" in primary.tables[0].note
    cards = cards_of(evaluation, "card")
    assert {card.case_id: card.groups["fold"] for card in cards}["case_08"] == "1"
    table = out / "joined.csv"
    table.write_text(table.read_text(encoding="utf-8").rsplit("\n", 6)[0], encoding="utf-8")
    with pytest.raises(ValueError, match=r"joined\.csv holds other answers to invasiveness"):
        read_evaluation(out)


def test_cases_of_another_table_are_refused(tmp_path: Path) -> None:
    folder = dsmt.evaluate([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.9], n_resamples=0).write(tmp_path / "own")
    assert len(read_evaluation(folder).cases) == 4
    scores = folder / "scores.csv"
    scores.write_text(scores.read_text(encoding="utf-8").rstrip().rsplit("\n", 1)[0], encoding="utf-8")
    with pytest.raises(ValueError, match=r"scores\.csv holds 3 cases, and metrics\.json was made of 4"):
        read_evaluation(folder)
