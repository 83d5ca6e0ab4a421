"""The checklists, the flow of cases and the table of the cohort."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from dsmt_nnunet.report.checklist import OPEN, checklist_tables
from dsmt_nnunet.report.folder import read_evaluation
from dsmt_nnunet.report.page import write_report
from dsmt_nnunet.report.tables import Table
from tests.unit.report.cohort import Cohort, page_options


@pytest.fixture(scope="module")
def tables(cohort: Cohort) -> dict[str, Table]:
    return checklist_tables([read_evaluation(cohort.metrics)], explained=False)


def test_every_item_of_both_checklists_is_there(tables: dict[str, Table]) -> None:
    assert [row[0] for row in tables["claim_2024"].rows] == [str(number) for number in range(1, 45)]
    main_items = {row[0].rstrip("abcdefg") for row in tables["tripod_ai"].rows}
    assert main_items == {str(number) for number in range(1, 28)}


def test_what_is_on_disk_is_said_and_the_rest_is_open(tables: dict[str, Table], cohort: Cohort) -> None:
    said = {row[0]: row[-1] for row in tables["claim_2024"].rows}
    task = read_evaluation(cohort.metrics).tasks["invasiveness"]
    assert task.auc_sentence in said["37"]
    assert said["44"] == said["11"] == said["31"] == OPEN
    explained = checklist_tables([read_evaluation(cohort.metrics)], explained=True)["claim_2024"]
    assert "what drove each score" in explained.rows[30][-1]


def test_flow_ends_with_the_nodules_that_were_analysed(tables: dict[str, Table], cohort: Cohort) -> None:
    evaluation = read_evaluation(cohort.metrics)
    steps = [(row[1], int(row[3])) for row in tables["flow"].rows]
    given, analysed = dict(steps)["given"], dict(steps)["analysed"]
    assert given == sum(row["status"] != "extra" for row in evaluation.nodules)
    assert given - sum(count for step, count in steps if step == "left out") == analysed
    assert analysed == evaluation.tasks["invasiveness"].n


def test_cohort_has_a_column_a_class_with_all_its_nodules(tables: dict[str, Table], cohort: Cohort) -> None:
    table = tables["cohort"]
    true = [row for row in read_evaluation(cohort.metrics).nodules if row["status"] != "extra"]
    assert sum(map(int, table.rows[0][1:])) == len(true)
    assert any("truth diameter" in row[0].lower() for row in table.rows)
    assert not any("prob" in row[0].lower() or "decision" in row[0].lower() for row in table.rows)


@pytest.mark.usefixtures("no_figures")
def test_page_and_files_hold_the_same(cohort: Cohort, tmp_path: Path) -> None:
    options = replace(page_options(cohort), checklist=True, max_cards=0)
    page = write_report([cohort.metrics], tmp_path / "page.html", options)
    assert 'id="checklists"' in page.read_text(encoding="utf-8")
    with (tmp_path / "page_tripod_ai.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 53
    assert {path.name for path in tmp_path.glob("*.csv")} == {
        f"page_{name}.csv" for name in ("flow", "cohort", "claim_2024", "tripod_ai")
    }
