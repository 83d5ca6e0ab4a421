from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.diameter_range import DiameterRange
from dsmt_nnunet.evaluation.free_response import searched_scans
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.predictions.results import Candidate, CasePrediction, write_case
from dsmt_nnunet.report.figure_style import FigureFolder
from dsmt_nnunet.report.folder import read_evaluation
from dsmt_nnunet.report.section import build_section
from dsmt_nnunet.statistics.named_warnings import WarningLog
from tests.unit.evaluation.cohort import SCHEMA, found, nodule, rows_of, write_prediction
from tests.unit.report import conftest as report_fixtures

_quick_fonts = report_fixtures._quick_fonts

LABELS = {"invasiveness": "invasive", "texture": None}


def searched(folder: Path, case: str, nodules=(), candidates=()) -> None:
    folder.mkdir(exist_ok=True)
    marked = tuple(
        replace(item, nodule_id=str(number), detection_score=score) for number, (item, score) in enumerate(nodules, 1)
    )
    faint = tuple(Candidate(place, score) for place, score in candidates)
    write_case(CasePrediction(case, SCHEMA, marked, candidates=faint), folder / f"{case}.json")


def evaluated(folder: Path, truth, *options: str) -> dict:
    NoduleTable(tuple(truth)).write(folder / "nodules.csv", SCHEMA)
    arguments = ["evaluate", "predictions", str(folder / "out"), "--truth", str(folder / "nodules.csv")]
    assert main([*arguments, "-o", str(folder / "m"), "--bootstrap", "200", *options]) == 0
    return json.loads((folder / "m" / "metrics.json").read_text())


@pytest.fixture
def four_scans(tmp_path: Path) -> tuple[Path, list]:
    """a: a nodule found, a faint mark on another, a false one. b: no nodule. c: crashed. d: two marks of a nodule."""
    truth = [nodule("a", 1, LABELS), nodule("a", 2, LABELS), nodule("c", 1, LABELS), nodule("d", 1, LABELS)]
    out = tmp_path / "out"
    searched(out, "a", [(found(truth[0], 0.9), 5.0)], [(truth[1].centre_mm, -1.0), ((0.0, 90.0, 0.0), 0.5)])
    searched(out, "b", [], [((0.0, 0.0, 0.0), -2.0)])
    searched(out, "d", [(found(truth[3], 0.8), 4.0), (found(truth[3], 0.8, shift_mm=5.0), 3.0)])
    return tmp_path, truth


def test_faint_marks_crashed_scans_and_scans_without_nodules_count(four_scans, capsys) -> None:
    folder, truth = four_scans
    detection = evaluated(folder, truth)["detection"]
    marks = detection["free_response"]
    assert (marks["n_scans"], marks["n_scans_without_nodule"], marks["n_scans_crashed"]) == (3, 1, 1)
    assert (marks["n_nodules"], marks["n_marks"], marks["n_neither"]) == (4, 6, 1)
    # Scores 5 and 4 hit, 0.5 is false (1/3 a scan), -1 hits, -2 is false (2/3 a scan): the curve of three scans read.
    by_hand = np.interp([0.125, 0.25, 0.5, 1, 2, 4, 8], [0, 0, 1 / 3, 1 / 3, 2 / 3], [0, 0.5, 0.5, 0.75, 0.75])
    assert [item["sensitivity"] for item in marks["sensitivity_at"]] == pytest.approx(by_hand)
    assert marks["cpm"] == pytest.approx(by_hand.mean())
    assert marks["max_false_per_scan"] == pytest.approx(2 / 3)
    # Lesions 5, 4, -1 and one never marked; the only scan without a nodule has -2: three of four in order.
    assert marks["afroc"]["auc"] == pytest.approx(3 / 4)
    # Over all scans the highest false marks are 0.5, -2 and none: 2 x 3, 2 (-2 and none), and half a tie with none.
    assert marks["afroc1"]["auc"] == pytest.approx((3 + 3 + 2 + 0.5) / 12)
    assert marks["sentence"] in capsys.readouterr().out
    kinds = [(row["case_id"], row["kind"], row["counts_as"]) for row in rows_of(folder / "m" / "marks.csv")]
    assert kinds == [
        ("a", "nodule", "hit"),
        ("a", "candidate", "hit"),
        ("a", "candidate", "false"),
        ("b", "candidate", "false"),
        ("d", "nodule", "hit"),
        ("d", "nodule", "neither"),
    ]


def test_only_predicted_leaves_crashed_scans_out(four_scans) -> None:
    marks = evaluated(*four_scans, "--only-predicted")["detection"]["free_response"]
    assert (marks["n_nodules"], marks["n_scans_crashed"]) == (3, 0)
    assert marks["sensitivity_at"][-1]["sensitivity"] == 1.0


def test_given_positions_say_nothing_of_finding(tmp_path) -> None:
    truth = [nodule("a", 1, LABELS)]
    write_prediction(tmp_path / "out", "a", [found(truth[0], 0.9)])
    assert "free_response" not in evaluated(tmp_path, truth)["detection"]
    assert not (tmp_path / "m" / "marks.csv").exists()


def test_given_and_searched_scans_are_not_mixed(four_scans) -> None:
    folder, truth = four_scans
    write_prediction(folder / "out", "e", [found(nodule("e", 1, LABELS), 0.9)])
    metrics = evaluated(folder, [*truth, nodule("e", 1, LABELS)])
    assert metrics["detection"]["free_response"]["n_nodules"] == 4
    assert any(
        "1 scans whose positions were given are no part of FROC" in item["message"] for item in metrics["warnings"]
    )


def test_the_curves_are_there_to_be_drawn(four_scans) -> None:
    folder, truth = four_scans
    evaluated(folder, truth)
    curves = read_evaluation(folder / "m").marks
    assert curves is not None
    assert curves.afroc_over == "scans without a nodule"
    np.testing.assert_allclose(curves.false_per_scan, [0, 0, 0, 1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(curves.sensitivity, [0, 0.25, 0.5, 0.5, 0.75, 0.75])


def test_the_page_shows_both_curves_and_the_sentence(four_scans) -> None:
    folder, truth = four_scans
    marks = evaluated(folder, truth)["detection"]["free_response"]
    section = build_section(read_evaluation(folder / "m"), "one", "One", FigureFolder(folder / "figures"))
    view = section.panels[-1]
    assert (view.title, view.summary) == ("Finding nodules", marks["sentence"])
    assert [figure.title for figure in view.figures] == ["FROC curve", "AFROC curve"]
    rows = dict(row for table in view.tables for row in table.rows)
    assert rows["CPM"].startswith(f"{marks['cpm']:.3f}")
    assert "AFROC area, 1 scans without a nodule" in rows


def test_a_mark_of_a_nodule_that_is_not_asked_about_counts_neither_way(tmp_path) -> None:
    asked = replace(SCHEMA, asked=DiameterRange(10.0, 20.0))
    truth = NoduleTable((nodule("a", 1, LABELS), nodule("a", 2, LABELS, diameter_mm=5.0)))
    marked = tuple(replace(found(item, 0.9), detection_score=2.0) for item in truth.nodules)
    scans = searched_scans(
        [CasePrediction("a", asked, marked, candidates=())], truth, asked.asked, [], None, WarningLog()
    )
    assert scans is not None
    assert (scans.marks.n_lesions.tolist(), scans.marks.hit.tolist()) == ([1], [True])
    assert [row[6] for row in scans.rows] == ["hit", "neither"]
