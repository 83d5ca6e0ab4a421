"""Keeping who the patient is out of a data set."""

from __future__ import annotations

import csv
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dsmt_nnunet.csv_table import CsvRow, CsvTable, read_csv
from dsmt_nnunet.dataset_conversion.dates import holds_date, read_date, ways_of_writing
from dsmt_nnunet.dicom.export import Series

_IDENTIFYING = re.compile(
    r"^(patient(in)?|pat\.?|患者|病人)$|name|birth|\bdob\b|born|accession|geburt|\bgeb(\b|dat|am\b)|姓名|氏名|生年月日|出生|检查号|身份证"
    r"|\breferr|\bphysician|zuweis|überweis|hausarzt|\baddress|\bphone|telefon|e-?mail"
    r"|adresse|anschrift|wohnort|versicher|\binsurance|\bssn\b|电话|電話|住址|住所",
    re.IGNORECASE,
)
"""Headers of columns that tell who a patient is, or who sent them and where they live."""
_NOT_IDENTIFYING = re.compile(r"file ?name|series ?name|structure|image|mask", re.IGNORECASE)
_COLUMNS = ("patient_id", "pseudonym")
_SHIFT_COLUMN = "shift_days"
_LARGEST_SHIFT_DAYS = 365
_WHOLE = re.compile(r"-?\d+")
_SEPARATORS = re.compile(r"[\W_]+")


def tells_who(column: str) -> bool:
    """Whether a column's header says that it holds a name, birth date, accession number, sender or address."""
    words = column.replace("_", " ").strip()
    return bool(_IDENTIFYING.search(words)) and not _NOT_IDENTIFYING.fullmatch(words)


def identifying_columns(table: CsvTable, patients: Iterable[tuple[Series, CsvRow]]) -> set[str]:
    """Columns that hold names, birth dates or accession numbers: by their header, or by what DICOM says of the patient.

    Args:
        table: the table.
        patients: a series of the patient of each row, and the row.
    """
    by_header = {name for name in table.columns if tells_who(name)}
    by_value = set()
    for series, row in patients:
        numbers = {_plain(series.text("AccessionNumber"))} - {""}
        born = read_date(series.text("PatientBirthDate"), "%Y%m%d")
        people = [_words(series.text(keyword)) for keyword in ("PatientName", "ReferringPhysicianName")]
        people = [words for words in people if words and words != _words(series.patient_id)]
        for name, value in row.values.items():
            is_birth = born is not None and any(read_date(value, way) == born for way in ways_of_writing([value]))
            if value and (is_birth or _plain(value) in numbers or any(words <= _words(value) for words in people)):
                by_value.add(name)
    return by_header | by_value


def _plain(text: str) -> str:
    return _SEPARATORS.sub("", text).casefold()


def _as_word(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_]){re.escape(text)}(?![^\W_])")


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
        """`text` with the pseudonym wherever the id of the patient stands in it as a word."""
        return _as_word(patient_id).sub(self.of(patient_id), text) if patient_id else text

    def of_cases(self, cases: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Names of cases: a hospital's number of a scan leads to the patient as well.

        Args:
            cases: patient_id and case_id, in the order of the table.

        Returns:
            For each of `cases`, the case_id with the pseudonym in the patient's place; where the patient's id is not in
            it, or a date is, the pseudonym, with a number where the patient has several cases.
        """
        of_patient: dict[str, list[str]] = {}
        for patient_id, case_id in dict.fromkeys(cases):
            of_patient.setdefault(patient_id, []).append(case_id)
        return {
            (patient_id, case_id): self.replace(case_id, patient_id)
            if _as_word(patient_id).search(case_id) and not holds_date(_as_word(patient_id).sub("", case_id))
            else f"{self.of(patient_id)}{f'_{number}' if len(case_ids) > 1 else ''}"
            for patient_id, case_ids in of_patient.items()
            for number, case_id in enumerate(case_ids, start=1)
        }

    def save(self) -> None:
        """Writes the file."""
        with self.path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow((*_COLUMNS, _SHIFT_COLUMN))
            writer.writerows((who, name, self.shifts.get(who, "")) for who, name in self.names.items())
