"""Keeping who the patient is out of a data set."""

from __future__ import annotations

import csv
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dsmt_nnunet.csv_table import CsvRow, CsvTable, read_csv
from dsmt_nnunet.dicom.export import Series

_IDENTIFYING = re.compile(
    r"name|birth|\bdob\b|born|accession|vorname|geburt|nachname|姓名|氏名|生年月日|出生|检查号", re.IGNORECASE
)
"""Headers of columns that tell who a patient is."""
_NOT_IDENTIFYING = re.compile(r"file_?name|series_?name|structure|image|mask", re.IGNORECASE)
_COLUMNS = ("patient_id", "pseudonym")
_SHIFT_COLUMN = "shift_days"
_LARGEST_SHIFT_DAYS = 365
_WHOLE = re.compile(r"-?\d+")
_SEPARATORS = re.compile(r"[\W_]+")


def tells_who(column: str) -> bool:
    """Whether a column's header says that it holds a name, a birth date or an accession number."""
    return bool(_IDENTIFYING.search(column)) and not _NOT_IDENTIFYING.fullmatch(column)


def identifying_columns(table: CsvTable, patients: Iterable[tuple[Series, CsvRow]]) -> set[str]:
    """Columns that hold names, birth dates or accession numbers: by their header, or by what DICOM says of the patient.

    Args:
        table: the table.
        patients: a series of the patient of each row, and the row.
    """
    by_header = {name for name in table.columns if tells_who(name)}
    by_value = set()
    for series, row in patients:
        secret = {_plain(series.text(keyword)) for keyword in ("PatientBirthDate", "AccessionNumber")} - {""}
        people = _words(series.text("PatientName"))
        if people == _words(series.patient_id):
            people = set()
        for name, value in row.values.items():
            if value and (_plain(value) in secret or (people and people <= _words(value))):
                by_value.add(name)
    return by_header | by_value


def _plain(text: str) -> str:
    return _SEPARATORS.sub("", text).casefold()


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _SEPARATORS.split(text) if word}


@dataclass
class Pseudonyms:
    """Names that stand for patients' ids, kept in a CSV file outside of nnU-Net's folders.

    Attributes:
        path: columns patient_id, pseudonym and shift_days; written by `save`, with the patients that it lacked.
        names: patient_id -> pseudonym.
        shifts: patient_id -> days by which all dates of the patient are moved.
    """

    path: Path
    names: dict[str, str] = field(default_factory=dict)
    shifts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Pseudonyms:
        """Reads the file, or begins one where there is none.

        Raises:
            ValueError: a column is missing, or a pseudonym stands for two patients.
        """
        if not path.exists():
            return cls(path)
        table = read_csv(path)
        if not set(_COLUMNS) <= set(table.columns):
            raise ValueError(f"{path}: columns {list(_COLUMNS)} are required; the file has {list(table.columns)}.")
        names = {row.get("patient_id"): row.get("pseudonym") for row in table.rows}
        if len(set(names.values())) < len(names) or "" in names.values():
            raise ValueError(f"{path}: every patient needs a pseudonym of its own.")
        shifts = {}
        for row in table.rows:
            if text := row.get(_SHIFT_COLUMN):
                if not _WHOLE.fullmatch(text):
                    raise ValueError(f"{path}, line {row.line}: {_SHIFT_COLUMN} must be whole days, got '{text}'.")
                shifts[row.get("patient_id")] = int(text)
        return cls(path, names, shifts)

    @property
    def sources(self) -> Path:
        """Folder beside the file for what leads back to the archive by UID."""
        return self.path.with_name(f"{self.path.stem}_sources")

    def of(self, patient_id: str) -> str:
        """The pseudonym of a patient; a new one, drawn at random, where the file has none."""
        while patient_id not in self.names:
            name = f"P{secrets.token_hex(4)}"
            if name not in self.names.values():
                self.names[patient_id] = name
        return self.names[patient_id]

    def shift_of(self, patient_id: str) -> int:
        """Days by which the patient's dates are moved, the same for all of them; drawn at random, 1 to 365 earlier."""
        if patient_id not in self.shifts:
            self.shifts[patient_id] = -1 - secrets.randbelow(_LARGEST_SHIFT_DAYS)
        return self.shifts[patient_id]

    def replace(self, text: str, patient_id: str) -> str:
        """`text` with the pseudonym wherever the id of the patient stands in it."""
        return text.replace(patient_id, self.of(patient_id)) if patient_id else text

    def save(self) -> None:
        """Writes the file."""
        with self.path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow((*_COLUMNS, _SHIFT_COLUMN))
            writer.writerows((who, name, self.shifts.get(who, "")) for who, name in self.names.items())
