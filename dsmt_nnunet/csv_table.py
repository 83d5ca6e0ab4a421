"""Reading tables as people save them: text of any encoding, byte order mark, comma, semicolon or tab; workbooks."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from charset_normalizer import from_bytes

from dsmt_nnunet.spreadsheet import WORKBOOK_ENDINGS, header_index, read_sheet

DELIMITERS = ",;\t"
_EXCEL_WORKBOOK = b"PK\x03\x04"
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True)
class CsvRow:
    """One row: its line number in the file (1 is the header; the last line of a row that spans several) and its values,
    stripped of surrounding blanks."""

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


def read_table(path: str | Path, sheet: str | None = None) -> CsvTable:
    """Reads a workbook (.xlsx, .xlsm, .ods) or, by `read_csv`, a delimited text file.

    The header of a sheet need not be its first row; titles and remarks above it are passed over.

    Args:
        path: the file.
        sheet: of a workbook; None for the first one that holds anything.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as for `read_csv` and `read_sheet`.
    """
    path = Path(path)
    if path.suffix.lower() not in WORKBOOK_ENDINGS:
        return read_csv(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    rows = read_sheet(path, sheet)
    return _build(path, "", rows[header_index(rows) :])


def read_csv(path: str | Path) -> CsvTable:
    """Reads a delimited text file.

    Args:
        path: the file. Encoding (UTF-8, UTF-16, a legacy code page) and delimiter (one of `DELIMITERS`) are detected.

    Returns:
        The table, without rows in which every cell is empty and without columns that have no name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty or no text, a column name occurs twice, or rows have more cells than the header.
    """
    path = Path(path)
    text = _decode(path.read_bytes(), path)
    header = next((line for line in text.splitlines() if line.strip(DELIMITERS + " ")), "")
    if not header:
        raise ValueError(f"{path}: the table is empty. Its first line must hold the column names.")
    delimiter = max(DELIMITERS, key=lambda candidate: len(next(csv.reader([header], delimiter=candidate))))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}. Save the table as CSV (UTF-8).") from error
    return _build(path, delimiter, [(number, cells) for number, cells in lines if any(cells)])


def _build(path: Path, delimiter: str, lines: list[tuple[int, list[str]]]) -> CsvTable:
    header = lines[0][1]
    names = [name for name in header if name]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}: column names must be unique, but {', '.join(repeated)} occurs more than once.")
    width = max(index for index, name in enumerate(header) if name) + 1
    too_long = [(number, cells) for number, cells in lines[1:] if any(cells[len(header) :])]
    if too_long:
        hint = f"Quote values that contain '{delimiter}'." if delimiter else "Name every column that holds something."
        listed = "\n".join(f"  line {number}: {len(cells)} cells" for number, cells in too_long)
        raise ValueError(
            f"{path}: rows have more cells than the header, which names {len(names)} columns. {hint}\n{listed}"
        )
    rows = []
    for number, cells in lines[1:]:
        filled = cells + [""] * (width - len(cells))
        rows.append(CsvRow(number, {name: cell for name, cell in zip(header, filled, strict=False) if name}))
    return CsvTable(path, tuple(names), tuple(rows))


def _decode(raw: bytes, path: Path) -> str:
    if raw.startswith(_EXCEL_WORKBOOK):
        raise ValueError(f"{path}: this is an Excel workbook. Save its sheet as CSV (UTF-8).")
    for mark, encoding in _BYTE_ORDER_MARKS:
        if raw.startswith(mark):
            try:
                return raw.decode(encoding)
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}: the file says that it is {encoding.removesuffix('-sig')}, but its byte {error.start} is "
                    "not. Save the table as CSV (UTF-8)."
                ) from None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        best = from_bytes(raw).best()
        if best is None:
            raise ValueError(f"{path}: not a text file. Save the table as CSV (UTF-8).") from None
        return str(best)
