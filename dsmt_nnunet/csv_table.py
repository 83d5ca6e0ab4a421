"""Reading tables as people save them: any encoding, byte order mark, comma, semicolon or tab."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from charset_normalizer import from_bytes

DELIMITERS = ",;\t"
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True)
class CsvRow:
    """One row: its line number in the file (1 is the header) and its values, stripped of surrounding blanks."""

    line: int
    values: dict[str, str]

    def get(self, column: str) -> str:
        """Value of `column`, "" where the table lacks it."""
        return self.values.get(column, "")


@dataclass(frozen=True)
class CsvTable:
    """A table of strings."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[CsvRow, ...]


def read_csv(path: str | Path) -> CsvTable:
    """Reads a delimited text file.

    Args:
        path: the file. Encoding (UTF-8, UTF-16, a legacy code page) and delimiter (one of `DELIMITERS`) are detected.

    Returns:
        The table, without rows in which every cell is empty.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty, a column name occurs twice, or a row has more cells than the header.
    """
    path = Path(path)
    text = _decode(path.read_bytes(), path)
    lines = text.splitlines()
    if not lines or not lines[0].strip():
        raise ValueError(f"{path}: the table is empty. Its first line must hold the column names.")
    delimiter = max(DELIMITERS, key=lines[0].count)
    reader = csv.reader(lines, delimiter=delimiter)
    columns = [name.strip() for name in next(reader)]
    while columns and not columns[-1]:
        columns.pop()
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}: column names must be unique, but {', '.join(repeated)} occurs more than once.")
    rows = []
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        if not any(stripped):
            continue
        if any(stripped[len(columns) :]):
            raise ValueError(
                f"{path}, line {reader.line_num}: {len(stripped)} cells, but the header names {len(columns)} columns. "
                f"Quote values that contain '{delimiter}'."
            )
        stripped += [""] * (len(columns) - len(stripped))
        rows.append(CsvRow(reader.line_num, dict(zip(columns, stripped, strict=False))))
    return CsvTable(path, tuple(columns), tuple(rows))


def _decode(raw: bytes, path: Path) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if raw.startswith(mark):
            return raw.decode(encoding)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        best = from_bytes(raw).best()
        if best is None:
            raise ValueError(f"{path}: not a text file. Save the table as CSV (UTF-8).") from None
        return str(best)
