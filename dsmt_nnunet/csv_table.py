"""Reading tables as people save them: text of any encoding, byte order mark, comma, semicolon or tab; workbooks."""

from __future__ import annotations

import csv
import io
import logging
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsmt_nnunet.files import FORMULA_STARTS
from dsmt_nnunet.spreadsheet import WORKBOOK_ENDINGS, header_index, read_sheet, trimmed

logger = logging.getLogger(__name__)

DELIMITERS = ",;\t"
CODE_PAGES = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "gb18030", "cp950", "cp932", "cp949")
"""In which spreadsheet programs save text that is not Unicode: of Western, Central and Eastern Europe, Greek, Turkish,
simplified and traditional Chinese, Japanese and Korean."""
_EXCEL_WORKBOOK = b"PK\x03\x04"
_OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"
_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_SEPARATOR_LINE = re.compile(r"\s*\"?sep=(.)\"?\s*", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
_AMBIGUOUS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
_QUOTED_FORMULA = re.compile(f"''?[{re.escape(FORMULA_STARTS)}]")
_MERGED = " Is a cell merged over several columns? Name every column in one row, and take the other header rows out."
_CHAOS_MARGIN = 0.05
"""Readings of a file whose letters are as little mixed as the best one's, up to this much, may be what was meant."""


@dataclass(frozen=True)
class CsvRow:
    """One row: its line in the file (1 is the header; of a row over several, the last) and its values, stripped."""

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

    def spelt(self, names: Iterable[str]) -> CsvTable:
        """The table with the columns that are some of `names`, but for letter case, blanks and '_', spelt so.

        Raises:
            ValueError: two columns are one of them.
        """
        exact = list(names)
        wanted = {same_column_key(name): name for name in exact}
        spelling = {name: name if name in exact else wanted.get(same_column_key(name), name) for name in self.columns}
        _check_unique(self.path, list(spelling.values()))
        rows = tuple(CsvRow(row.line, {spelling[name]: cell for name, cell in row.values.items()}) for row in self.rows)
        return CsvTable(self.path, tuple(spelling.values()), rows)


def parse_number(text: str, what: str) -> float:
    """A finite number; the decimal sign is a point or a comma, and nothing separates thousands.

    Args:
        text: of the cell.
        what: it is, for the message.

    Raises:
        ValueError: no number, or one that can be read in two ways.
    """
    text = text.replace("\u2212", "-")  # the sign that some languages' spreadsheets write
    if _AMBIGUOUS.fullmatch(text):
        raise ValueError(
            f"{what} is '{text}', which may be {text.replace(',', '.')} or {text.replace(',', '')}. Write a decimal "
            f"point, and no sign between thousands."
        )
    if not _NUMBER.fullmatch(text) or not math.isfinite(value := float(text.replace(",", "."))):
        raise ValueError(f"{what} must be a number, got '{text}'. Leave the cell empty when it is not known.")
    return value


def number_or_nan(text: str) -> float:
    """A number as `parse_number` reads it, NaN where it is none."""
    try:
        return parse_number(text, "it")
    except ValueError:
        return math.nan


def read_table(path: str | Path, sheet: str | None = None, encoding: str | None = None) -> CsvTable:
    """Reads a workbook (.xlsx, .xlsm, .ods) or, by `read_csv`, a delimited text file.

    The header of a sheet need not be its first row; titles and remarks above it are passed over.

    Args:
        path: the file.
        sheet: of a workbook; None for the first one that holds a table.
        encoding: of a text file; None to find out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as for `read_csv` and `read_sheet`.
    """
    path = Path(path)
    if path.suffix.lower() not in WORKBOOK_ENDINGS:
        return read_csv(path, encoding)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    rows = read_sheet(path, sheet)
    return _build(path, "", rows[header_index(rows) :])


def read_csv(path: str | Path, encoding: str | None = None) -> CsvTable:
    """Reads a delimited text file.

    Args:
        path: the file. Its delimiter (one of `DELIMITERS`, or that of a line `sep=;`) is detected.
        encoding: name of its encoding; None to find out: Unicode, or one of `CODE_PAGES`, which is said then.

    Returns:
        The table, without rows in which every cell is empty and without columns that have no name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty or no text, its encoding may be one of several, a column name occurs twice, rows
            have more or fewer cells than the header, or a quote is not closed where it should be.
    """
    path = Path(path)
    text = _decode(path.read_bytes(), path, encoding)
    first, _, rest = text.partition("\n")
    separator, skipped = _SEPARATOR_LINE.fullmatch(first), 0
    if separator:
        text, skipped = rest, 1
    if not any(line.strip(DELIMITERS + " ") for line in text.splitlines()):
        raise ValueError(f"{path}: the table is empty. Its first line must hold the column names.")
    delimiter = separator[1] if separator else _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        lines += ((reader.line_num + skipped, [_cell(cell) for cell in cells]) for cells in reader)
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num + skipped}: {error}. Is there a stray quote in or above it? Save the table "
            f"as CSV (UTF-8)."
        ) from error
    filled = [(number, cells) for number, cells in lines if any(cells)]
    _check_swallowed(path, delimiter, filled)
    return _build(path, delimiter, filled)


def _cell(text: str) -> str:
    """Without blanks around it, and without the quote that keeps a spreadsheet program from running it."""
    text = trimmed(text)
    return text[1:] if _QUOTED_FORMULA.match(text) else text


def _delimiter(text: str) -> str:
    """The one by which most rows have as many cells as the header; of equals, the one that divides it most."""
    best: tuple[float, int] = (-1.0, -1)
    chosen = DELIMITERS[0]
    for candidate in DELIMITERS:
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=candidate))
        except csv.Error:
            continue
        counts = [len(cells) for cells in rows if any(cell.strip() for cell in cells)]
        divides = counts[0] > 1
        share = sum(count == counts[0] for count in counts) / len(counts)
        score = (share if divides else 0.0, counts[0])
        if score > best:
            best, chosen = score, candidate
    return chosen


def _check_swallowed(path: Path, delimiter: str, lines: Sequence[tuple[int, list[str]]]) -> None:
    """Refuses cells that hold whole rows: a stray quote opened them, and another one closed them."""
    width = len(lines[0][1])
    for number, cells in lines:
        for cell in cells:
            breaks = max(0, len(cell.splitlines()) - 1)
            if breaks and width > 1 and cell.count(delimiter) >= breaks * (width - 1):
                raise ValueError(
                    f"{path}: a quote that ends in line {number} encloses {breaks} line ends and what looks like rows "
                    f"('{cell[:40]}...'). Remove the stray quote."
                )


def _check_unique(path: Path, names: Sequence[str], hint: str = "") -> None:
    folded = [_folded(name) for name in names]
    repeated = sorted({name for name in names if folded.count(_folded(name)) > 1})
    if repeated:
        raise ValueError(
            f"{path}: column names must be unique, but {', '.join(repeated)} occurs more than once (letter case and "
            f"blanks do not count).{hint}"
        )


def _folded(name: str) -> str:
    letters = unicodedata.normalize("NFKC", name)
    return "".join(
        letter for letter in letters if not letter.isspace() and unicodedata.category(letter) != "Cf"
    ).casefold()


def same_column_key(name: str) -> str:
    return _folded(name).replace("_", "").replace("-", "")


def _build(path: Path, delimiter: str, lines: list[tuple[int, list[str]]]) -> CsvTable:
    header = lines[0][1]
    names = [name for name in header if name]
    _check_unique(path, names, "" if delimiter else _MERGED)
    width = max(index for index, name in enumerate(header) if name) + 1
    # A first column without a name numbers the rows: pandas writes one.
    unnamed = [index for index, name in enumerate(header[:width]) if index and not name]
    too_long = [
        (number, cells)
        for number, cells in lines[1:]
        if any(cells[width:]) or any(cells[index] for index in unnamed if index < len(cells))
    ]
    if too_long:
        hint = f"Quote values that contain '{delimiter}'." if delimiter else "Name every column that holds something."
        raise ValueError(
            f"{path}: rows have more cells than the header, which names {len(names)} columns, or cells in columns "
            f"without a name. {hint}\n"
            f"{_listed(too_long)}"
        )
    too_short = [(number, cells) for number, cells in lines[1:] if len(cells) < width]
    if delimiter and too_short:
        raise ValueError(
            f"{path}: rows have fewer cells than the header, which names {len(names)} columns, so that they may be cut "
            f"off. Write a '{delimiter}' for every empty cell.\n{_listed(too_short)}"
        )
    again = [number for number, cells in lines[1:] if [_folded(cell) for cell in cells] == [_folded(n) for n in header]]
    if again:
        raise ValueError(f"{path}: line {again[0]} holds the column names again. Were two tables joined? Remove it.")
    rows = []
    for number, cells in lines[1:]:
        filled = cells + [""] * (width - len(cells))
        rows.append(CsvRow(number, {name: cell for name, cell in zip(header, filled, strict=False) if name}))
    return CsvTable(path, tuple(names), tuple(rows))


def _listed(lines: Sequence[tuple[int, list[str]]]) -> str:
    return "\n".join(f"  line {number}: {len(cells)} cells" for number, cells in lines)


def _decode(raw: bytes, path: Path, encoding: str | None) -> str:
    if raw.startswith((_EXCEL_WORKBOOK, _OLD_WORKBOOK)):
        raise ValueError(f"{path}: this is an Excel workbook. Save its sheet as CSV (UTF-8).")
    if encoding is not None:
        return _decode_as(raw, path, encoding, "the encoding given")
    for mark, marked in _BYTE_ORDER_MARKS:
        if raw.startswith(mark):
            return _decode_as(raw, path, marked, "the file says that it")
    if b"\x00" in raw:
        raise ValueError(
            f"{path}: it holds zero bytes, as UTF-16 and UTF-32 without a byte order mark do. Save the table as CSV "
            f"(UTF-8), or name the encoding (--encoding utf-16-le)."
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return _guess(raw, path)


def _decode_as(raw: bytes, path: Path, encoding: str, who: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: {who} is {encoding.removesuffix('-sig')}, but its byte {error.start} is not. Save the table as "
            f"CSV (UTF-8)."
        ) from None
    except LookupError:
        raise ValueError(f"{path}: there is no encoding '{encoding}'. Some are {', '.join(CODE_PAGES)}.") from None


def _guess(raw: bytes, path: Path) -> str:
    """Text in a code page.

    Raises:
        ValueError: none fits, several do and give other letters, or some lines are UTF-8 and some are not.
    """
    utf8, other = _lines_by_encoding(raw)
    if utf8 and other:
        raise ValueError(
            f"{path}: its encodings seem to be mixed: line {utf8[0]} is UTF-8, line {other[0]} is not. Save the table "
            f"as CSV (UTF-8), or name the encoding (--encoding)."
        )
    from charset_normalizer import from_bytes  # takes long to load, and few files need it

    found = list(from_bytes(raw, cp_isolation=list(CODE_PAGES)))
    if not found:
        raise ValueError(f"{path}: not a text file. Save the table as CSV (UTF-8).")
    least = min(match.chaos for match in found)
    readings: dict[str, str] = {}
    for match in found:
        if match.chaos <= least + _CHAOS_MARGIN:
            readings.setdefault(str(match), match.encoding)
    if len(readings) > 1:
        shown = "; ".join(f"{name}: {_where_they_differ(text, readings)}" for text, name in readings.items())
        raise ValueError(
            f"{path}: it is no UTF-8, and its encoding may be one of several. Save the table as CSV (UTF-8), or name "
            f"the encoding (--encoding): {shown}"
        )
    ((text, name),) = readings.items()
    logger.warning("%s is no UTF-8; it was read as %s, which is a guess. Do its letters look right?", path, name)
    return text


def _lines_by_encoding(raw: bytes) -> tuple[list[int], list[int]]:
    """Numbers of the lines beyond ASCII that are UTF-8, and of those that are not."""
    utf8, other = [], []
    for number, line in enumerate(raw.splitlines(), start=1):
        if line.isascii():
            continue
        try:
            letters = [letter for letter in line.decode("utf-8") if not letter.isascii() and letter.isalpha()]
        except UnicodeDecodeError:
            other.append(number)
            continue
        # Two Chinese letters of GB18030 may be four bytes of UTF-8, but then of scripts that nobody mixes.
        if len({unicodedata.name(letter, "").split(" ")[0] for letter in letters}) == 1:
            utf8.append(number)
    return utf8, other


def _where_they_differ(text: str, readings: Iterable[str]) -> str:
    """The first line that the readings do not share, in one of them."""
    others = [other.splitlines() for other in readings]
    for number, line in enumerate(text.splitlines()):
        if any(number >= len(other) or other[number] != line for other in others):
            return f"'{line.strip()[:40]}'"
    return "the same letters"
