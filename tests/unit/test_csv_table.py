from __future__ import annotations

from pathlib import Path

import pytest

from dsmt_nnunet.csv_table import read_csv


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiter_is_detected(tmp_path: Path, delimiter: str) -> None:
    table = read_csv(write(tmp_path, f"case_id{delimiter}note\na{delimiter}1.5\n"))
    assert table.columns == ("case_id", "note")
    assert table.rows[0].values == {"case_id": "a", "note": "1.5"}


def test_delimiter_inside_a_quoted_column_name_does_not_count(tmp_path: Path) -> None:
    table = read_csv(write(tmp_path, '"size, long, mm";case_id\n12,5;a\n'))
    assert table.columns == ("size, long, mm", "case_id")
    assert table.rows[0].get("size, long, mm") == "12,5"


LONG_CHINESE = "病理,备注\n浸润性腺癌,右上肺结节手术切除标本病理诊断\n原位腺癌,左下肺磨玻璃结节随访三年\n"
LONG_GERMAN = "Größe;Bemerkung\n12,5;Läsion im rechten Oberlappen, früher übersehen, später größer\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (LONG_CHINESE, "utf-8"),
        (LONG_CHINESE, "utf-8-sig"),
        (LONG_CHINESE, "utf-16"),
        (LONG_CHINESE, "gb18030"),
        (LONG_GERMAN, "cp1252"),
    ],
)
def test_encoding_is_detected(tmp_path: Path, text: str, encoding: str) -> None:
    table = read_csv(write(tmp_path, text.encode(encoding)))
    assert table == read_csv(write(tmp_path, text))


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_keep_their_numbers_and_empty_ones_are_left_out(tmp_path: Path, newline: str) -> None:
    table = read_csv(write(tmp_path, newline.join(["case_id,note", "a,1", ",", "", "b,2"])))
    assert [(row.line, row.get("case_id")) for row in table.rows] == [(2, "a"), (5, "b")]


def test_line_break_inside_quotes_belongs_to_the_cell(tmp_path: Path) -> None:
    table = read_csv(write(tmp_path, 'case_id,note\na,"one\ntwo"\nb,x\n'))
    assert [row.get("note") for row in table.rows] == ["one\ntwo", "x"]
    assert table.rows[1].line == 4


def test_short_rows_are_filled_and_unnamed_columns_dropped(tmp_path: Path) -> None:
    table = read_csv(write(tmp_path, ",case_id,note,\n0,a\n1,b,x,\n"))
    assert table.columns == ("case_id", "note")
    assert [row.values for row in table.rows] == [{"case_id": "a", "note": ""}, {"case_id": "b", "note": "x"}]


def test_all_rows_with_too_many_cells_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Quote values that contain ','.\n  line 2: 3 cells\n  line 4: 4 cells"):
        read_csv(write(tmp_path, "case_id,note\na,1,2\nb,1\nc,1,2,3\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("a,b,a\n1,2,3\n", "a occurs more than once"),
        (b"PK\x03\x04rest of a workbook", "Excel workbook"),
        ("a,b\n" + "x" * 200_000 + ",1\n", "line 2"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_csv(write(tmp_path, content))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_csv(tmp_path / "none.csv")


def test_unknown_column_is_empty(tmp_path: Path) -> None:
    assert read_csv(write(tmp_path, "a,b\n1,2\n")).rows[0].get("c") == ""
