"""What was written is read again: any text in the cells, every delimiter, encoding and line end."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsmt_nnunet.csv_table import DELIMITERS, CsvTable, read_csv
from dsmt_nnunet.spreadsheet import trimmed

# Without control characters, which no spreadsheet writes, and surrogates, which no encoding has.
texts = (
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
    .map(trimmed)
    .filter(lambda text: bool(text) and text[0] != "'")  # such a quote may stand before a formula
)
rows = st.lists(st.tuples(texts, texts), min_size=1, max_size=6)


def written(cells: list[tuple[str, str]], delimiter: str, newline: str) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=newline, quoting=csv.QUOTE_ALL)
    writer.writerows([("case_id", "note"), *cells])
    return stream.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", DELIMITERS)
@given(cells=rows, newline=st.sampled_from(["\n", "\r\n"]))
def test_a_table_is_read_as_it_was_written(
    encoding: str, delimiter: str, cells: list[tuple[str, str]], newline: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(written(cells, delimiter, newline).encode(encoding))
        table = read_csv(path)
    assert table.columns == ("case_id", "note")
    assert [(row.get("case_id"), row.get("note")) for row in table.rows] == cells
    assert [row.line for row in table.rows] == list(range(2, len(cells) + 2))


def outcome(path: Path) -> CsvTable | str:
    """The table, or the words of its refusal."""
    try:
        return read_csv(path)
    except ValueError as error:
        return str(error)


@given(content=st.binary(max_size=200))
@example(content=b"\xff\xfea")
@example(content=b"\xef\xbb\xbf\xff")
def test_any_bytes_are_a_table_or_an_error_that_names_the_file(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(content)
        table = outcome(path)
    if isinstance(table, str):
        assert table.startswith(str(path))
    else:
        assert all(set(row.values) == set(table.columns) for row in table.rows)
