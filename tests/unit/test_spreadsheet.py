from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import CoveredTableCell, Table, TableCell, TableColumn, TableRow
from odf.text import P
from openpyxl import Workbook

from dsmt_nnunet.csv_table import read_table


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    """Remarks, a hidden list; a title, an empty row, the header, merged patients, ids with zeros, dates, text."""
    book = Workbook()
    book.active.title = "empty"
    book.create_sheet("remarks").append(["As of 2024"])
    terms = book.create_sheet("lists")
    terms.sheet_state = "hidden"
    terms.append(["yes", "no"])
    terms.append(["ja", "nein"])
    sheet = book.create_sheet("cases")
    sheet["A1"] = "Nodules 2019-2023"
    rows = [
        ["patient_id", "diameter_mm", "operated", "pathology ", "remark"],
        [7, 12.5, datetime.datetime(2020, 3, 1), " AIS ", None],
        [None, "8,5", None, "IAC", "x"],
        [12, 9.0, None, "MIA", None],
    ]
    for number, row in enumerate(rows, start=3):
        for column, value in enumerate(row, start=1):
            sheet.cell(number, column).value = value
    sheet["A4"].number_format = "0000"
    sheet.merge_cells("A4:A5")
    sheet["H20"] = "  "
    sheet.column_dimensions["E"].hidden = True
    sheet.row_dimensions[5].hidden = True
    sheet.row_dimensions[30].hidden = True
    path = tmp_path / "cases.xlsx"
    book.save(path)
    return path


def test_a_workbook_as_people_keep_it(workbook: Path) -> None:
    table = read_table(workbook)
    assert table.columns == ("patient_id", "diameter_mm", "operated", "pathology", "remark")
    assert [(row.line, *row.values.values()) for row in table.rows] == [
        (4, "0007", "12.5", "2020-03-01", "AIS", ""),
        (5, "0007", "8,5", "", "IAC", "x"),
        (6, "12", "9", "", "MIA", ""),
    ]


def test_what_is_hidden_is_read_and_said(workbook: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_table(workbook)
    assert "sheet 'cases': hidden in the workbook, and read as the rest: 1 column ('remark'); 1 row (5)." in caplog.text
    caplog.clear()
    read_table(workbook, "lists")
    assert "read as the rest: the whole sheet." in caplog.text


def test_sheets_are_chosen_by_name(workbook: Path) -> None:
    assert len(read_table(workbook, "cases").rows) == 3
    with pytest.raises(
        ValueError, match=r"no sheet 'other'; the workbook has \['empty', 'remarks', 'cases', 'lists'\]"
    ):
        read_table(workbook, "other")
    with pytest.raises(ValueError, match="the sheet empty is empty"):
        read_table(workbook, "empty")


def test_formulas_without_a_value(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["a", "b"])
    book.active.append([1, "=A2+1"])
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(ValueError, match="cell B2: a formula without a value"):
        read_table(tmp_path / "t.xlsx")


def test_no_workbook(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_text("a,b")
    with pytest.raises(ValueError, match="the workbook cannot be read"):
        read_table(tmp_path / "t.xlsx")


def test_open_document(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = OpenDocumentSpreadsheet()
    sheet = Table(name="cases")
    document.spreadsheet.addElement(sheet)

    def cell(text: str, kind: type = TableCell, **attributes: object) -> TableCell:
        made = kind(**attributes)
        if text:
            made.addElement(P(text=text))
        return made

    def row(*cells: TableCell, **attributes: object) -> None:
        made = TableRow(**attributes)
        for item in cells:
            made.addElement(item)
        sheet.addElement(made)

    sheet.addElement(TableColumn(numbercolumnsrepeated=2))
    sheet.addElement(TableColumn(visibility="collapse"))
    row(cell("A title"), cell("", numbercolumnsrepeated=1023))
    row(cell(""), numberrowsrepeated=2)
    row(cell("patient_id"), cell("diameter_mm"), cell("operated"))
    row(
        cell("0007", valuetype="float", value="7", numberrowsspanned=2),
        cell("12,50", valuetype="float", value="12.5"),
        cell("01.03.20", valuetype="date", datevalue="2020-03-01"),
    )
    row(cell("", CoveredTableCell), cell("8", valuetype="float", value="8"))
    row(cell("x"), numberrowsrepeated=2, visibility="filter")
    row(cell(""), numberrowsrepeated=1000000)
    document.save(str(tmp_path / "t.ods"))
    table = read_table(tmp_path / "t.ods")
    assert [(item.line, *item.values.values()) for item in table.rows] == [
        (5, "0007", "12.5", "2020-03-01"),
        (6, "0007", "8", ""),
        (7, "x", "", ""),
        (8, "x", "", ""),
    ]
    assert "read as the rest: 1 column ('operated'); 2 rows (7, 8)." in caplog.text


def test_text_files_are_read_as_before(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a;b\n1;2\n")
    assert read_table(tmp_path / "t.csv").rows[0].values == {"a": "1", "b": "2"}


def test_a_header_over_two_rows_is_told(tmp_path: Path) -> None:
    workbook = Workbook()
    sheet = workbook.active
    for row in (["Patient", None, "Lesion"], ["ID", "Age", "Pathology"], ["P1", 60, "AIS"], ["P2", 61, "IAC"]):
        sheet.append(row)
    sheet.merge_cells("A1:B1")
    workbook.save(tmp_path / "t.xlsx")
    with pytest.raises(ValueError, match=r"Patient occurs more than once .* Is a cell merged over several columns\?"):
        read_table(tmp_path / "t.xlsx")
