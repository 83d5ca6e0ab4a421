"""Reading the sheets of workbooks (.xlsx, .ods) as rows of text. Their libraries are loaded when one is read."""

from __future__ import annotations

import datetime
import logging
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from odf.element import Element
    from odf.table import Table, TableCell
    from odf.text import P
    from openpyxl.cell import Cell, MergedCell
    from openpyxl.worksheet.worksheet import Worksheet

logger = logging.getLogger(__name__)

WORKBOOK_ENDINGS = (".xlsx", ".xlsm", ".ods")

_LEADING_ZEROS = re.compile(r"0{2,}")
_MOST_COLUMNS = 1000
"""Sheets pad rows with empty cells to the last column that a program knows; no table is wider than this."""
_MOST_EMPTY_ROWS = 1000
_SHOWN = 10
_NOT_DRAWN = r"[\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+"
_EDGES = re.compile(f"^{_NOT_DRAWN}|{_NOT_DRAWN}$")
"""Blanks, and signs that are not drawn, around a cell."""


def trimmed(text: str) -> str:
    """A cell without blanks around it, nor the signs that are not drawn which programs leave there."""
    return _EDGES.sub("", text)


@dataclass(frozen=True)
class _Sheet:
    """One sheet.

    Attributes:
        rows: row number from 1 on, and the cells, of every row that holds anything.
        is_hidden: the whole sheet.
        hidden_rows: numbers of rows that are hidden, by hand or by a filter.
        hidden_columns: indices of columns that are hidden, from 0 on.
    """

    rows: list[tuple[int, list[str]]]
    is_hidden: bool = False
    hidden_rows: frozenset[int] = frozenset()
    hidden_columns: frozenset[int] = frozenset()

    def hidden(self) -> list[str]:
        """What of the rows and columns that hold anything is hidden, in words."""
        header = self.rows[header_index(self.rows)][1]
        filled = {index for _, cells in self.rows for index, cell in enumerate(cells) if cell}
        names = [
            f"'{header[index]}'" if index < len(header) and header[index] else f"number {index + 1}"
            for index in sorted(self.hidden_columns & filled)
        ]
        numbers = [str(number) for number, _ in self.rows if number in self.hidden_rows]
        parts = ["the whole sheet"] if self.is_hidden else []
        return parts + [
            f"{len(items)} {kind}{'s' if len(items) > 1 else ''} ({', '.join(items[:_SHOWN])}"
            f"{', ...' if len(items) > _SHOWN else ''})"
            for kind, items in (("column", names), ("row", numbers))
            if items
        ]


def read_sheet(path: Path, sheet: str | None = None) -> list[tuple[int, list[str]]]:
    """Reads one sheet.

    Numbers are written without a needless fraction and with the leading zeros that the cell's format shows, dates as
    YYYY-MM-DD; merged cells all hold the merged value; formulas give the value that the workbook was saved with. What
    is hidden is read as the rest, and a warning names it: a filter is a way to look at a table, not a decision on its
    rows.

    Args:
        path: .xlsx, .xlsm or .ods.
        sheet: its name; None for the first one that holds a table, those that are shown before those that are hidden.

    Returns:
        Row number from 1 on, and the cells, of every row that holds anything.

    Raises:
        ValueError: not readable, no such sheet, or a formula without a value.
    """
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        sheets = _ods_sheets(path) if path.suffix.lower() == ".ods" else _xlsx_sheets(path)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, OSError) as error:
        raise ValueError(
            f"{path}: the workbook cannot be read ({error}). Is it complete, and without password?"
        ) from error
    if sheet is not None and sheet not in sheets:
        raise ValueError(f"{path}: there is no sheet '{sheet}'; the workbook has {list(sheets)}.")
    held = [name for name, found in sheets.items() if found.rows]
    tables = [name for name in held if _is_table(sheets[name].rows)]
    name = sheet or next(iter(tables or held), None)
    if name is None or not sheets[name].rows:
        raise ValueError(f"{path}: the {f'sheet {sheet}' if sheet else 'workbook'} is empty.")
    if hidden := sheets[name].hidden():
        logger.warning(
            "%s, sheet '%s': hidden in the workbook, and read as the rest: %s. Delete there what should not be used.",
            path,
            name,
            "; ".join(hidden),
        )
    return sheets[name].rows


def _is_table(rows: Sequence[tuple[int, list[str]]]) -> bool:
    """Whether two rows or more fill two cells or more; a page of remarks does not."""
    return sum(sum(map(bool, cells)) > 1 for _, cells in rows) > 1


def header_index(rows: Sequence[tuple[int, list[str]]]) -> int:
    """Which of the rows is the header: the first that names at least half as many columns as the fullest row fills.

    Titles and remarks above a table fill a cell or two.
    """
    fullest = max(sum(map(bool, cells)) for _, cells in rows)
    return next(index for index, (_, cells) in enumerate(rows) if len({*filter(None, cells)}) * 2 >= fullest)


def _xlsx_sheets(path: Path) -> dict[str, _Sheet]:
    from openpyxl import load_workbook
    from openpyxl.worksheet.worksheet import Worksheet

    values, formulas = load_workbook(path, data_only=True), load_workbook(path)
    found = {}
    for name in sorted(values.sheetnames, key=lambda name: values[name].sheet_state != "visible"):
        sheet, written = values[name], formulas[name]
        if isinstance(sheet, Worksheet) and isinstance(written, Worksheet):
            found[name] = _Sheet(
                list(_xlsx_rows(path, sheet, written)),
                sheet.sheet_state != "visible",
                frozenset(number for number, row in sheet.row_dimensions.items() if row.hidden),
                frozenset(
                    index
                    for group in sheet.column_dimensions.values()
                    if group.hidden and group.min and group.max
                    for index in range(group.min - 1, min(group.max, _MOST_COLUMNS))
                ),
            )
    return found


def _xlsx_rows(path: Path, sheet: Worksheet, written: Worksheet) -> Iterator[tuple[int, list[str]]]:
    merged = {
        (row, column): (area.min_row, area.min_col)
        for area in sheet.merged_cells.ranges
        for row in range(area.min_row, area.max_row + 1)
        for column in range(area.min_col, area.max_col + 1)
    }
    for number, row in enumerate(sheet.iter_rows(), start=1):
        cells = []
        for column, cell in enumerate(row, start=1):
            place = merged.get((number, column), (number, column))
            source = sheet.cell(*place)
            if source.value is None and written.cell(*place).data_type == "f":
                raise ValueError(
                    f"{path}, sheet {sheet.title}, cell {cell.coordinate}: a formula without a value. Open "
                    f"the workbook in a spreadsheet program and save it, or paste the values."
                )
            cells.append(_xlsx_text(source))
        if any(cells):
            yield number, cells


def _xlsx_text(cell: Cell | MergedCell) -> str:
    value = cell.value
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return "" if value is None else trimmed(str(value))
    if isinstance(value, datetime.datetime):
        return _date_text(value)
    if isinstance(value, int | float):
        zeros = _LEADING_ZEROS.fullmatch(str(cell.number_format))
        return f"{int(value):0{len(zeros.group())}d}" if zeros and float(value).is_integer() else _number_text(value)
    return str(value)


def _date_text(value: datetime.datetime) -> str:
    return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")


def _number_text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _ods_sheets(path: Path) -> dict[str, _Sheet]:
    from odf import opendocument
    from odf.namespaces import TABLENS
    from odf.table import Table, TableColumn, TableRow

    document = opendocument.load(str(path))
    return {
        str(table.getAttrNS(TABLENS, "name")): _Sheet(
            list(_ods_rows(table)),
            hidden_rows=frozenset(number + 1 for number in _ods_hidden(table, TableRow, "number-rows-repeated")),
            hidden_columns=_ods_hidden(table, TableColumn, "number-columns-repeated"),
        )
        for table in document.spreadsheet.getElementsByType(Table)
    }


def _ods_hidden(table: Table, kind: Callable[[], Element], repeated: str) -> frozenset[int]:
    """Indices of the rows or columns that are hidden (collapsed) or filtered out."""
    from odf.namespaces import TABLENS

    hidden: set[int] = set()
    index = 0
    for item in table.getElementsByType(kind):
        count = int(item.getAttrNS(TABLENS, repeated) or 1)
        if item.getAttrNS(TABLENS, "visibility") in ("collapse", "filter"):
            hidden |= set(range(index, index + min(count, _MOST_EMPTY_ROWS)))
        index += count
    return frozenset(hidden)


def _ods_rows(table: Table) -> Iterator[tuple[int, list[str]]]:
    from odf.namespaces import TABLENS
    from odf.table import CoveredTableCell, TableCell, TableRow

    number = 0
    hanging: dict[int, tuple[int, str]] = {}
    for row in table.getElementsByType(TableRow):
        cells: list[str] = []
        for cell in row.childNodes:
            if cell.qname not in (TableCell().qname, CoveredTableCell().qname):
                continue
            repeat = int(cell.getAttrNS(TABLENS, "number-columns-repeated") or 1)
            for _ in range(min(repeat, _MOST_COLUMNS)):
                column = len(cells)
                left, text = hanging.get(column, (0, ""))
                cells.append(text if left and cell.qname == CoveredTableCell().qname else _ods_text(cell))
                if left:
                    hanging[column] = (left - 1, text)
            for offset in range(int(cell.getAttrNS(TABLENS, "number-columns-spanned") or 1)):
                rows = int(cell.getAttrNS(TABLENS, "number-rows-spanned") or 1)
                first = len(cells) - 1
                if rows > 1 or offset:
                    hanging[first + offset] = (rows - 1 if not offset else rows, cells[first])
        while cells and not cells[-1]:
            cells.pop()
        repeats = int(row.getAttrNS(TABLENS, "number-rows-repeated") or 1)
        for offset in range(repeats if cells else 0):
            if offset < _MOST_EMPTY_ROWS:
                yield number + offset + 1, list(cells)
        number += repeats


def _ods_text(cell: TableCell) -> str:
    from odf.namespaces import OFFICENS
    from odf.text import P

    kind = cell.getAttrNS(OFFICENS, "value-type")
    shown = trimmed("\n".join(_words(paragraph) for paragraph in cell.getElementsByType(P)))
    if kind == "float":
        value = float(cell.getAttrNS(OFFICENS, "value"))
        return shown if shown.isdigit() and float(shown) == value else _number_text(value)
    if kind == "date":
        return str(cell.getAttrNS(OFFICENS, "date-value")).removesuffix("T00:00:00").replace("T", " ")
    return shown


def _words(node: P) -> str:
    return "".join(str(child.data) if child.nodeType == child.TEXT_NODE else _words(child) for child in node.childNodes)
