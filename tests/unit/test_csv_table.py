from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dsmt_nnunet.csv_table import CsvTable, parse_number, read_csv
from dsmt_nnunet.files import write_rows


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def outcome(path: Path) -> CsvTable | str:
    """The table, or the words of its refusal."""
    try:
        return read_csv(path)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiter_is_detected(tmp_path: Path, delimiter: str) -> None:
    table = read_csv(write(tmp_path, f"case_id{delimiter}note\na{delimiter}1.5\n"))
    assert table.columns == ("case_id", "note")
    assert table.rows[0].values == {"case_id": "a", "note": "1.5"}


def test_signs_that_are_not_drawn_do_not_count_around_a_cell(tmp_path: Path) -> None:
    table = read_csv(write(tmp_path, "case_id,note\n\ufeffa\u200b,\u00a0p\u200d1\u00ad\n"))
    assert table.rows[0].values == {"case_id": "a", "note": "p\u200d1"}


def test_a_minus_of_typography_is_a_minus() -> None:
    assert parse_number("\u221211.5", "x_mm") == -11.5


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


def test_a_column_of_row_numbers_without_a_name_is_dropped(tmp_path: Path) -> None:
    table = read_csv(write(tmp_path, ",case_id,note,\n0,a,,\n1,b,x,\n"))
    assert table.columns == ("case_id", "note")
    assert [row.values for row in table.rows] == [{"case_id": "a", "note": ""}, {"case_id": "b", "note": "x"}]


def test_rows_that_may_be_cut_off_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"fewer cells(.|\n)*line 2: 1 cells"):
        read_csv(write(tmp_path, "case_id,note,label\na\nb,1,2\n"))


@pytest.mark.parametrize("text", ["case_id,note,\na,11,5\n", "case_id,,note\na,x,b\n"])
def test_a_cell_in_a_column_without_a_name_is_not_dropped(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"columns without a name(.|\n)*line 2"):
        read_csv(write(tmp_path, text))


SIX = [f"p{number},IAC,yes,{number}" for number in range(6)]


@pytest.mark.parametrize(
    "places",
    [(1,), (1, 4), (0, 1), (2, 3), (5,), (0, 5)],
)
@pytest.mark.parametrize("at", [0, 3, 6])
def test_a_stray_quote_swallows_no_row(tmp_path: Path, places: tuple[int, ...], at: int) -> None:
    """Of six rows six are read, or the table is refused: a quote at the start of a cell, within it, or after it."""
    rows = [f'{row[:at]}"{row[at:]}' if number in places else row for number, row in enumerate(SIX)]
    path = write(tmp_path, "\n".join(["case_id,pathology,bubble_lucency,diameter_mm", *rows]))
    found = outcome(path)
    assert "quote" in found if isinstance(found, str) else len(found.rows) == 6


def test_excels_line_that_names_the_separator_is_no_header(tmp_path: Path) -> None:
    table = read_csv(write(tmp_path, "sep=;\r\ncase_id;note\r\na;1,5\r\n"))
    assert table.columns == ("case_id", "note")
    assert [(row.line, row.get("note")) for row in table.rows] == [(3, "1,5")]


def test_commas_in_a_column_name_do_not_make_a_comma_the_delimiter(tmp_path: Path) -> None:
    table = read_csv(write(tmp_path, "size, long, mm;case_id\n12,5;a\n"))
    assert table.columns == ("size, long, mm", "case_id")


def test_column_names_are_found_whatever_their_letter_case_and_blanks(tmp_path: Path) -> None:
    table = read_csv(write(tmp_path, "Case ID,SPLIT,Note\na,test,x\n")).spelt(["case_id", "split"])
    assert table.columns == ("case_id", "split", "Note")
    assert table.rows[0].values == {"case_id": "a", "split": "test", "Note": "x"}
    with pytest.raises(ValueError, match="case_id occurs more than once"):
        read_csv(write(tmp_path, "case_id,Case ID\na,b\n")).spelt(["case_id"])
    with pytest.raises(ValueError, match="more than once"):
        read_csv(write(tmp_path, "split,Split\ntrain,test\n"))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_unicode_without_a_mark_is_named(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, LONG_CHINESE.encode(encoding))
    with pytest.raises(ValueError, match="UTF-16 and UTF-32 without a byte order mark"):
        read_csv(path)
    assert read_csv(path, encoding) == read_csv(write(tmp_path, LONG_CHINESE))


def test_mixed_encodings_are_named(tmp_path: Path) -> None:
    content = "case_id,note\na,für\n".encode() + "b,später\n".encode("cp1252")
    with pytest.raises(ValueError, match="line 2 is UTF-8, line 3 is not"):
        read_csv(write(tmp_path, content))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("case_id,pathology\nP1,浸润\nP2,原位\n", "gb18030"),
        ("case_id,note\na,élève français à Noël\n", "cp1252"),
        ("case_id,note\na,침윤성 선암\nb,폐결절\n", "cp949"),
    ],
)
def test_an_encoding_that_may_be_one_of_two_is_asked_for(tmp_path: Path, text: str, encoding: str) -> None:
    path = write(tmp_path, text.encode(encoding))
    found, right = outcome(path), read_csv(path, encoding)
    assert f"{encoding}: '" in found if isinstance(found, str) else found == right
    assert right == read_csv(write(tmp_path, text))


def test_a_guess_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_csv(write(tmp_path, LONG_CHINESE.encode("gb18030")))
    assert "read as gb18030, which is a guess" in caplog.text


def test_an_encoding_that_does_not_fit_or_does_not_exist_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, LONG_GERMAN.encode("cp1252"))
    with pytest.raises(ValueError, match="the encoding given is utf-8, but its byte"):
        read_csv(path, "utf-8")
    with pytest.raises(ValueError, match="no encoding 'klingon'"):
        read_csv(path, "klingon")


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "@SUM(1)", "+1+cmd", "-2+3", "'=kept", "- see note"])
def test_what_a_spreadsheet_would_run_is_behind_a_quote_in_the_file_and_itself_when_read(
    tmp_path: Path, cell: str
) -> None:
    path = tmp_path / "out.csv"
    write_rows(path, [("case_id", "note"), ("a", cell)])
    with path.open(newline="") as stream:
        assert list(csv.reader(stream))[1][1] == f"'{cell}"
    assert read_csv(path).rows[0].get("note") == cell


@pytest.mark.parametrize("cell", ["-3.500", "+1", "-1e-5", "-", "+", "text", "a=b", "", "-nan", "'quoted'"])
def test_numbers_and_words_are_written_as_they_are(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "out.csv"
    write_rows(path, [("case_id", "note"), ("a", cell)])
    with path.open(newline="") as stream:
        assert list(csv.reader(stream))[1][1] == cell
    assert read_csv(path).rows[0].get("note") == cell


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
        (b"\xd0\xcf\x11\xe0 an old workbook", "Excel workbook"),
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


def test_two_tables_in_one_file_are_told_of(tmp_path: Path) -> None:
    for joined in ("case_id,b\n1,2\nCase_ID, B\n3,4\n", "\ufeffcase_id,b\n1,2\n\ufeffcase_id,b\n3,4\n"):
        with pytest.raises(ValueError, match="line 3 holds the column names again"):
            read_csv(write(tmp_path, joined))


@pytest.mark.parametrize("name", ["case\u00a0id", "case_id\u200b", "ｃａｓｅ＿ｉｄ"])
def test_letters_that_look_the_same_in_a_column_name_are(tmp_path: Path, name: str) -> None:
    assert read_csv(write(tmp_path, f"{name},b\n1,2\n")).spelt(["case_id"]).columns == ("case_id", "b")
